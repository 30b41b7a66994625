"""Where the panels of the sky look: fields that wrap 0h or lie far apart, windings, labels."""

from __future__ import annotations

from itertools import pairwise
from math import cos, radians

import pytest

from merian_campaign.domain.sky_regions import SkyRegion
from merian_campaign.reports.page import geometry


def tract(number: int, ra: float, dec: float, side: float = 1.5) -> SkyRegion:
    wide = side / cos(radians(dec))
    corners = tuple(a % 360 for a in (ra, ra + wide, ra + wide, ra))
    return SkyRegion(kind="tract", number=number, ra=corners, dec=(dec, dec, dec + side, dec + side))


def test_a_field_across_0h_is_one_field() -> None:
    tracts = [tract(i, 350 + 1.5 * i, 0.0) for i in range(14)]
    (field,) = geometry.fields(tracts)
    assert len(field.tracts) == 14
    assert field.ra == pytest.approx(0.5)
    assert 10.5 < field.half_ra < 12
    assert field.rotation[0] == pytest.approx(-0.5)


def test_fields_far_apart_are_apart_the_largest_first() -> None:
    south = [tract(i, 30 + 1.5 * i, -2.0) for i in range(3)]
    north = [tract(10 + i, 200 + 2.2 * i, 43.0) for i in range(5)]
    found = geometry.fields([*south, *north])
    assert [len(field.tracts) for field in found] == [5, 3]
    assert [round(field.dec) for field in found] == [44, -1]


@pytest.mark.parametrize("turned", [False, True])
def test_a_polygon_winds_as_d3_takes_its_inside(turned: bool) -> None:
    region = tract(1, 359.5, 2.0)
    if turned:
        region = SkyRegion(kind="tract", number=1, ra=region.ra[::-1], dec=region.dec[::-1])
    (ring,) = geometry.polygon(region)["coordinates"]
    assert ring[0] == ring[-1]
    area = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(ring))
    assert area < 0
    assert all(-1 < x < 1.5 for x, _ in ring)


def test_labels_of_the_graticule() -> None:
    (field,) = geometry.fields([tract(i, 355 + 1.5 * i, -1.0) for i in range(8)])
    lines, labels = geometry.graticule(field)
    assert len(lines) == len(labels)
    assert {"0h", "23h50m"} & {label["h"] for label in labels}
    assert "0°" in {label["d"] for label in labels}
    assert geometry.hours(359.999) == "0h"
    assert geometry.hours(337.5) == "22h30m"


def test_a_strip_wider_than_a_half_sky_is_drawn_flat() -> None:
    field = geometry.fields([tract(i, 3.0 * i, 0.0, side=2.9) for i in range(60)])[0]
    assert field.projection == "equirectangular"
    assert field.size[0] > 3
