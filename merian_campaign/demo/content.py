"""What a survey starts from, as values: dataset types, curated calibrations, the sky map's geometry.

Both ways to the demo's repository use it: the quick one in `repository`, and the butler's subcommands.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from lsst.daf.butler import Butler, DatasetType

from merian_campaign.demo.catalogues import GAIA, PS1, REFCAT_LEVEL
from merian_campaign.demo.survey import (
    ALL_DETECTORS,
    DETECTOR_HEIGHT,
    DETECTOR_WIDTH,
    SKYMAP,
    SKYMAPS,
    tract_box,
)

__all__ = ["DATASET_TYPES", "curated_calibrations", "register_dataset_type", "skymap_geometry"]

RAW_RUN: Final = "DECam/raw/all"
UNBOUNDED_RUN: Final = "DECam/calib/unbounded"
CURATED_RUN: Final = "DECam/calib/curated/19700101T000000Z"
SKYMAP_RUN: Final = "skymaps"

_REFCAT = (f"htm{REFCAT_LEVEL}",)
DATASET_TYPES: Final[dict[str, tuple[tuple[str, ...], str, bool]]] = {
    "raw": (("instrument", "exposure", "detector"), "NumpyArray", False),
    "camera": (("instrument",), "StructuredDataDict", True),
    "defects": (("instrument", "detector"), "NumpyArray", True),
    "skyMap": (("skymap",), "StructuredDataDict", False),
    GAIA: (_REFCAT, "ArrowAstropy", False),
    PS1: (_REFCAT, "ArrowAstropy", False),
}
"""Dimensions, storage class, and whether it is a calibration, by name."""


def register_dataset_type(butler: Butler, name: str) -> DatasetType:
    """Register one of `DATASET_TYPES`, unless it is registered.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        A butler that may write.
    name : `str`
        Name of the dataset type.

    Returns
    -------
    dataset_type : `lsst.daf.butler.DatasetType`
        The dataset type.
    """
    dimensions, storage_class, is_calibration = DATASET_TYPES[name]
    dataset_type = DatasetType(
        name, dimensions, storage_class, universe=butler.dimensions, isCalibration=is_calibration
    )
    butler.registry.registerDatasetType(dataset_type)
    return dataset_type


def curated_calibrations() -> Iterator[tuple[Any, str, dict[str, Any], str]]:
    """Yield camera and defects, each with its dataset type, data ID (but for the instrument) and RUN."""
    camera = {
        f"S{detector}": {"width": DETECTOR_WIDTH, "height": DETECTOR_HEIGHT} for detector in ALL_DETECTORS
    }
    yield camera, "camera", {}, UNBOUNDED_RUN
    for detector in ALL_DETECTORS:
        yield _defects(detector), "defects", {"detector": detector}, CURATED_RUN


def _defects(detector: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return the bad columns of a detector: one on good detectors, most of them on detector 31."""
    bad = [detector * 7] if detector < DETECTOR_WIDTH // 7 else list(range(4, DETECTOR_WIDTH))
    return np.array(bad, dtype=np.int64)


def skymap_geometry(name: str = SKYMAP) -> dict[str, Any]:
    """Return the geometry of tracts and patches in sky pixels, with text keys for YAML's sake."""
    tracts: dict[str, Any] = {}
    plans = SKYMAPS[name]
    for tract in dict.fromkeys(plan.tract for plan in plans):
        box = tract_box(tract, plans)
        patches = {
            str(plan.patch): {
                "inner": [plan.inner.x0, plan.inner.y0, plan.inner.x1, plan.inner.y1],
                "outer": [plan.outer.x0, plan.outer.y0, plan.outer.x1, plan.outer.y1],
            }
            for plan in plans
            if plan.tract == tract
        }
        tracts[str(tract)] = {"outer": [box.x0, box.y0, box.x1, box.y1], "patches": patches}
    return {"name": name, "tracts": tracts}
