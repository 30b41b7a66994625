"""Geometry of the sky panels: fields of tracts, where each panel looks, its graticule.

Projections themselves are Vega's; here is what it has to be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import asin, atan2, ceil, cos, degrees, floor, radians, sin, sqrt
from typing import Any, Final

from merian_campaign.domain.sky_regions import SkyRegion

_APART: Final = 6.0
"""Degrees between tracts of two fields."""

_MOST_FIELDS: Final = 8
_PAD: Final = 0.06
_LEAST_PAD: Final = 0.35
_STRIP_PAD: Final = 0.3
_WIDEST_AZIMUTHAL: Final = 150.0
_STEPS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 15.0, 30.0)
_LINES: Final = 6
_POINTS: Final = 48
MOLLWEIDE: Final = (4 * sqrt(2), 2 * sqrt(2))
"""Width and height of the whole sky at scale 1."""

type Vector = tuple[float, float, float]
type Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Field:
    """Tracts that lie together.

    Parameters
    ----------
    tracts : `tuple` [`SkyRegion`, ...]
        Their regions.
    ra, dec : `float`
        Centre, degrees.
    half_ra, half_dec : `float`
        How far it reaches to either side, degrees, with a margin.
    """

    tracts: tuple[SkyRegion, ...]
    ra: float
    dec: float
    half_ra: float
    half_dec: float

    @property
    def projection(self) -> str:
        """Vega's name of the projection that shows it well."""
        return "azimuthalEqualArea" if 2 * self.half_ra <= _WIDEST_AZIMUTHAL else "equirectangular"

    @property
    def rotation(self) -> list[float]:
        """What brings its centre to the middle."""
        turned = -self.ra if self.ra <= 180 else 360 - self.ra  # noqa: PLR2004 - a half turn
        return [round(turned, 6), round(-self.dec, 6) if self.projection != "equirectangular" else 0.0, 0.0]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of what it shows, at scale 1 of the projection."""
        edge = [(a, d) for a in (-1.0, -0.5, 0.0, 0.5, 1.0) for d in (-1.0, 0.0, 1.0)]
        points = [self._projected(a * self.half_ra, self.dec + d * self.half_dec) for a, d in edge]
        return 2 * max(abs(x) for x, _ in points), 2 * max(abs(y) for _, y in points)

    def _projected(self, from_ra: float, dec: float) -> Point:
        if self.projection == "equirectangular":
            return radians(from_ra), radians(dec)
        a, d, d0 = radians(from_ra), radians(dec), radians(self.dec)
        scale = sqrt(2 / max(1e-9, 1 + sin(d0) * sin(d) + cos(d0) * cos(d) * cos(a)))
        return scale * cos(d) * sin(a), scale * (cos(d0) * sin(d) - sin(d0) * cos(d) * cos(a))

    @property
    def limits(self) -> tuple[float, float, float, float]:
        """Lowest and highest right ascension (counted from its centre on) and declination."""
        return (
            self.ra - self.half_ra,
            self.ra + self.half_ra,
            max(-89.9, self.dec - self.half_dec),
            min(89.9, self.dec + self.half_dec),
        )


def vector(ra: float, dec: float) -> Vector:
    """Return the unit vector of a direction in degrees."""
    a, d = radians(ra), radians(dec)
    return cos(d) * cos(a), cos(d) * sin(a), sin(d)


def centre(region: SkyRegion) -> Point:
    """Return the middle of a region's corners, degrees."""
    return _direction(vector(ra, dec) for ra, dec in zip(region.ra, region.dec, strict=True))


def _direction(vectors: Iterable[Vector]) -> Point:
    x, y, z = (sum(parts) for parts in zip(*vectors, strict=True))
    length = sqrt(x * x + y * y + z * z) or 1.0
    return degrees(atan2(y, x)) % 360, degrees(asin(max(-1.0, min(1.0, z / length))))


def fields(tracts: Sequence[SkyRegion]) -> list[Field]:
    """Return the fields that tracts form, the largest first, in order of right ascension if equal."""
    together: list[list[int]] = []
    centres = [vector(*centre(region)) for region in tracts]
    limit = 2 * sin(radians(_APART) / 2)
    left = set(range(len(tracts)))
    while left:
        queue, found = [left.pop()], []
        while queue:
            one = queue.pop()
            found.append(one)
            near = [other for other in left if _distance(centres[one], centres[other]) <= limit]
            left.difference_update(near)
            queue.extend(near)
        together.append(sorted(found))
    made = [_field([tracts[i] for i in some]) for some in together]
    return sorted(made, key=lambda field: (-len(field.tracts), field.ra))[:_MOST_FIELDS]


