"""Where tracts and visits lie on the sky, as a report draws them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class RegionKind(StrEnum):
    """What a region is of."""

    TRACT = "tract"
    """A tract of the sky map."""
    VISIT = "visit"
    """A visit: the hull of its detectors."""


@dataclass(frozen=True, kw_only=True)
class SkyRegion:
    """A convex polygon on the sky.

    Parameters
    ----------
    kind : `str`
        A `RegionKind`.
    number : `int`
        Tract or visit.
    ra, dec : `tuple` [`float`, ...]
        Its corners, degrees (ICRS), counter-clockwise as seen from outside the sphere.
    """

    kind: str
    number: int
    ra: tuple[float, ...]
    dec: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RegionQuery:
    """Regions to ask a butler's registry for."""

    tracts: tuple[int, ...]
    visits: tuple[int, ...]
    instrument: str = ""
    skymap: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to ask for."""
        return not self.tracts and not self.visits

    def request(self) -> Mapping[str, object]:
        """Return it as a request of the butler's child process."""
        return {
            "do": "regions",
            "instrument": self.instrument,
            "skymap": self.skymap,
            "tracts": list(self.tracts),
            "visits": list(self.visits),
        }


def wanted_regions(*, tracts: set[int], visits: set[int], known: Iterable[SkyRegion]) -> RegionQuery:
    """Return the question for what is not known yet; of whom, is still to be said."""
    there = {(region.kind, region.number) for region in known}
    return RegionQuery(
        tracts=tuple(sorted(number for number in tracts if (RegionKind.TRACT, number) not in there)),
        visits=tuple(sorted(number for number in visits if (RegionKind.VISIT, number) not in there)),
    )
