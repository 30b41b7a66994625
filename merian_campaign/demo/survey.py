"""What the miniature survey consists of: exposures, footprints, tracts and patches, as plain data.

Everything lies on one strip of sky measured in sky pixels, so that overlaps can be read off with a pencil:
four patches side by side, two to a tract, and four pointings laid across them.  A second sky map, for
campaigns of one's own, cuts the same strip into three tracts.  No lsst import here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "ALL_DETECTORS",
    "EVERY_EXPOSURE",
    "EXPOSURES",
    "PATCHES",
    "PHYSICAL_FILTERS",
    "SCIENCE_DETECTORS",
    "SKYMAPS",
    "THIRD_NIGHT",
    "TRACTS",
    "Box",
    "ExposurePlan",
    "PatchPlan",
    "detector_box",
    "science_exposures",
    "sky_to_degrees",
    "tract_box",
]

INSTRUMENT: Final = "DECam"
SKYMAP: Final = "decam_rings_v1"

N708: Final = "N708 DECam c0012 7080.0 400.0"
N540: Final = "N540 DECam c0014 5403.2 210.0"
SOLID_PLATE: Final = "solid plate 0.0 0.0"
PHYSICAL_FILTERS: Final = {N708: "N708", N540: "N540", SOLID_PLATE: "opaque"}

SCIENCE_DETECTORS: Final = (1, 2)
# Detector 31 is registered and has raws, so that leaving it out is the data query's doing, as for real DECam.
ALL_DETECTORS: Final = (*SCIENCE_DETECTORS, 31)

DETECTOR_WIDTH: Final = 56
DETECTOR_HEIGHT: Final = 64
OVERSCAN_WIDTH: Final = 8
DETECTOR_GAP: Final = 2

PATCH_SIZE: Final = 64
PATCH_BORDER: Final = 4
TRACTS: Final = (9813, 9814)
PATCHES_PER_TRACT: Final = 2

PIXELS_PER_DEGREE: Final = 256.0
ORIGIN_RA: Final = 150.0
ORIGIN_DEC: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle of sky pixels, upper edges excluded.

    Parameters
    ----------
    x0, y0 : `int`
        Lower left corner.
    x1, y1 : `int`
        Upper right corner, excluded.
    """

    x0: int
    y0: int
    x1: int
    y1: int

    def union(self, other: "Box") -> "Box":
        """Return the smallest box around this one and another."""
        return Box(
            x0=min(self.x0, other.x0),
            y0=min(self.y0, other.y0),
            x1=max(self.x1, other.x1),
            y1=max(self.y1, other.y1),
        )

    def overlaps(self, other: "Box") -> bool:
        """Tell whether the two boxes share at least one pixel."""
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1


@dataclass(frozen=True, kw_only=True)
class ExposurePlan:
    """One exposure of the survey.

    Parameters
    ----------
    exposure : `int`
        Exposure ID; a science exposure is its own visit.
    observation_type : `str`
        ``zero``, ``dome flat`` or ``science``, as the DECam headers say.
    physical_filter : `str`
        One of `PHYSICAL_FILTERS`.
    begin : `datetime.datetime`
        Start of the exposure.
    seconds : `float`
        Exposure time.
    pointing : `tuple` [`int`, `int`] or `None`
        Sky pixel of the lower left corner of detector 1, for science exposures.
    """

    exposure: int
    observation_type: str
    physical_filter: str
    begin: datetime
    seconds: float
    pointing: tuple[int, int] | None = None

    @property
    def band(self) -> str:
        """Band of the physical filter (`str`)."""
        return PHYSICAL_FILTERS[self.physical_filter]

    @property
    def day_obs(self) -> int:
        """Night of the exposure, which rolls over at noon UTC (`int`)."""
        return int((self.begin - timedelta(hours=12)).strftime("%Y%m%d"))


@dataclass(frozen=True, kw_only=True)
class PatchPlan:
    """One patch of the sky map.

    Parameters
    ----------
    tract, patch : `int`
        Identity of the patch.
    inner : `Box`
        Area that belongs to this patch alone.
    outer : `Box`
        Area of its images: the inner one and a border shared with its neighbours.
    """

    tract: int
    patch: int
    inner: Box
    outer: Box


def _night(day: int, hour: int, minute: int) -> datetime:
    return datetime(2021, 3, day, hour, minute, tzinfo=UTC)