def _distance(one: Vector, other: Vector) -> float:
    return sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)))


def _field(tracts: Sequence[SkyRegion]) -> Field:
    ra, half_ra = middle_of_circle([a for region in tracts for a in region.ra])
    decs = [d for region in tracts for d in region.dec]
    low, high = min(decs), max(decs)
    pad = max(_LEAST_PAD, _PAD * max(high - low, 2 * half_ra * cos(radians((low + high) / 2))))
    return Field(
        tracts=tuple(tracts),
        ra=ra,
        dec=(low + high) / 2,
        half_ra=min(180.0, half_ra + pad / max(0.05, cos(radians(max(abs(low), abs(high)))))),
        # A strip along the equator needs no more air above it than it is high.
        half_dec=(high - low) / 2 + min(pad, max(_LEAST_PAD, _STRIP_PAD * (high - low))),
    )


def middle_of_circle(angles: Sequence[float]) -> tuple[float, float]:
    """Return the middle of angles in degrees, and how far they reach to either side, whatever wraps."""
    ordered = sorted({angle % 360 for angle in angles})
    gaps = [
        (after - before) % 360 or 360.0
        for before, after in zip(ordered, [*ordered[1:], ordered[0]], strict=True)
    ]
    widest = max(range(len(gaps)), key=gaps.__getitem__)
    begin = ordered[(widest + 1) % len(ordered)]
    reach = 360 - gaps[widest]
    return (begin + reach / 2) % 360, reach / 2


def polygon(region: SkyRegion) -> dict[str, Any]:
    """Return a region as a GeoJSON polygon with the winding that d3 takes for its inside."""
    corners = list(zip(region.ra, region.dec, strict=True))
    ra, dec = centre(region)
    turned = [((a - ra + 180) % 360 - 180, d - dec) for a, d in corners]
    area = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(turned, [*turned[1:], turned[0]], strict=True))
    if area > 0:
        corners.reverse()
    ring = [[round((a + 180) % 360 - 180, 4), round(d, 4)] for a, d in corners]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def graticule(field: Field) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return lines of a panel as GeoJSON features, and their labels."""
    west, east, south, north = field.limits
    by_ra, by_dec = _step(east - west), _step(north - south)
    lines, labels = [], []
    for ra in _multiples(west, east, by_ra):
        lines.append(_line([(ra, d) for d in _spread(south, north)]))
        labels.append({"lon": _wrapped(ra), "lat": south, "h": hours(ra), "d": _degrees(ra % 360), "k": "ra"})
    for dec in _multiples(south, north, by_dec):
        lines.append(_line([(a, dec) for a in _spread(west, east)]))
        words = _signed(dec)
        place = {"lon": _wrapped(east), "lat": dec, "i": round(dec / by_dec), "step": by_dec}
        labels.append({**place, "h": words, "d": words, "k": "dec"})
    return lines, labels


def whole_sky() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the graticule of the whole sky, a line every 30 degrees, and its labels."""
    lines = [_line([(ra, d) for d in _spread(-90, 90)]) for ra in range(0, 360, 30)]
    lines += [_line([(a, dec) for a in _spread(-179.99, 179.99)]) for dec in (-60, -30, 0, 30, 60)]
    labels = [
        {"lon": _wrapped(ra), "lat": 0, "h": hours(ra), "d": _degrees(ra), "k": "ra"}
        for ra in range(0, 360, 60)
    ]
    return lines, labels


def hours(ra: float) -> str:
    """Return a right ascension in hours and minutes, e.g. ``22h30m``."""
    minutes = round(ra % 360 / 15 * 60) % 1440
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes // 60}h{minutes % 60:02d}m"


def _degrees(angle: float) -> str:
    return f"{angle:.2f}".rstrip("0").rstrip(".") + "°"


def _signed(angle: float) -> str:
    return ("+" if angle > 0 else "\N{MINUS SIGN}" if angle < 0 else "") + _degrees(abs(angle))


def _step(extent: float) -> float:
    return next((step for step in _STEPS if extent / step <= _LINES), _STEPS[-1])


def _multiples(low: float, high: float, step: float) -> list[float]:
    return [round(i * step, 6) for i in range(ceil(low / step), floor(high / step) + 1)]


def _spread(low: float, high: float) -> list[float]:
    return [low + (high - low) * i / _POINTS for i in range(_POINTS + 1)]


def _line(points: Iterable[Point]) -> dict[str, Any]:
    coordinates = [[round(_wrapped(a), 4), round(d, 4)] for a, d in points]
    return {"type": "Feature", "geometry": {"type": "LineString", "coordinates": coordinates}}


def _wrapped(ra: float) -> float:
    return (ra + 180) % 360 - 180
