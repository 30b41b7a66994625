"""Regions of tracts and visits from a butler's registry, as corners in degrees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from merian_campaign.middleware.actions.runner import reading

_AT_ONCE = 500
_DIGITS = 6
"""Of a degree: a few milliarcseconds."""


def look(
    *, repository: str, instrument: str, skymap: str, tracts: Sequence[int], visits: Sequence[int]
) -> dict[str, Any]:
    """Return what the registry knows of these regions; what it does not know is left out."""
    from lsst.daf.butler import DataIdValueError  # noqa: PLC0415 - costs seconds

    found: list[list[Any]] = []
    with reading(repository) as butler:
        for kind, numbers, given in (
            ("tract", tracts, {"skymap": skymap}),
            ("visit", visits, {"instrument": instrument}),
        ):
            for some in _batches(numbers):
                where = f"{kind} IN ({', '.join(map(str, some))})"
                try:
                    records = butler.query_dimension_records(
                        kind, where=where, limit=None, explain=False, **given
                    )
                except DataIdValueError:
                    break  # no such sky map or instrument yet
                for record in records:
                    corners = _corners(record.region)
                    if corners:
                        found.append([kind, int(record.id), *corners])
    return {"regions": found}


def _batches(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), _AT_ONCE):
        yield numbers[start : start + _AT_ONCE]


def _corners(region: Any) -> tuple[list[float], list[float]] | None:  # noqa: ANN401 - lsst type
    """Return right ascensions and declinations of a region's corners; `None` for what has none."""
    from lsst.sphgeom import LonLat, Region  # noqa: PLC0415

    if not isinstance(region, Region):
        return None
    where = [LonLat(point) for point in _points(region)]
    if not where:
        return None
    ra = [round(one.getLon().asDegrees() % 360, _DIGITS) for one in where]
    dec = [round(one.getLat().asDegrees(), _DIGITS) for one in where]
    return ra, dec


def _points(region: Any) -> list[Any]:  # noqa: ANN401 - lsst type
    """Return unit vectors of the corners of a polygon or a box; of other regions none."""
    from lsst.sphgeom import Box, ConvexPolygon, LonLat, UnitVector3d  # noqa: PLC0415

    if isinstance(region, ConvexPolygon):
        return list(region.getVertices())
    if isinstance(region, Box):
        lon, lat = region.getLon(), region.getLat()
        places = (
            (lon.getA(), lat.getA()), (lon.getB(), lat.getA()),
            (lon.getB(), lat.getB()), (lon.getA(), lat.getB()),
        )  # fmt: skip
        return [UnitVector3d(LonLat(x, y)) for x, y in places]
    return []