# Two nights. The two pointings of a filter overlap in the middle of the strip, and only N708 reaches the last
# patch. Every visit touches both tracts, so calibrating a visit needs the jointcal of both.
EXPOSURES: Final = (
    ExposurePlan(
        exposure=970228,
        observation_type="dome flat",
        physical_filter=N708,
        begin=_night(18, 22, 0),
        seconds=10.0,
    ),
    ExposurePlan(
        exposure=970488,
        observation_type="zero",
        physical_filter=SOLID_PLATE,
        begin=_night(18, 22, 30),
        seconds=0.0,
    ),
    ExposurePlan(
        exposure=970612,
        observation_type="science",
        physical_filter=N708,
        begin=_night(19, 2, 0),
        seconds=600.0,
        pointing=(20, -2),
    ),
    ExposurePlan(
        exposure=970613,
        observation_type="science",
        physical_filter=N540,
        begin=_night(19, 2, 15),
        seconds=900.0,
        pointing=(24, 1),
    ),
    ExposurePlan(
        exposure=970823,
        observation_type="zero",
        physical_filter=SOLID_PLATE,
        begin=_night(19, 22, 0),
        seconds=0.0,
    ),
    ExposurePlan(
        exposure=970836,
        observation_type="dome flat",
        physical_filter=N540,
        begin=_night(19, 22, 30),
        seconds=15.0,
    ),
    ExposurePlan(
        exposure=971020,
        observation_type="science",
        physical_filter=N708,
        begin=_night(20, 2, 0),
        seconds=600.0,
        pointing=(120, 2),
    ),
    ExposurePlan(
        exposure=971021,
        observation_type="science",
        physical_filter=N540,
        begin=_night(20, 2, 15),
        seconds=900.0,
        pointing=(70, -1),
    ),
)

THIRD_NIGHT: Final = (
    ExposurePlan(
        exposure=971400,
        observation_type="science",
        physical_filter=N708,
        begin=_night(21, 2, 0),
        seconds=600.0,
        pointing=(64, 1),
    ),
    ExposurePlan(
        exposure=971401,
        observation_type="science",
        physical_filter=N540,
        begin=_night(21, 2, 15),
        seconds=900.0,
        pointing=(90, 0),
    ),
)
"""A night that comes when the survey has been reduced."""

EVERY_EXPOSURE: Final = (*EXPOSURES, *THIRD_NIGHT)


def _plan_patches(tracts: tuple[int, ...], *, width: int) -> tuple[PatchPlan, ...]:
    plans = []
    for index in range(len(tracts) * PATCHES_PER_TRACT):
        x0 = index * width
        inner = Box(x0=x0, y0=0, x1=x0 + width, y1=PATCH_SIZE)
        outer = Box(
            x0=inner.x0 - PATCH_BORDER,
            y0=inner.y0 - PATCH_BORDER,
            x1=inner.x1 + PATCH_BORDER,
            y1=inner.y1 + PATCH_BORDER,
        )
        tract, patch = tracts[index // PATCHES_PER_TRACT], index % PATCHES_PER_TRACT
        plans.append(PatchPlan(tract=tract, patch=patch, inner=inner, outer=outer))
    return tuple(plans)


PATCHES: Final = _plan_patches(TRACTS, width=PATCH_SIZE)

SKYMAPS: Final = {
    SKYMAP: PATCHES,
    "decam_thirds_v1": _plan_patches((1, 2, 3), width=42),
}
"""Patches by the name of the sky map; the demo's own campaign knows the first alone."""


def science_exposures() -> tuple[ExposurePlan, ...]:
    """Return the exposures that become visits.

    Returns
    -------
    exposures : `tuple` [`ExposurePlan`, ...]
        In order of their IDs.
    """
    return tuple(plan for plan in EXPOSURES if plan.pointing is not None)


def detector_box(pointing: tuple[int, int], detector: int) -> Box:
    """Return the sky pixels under one detector.

    Parameters
    ----------
    pointing : `tuple` [`int`, `int`]
        Sky pixel of the lower left corner of detector 1.
    detector : `int`
        Detector ID.

    Returns
    -------
    box : `Box`
        Its footprint.  Science detectors stand side by side.
    """
    x, y = pointing
    # Detector 31 stands below detector 1, clear of every patch.
    column, row = (0, -2) if detector not in SCIENCE_DETECTORS else (SCIENCE_DETECTORS.index(detector), 0)
    x0 = x + column * (DETECTOR_WIDTH + DETECTOR_GAP)
    y0 = y + row * (DETECTOR_HEIGHT + DETECTOR_GAP)
    return Box(x0=x0, y0=y0, x1=x0 + DETECTOR_WIDTH, y1=y0 + DETECTOR_HEIGHT)


def tract_box(tract: int, patches: tuple[PatchPlan, ...] = PATCHES) -> Box:
    """Return the area of a tract: its patches with their borders.

    Parameters
    ----------
    tract : `int`
        Tract ID.
    patches : `tuple` [`PatchPlan`, ...], optional
        Those of its sky map.

    Returns
    -------
    box : `Box`
        The area.
    """
    outer = [plan.outer for plan in patches if plan.tract == tract]
    box = outer[0]
    for other in outer[1:]:
        box = box.union(other)
    return box


def sky_to_degrees[Coordinate: (float, npt.NDArray[np.float64])](
    x: Coordinate, y: Coordinate
) -> tuple[Coordinate, Coordinate]:
    """Convert a sky pixel to right ascension and declination.

    Parameters
    ----------
    x, y : `float` or `numpy.ndarray`
        Sky pixel coordinates.

    Returns
    -------
    ra, dec : `float` or `numpy.ndarray`
        Degrees.  The strip is short and near the equator: a flat sky is exact enough.
    """
    return ORIGIN_RA + x / PIXELS_PER_DEGREE, ORIGIN_DEC + y / PIXELS_PER_DEGREE
