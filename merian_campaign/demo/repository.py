"""Make the demo's butler repository: everything a survey has before its first processing step.

The repository is made in a scratch directory and moved into place when complete, so that a crash never leaves
one that looks finished.  Nothing here runs a pipeline.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.table import Table
from lsst.daf.butler import Butler, CollectionType, DatasetType
from lsst.sphgeom import HtmPixelization, LonLat, UnitVector3d

from merian_campaign.demo.instrument import MiniDecam
from merian_campaign.demo.records import insert_exposures, insert_skymap, insert_visits, region_of
from merian_campaign.demo.sky import raw_pixels, reference_stars
from merian_campaign.demo.survey import (
    ALL_DETECTORS,
    DETECTOR_HEIGHT,
    DETECTOR_WIDTH,
    EXPOSURES,
    INSTRUMENT,
    PATCHES,
    SKYMAP,
    TRACTS,
    tract_box,
)

__all__ = ["DemoDirectoryError", "create_repository"]

RAW_RUN: Final = "DECam/raw/all"
UNBOUNDED_RUN: Final = "DECam/calib/unbounded"
CURATED_RUN: Final = "DECam/calib/curated/19700101T000000Z"
SKYMAP_RUN: Final = "skymaps"
REFCAT_RUN: Final = "refcats/gen2"
REFCAT_CHAIN: Final = "refcats"
GAIA: Final = "gaia_dr2_20200414"
PS1: Final = "ps1_pv3_3pi_20170110"
_REFCAT_LEVEL: Final = 7

Dataset = tuple[Any, str, dict[str, Any], str]


class DemoDirectoryError(RuntimeError):
    """The directory holds something that is not the demo's repository."""


def create_repository(directory: Path) -> Path:
    """Make the butler repository of the miniature survey, unless it is there already.

    Parameters
    ----------
    directory : `pathlib.Path`
        Directory of the demo; the repository is ``repo`` inside it.

    Returns
    -------
    repository : `pathlib.Path`
        Path of the repository.

    Raises
    ------
    DemoDirectoryError
        If ``repo`` exists and is something else.
    """
    directory = Path(directory)
    repository = directory / "repo"
    if repository.exists():
        _require_demo_repository(repository)
        return repository
    directory.mkdir(parents=True, exist_ok=True)
    # No dot in the name: the butler would take what follows it for a file format.
    scratch = Path(tempfile.mkdtemp(prefix="making-repo-", dir=directory))
    try:
        scratch.chmod(0o755)
        _populate(scratch)
        scratch.rename(repository)
    except OSError as error:
        if not repository.exists():
            raise
        # Somebody else finished the same repository in the meantime; theirs is as good.
        _require_demo_repository(repository, cause=error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return repository


def _require_demo_repository(repository: Path, cause: Exception | None = None) -> None:
    """Raise unless the directory is a complete repository of this survey."""
    if not (repository / "butler.yaml").is_file():
        raise DemoDirectoryError(
            f"{repository} exists but is not a butler repository; choose another directory for the demo "
            "or move this one away."
        ) from cause
    class_name = f"{MiniDecam.__module__}.{MiniDecam.__qualname__}"
    with Butler.from_config(os.fspath(repository), writeable=False) as butler:
        instruments = {
            record.name: record.class_name
            for record in butler.query_dimension_records("instrument", explain=False)
        }
        raws = 0
        if instruments.get(INSTRUMENT) == class_name:
            raws = len(butler.query_datasets("raw", collections=RAW_RUN, explain=False))
    if raws != len(EXPOSURES) * len(ALL_DETECTORS):
        raise DemoDirectoryError(
            f"{repository} is a butler repository, but not that of the demo survey (it has {raws} of the "
            f"demo's {len(EXPOSURES) * len(ALL_DETECTORS)} raws); choose another directory for the demo or "
            "move this one away."
        ) from cause


def _populate(repository: Path) -> None:
    """Create an empty repository and fill it in one transaction."""
    Butler.makeRepo(os.fspath(repository))
    with Butler.from_config(os.fspath(repository), writeable=True) as butler:
        # Registering dataset types and collections creates tables, which no transaction can hold.
        _register_dataset_types(butler)
        for run in (RAW_RUN, UNBOUNDED_RUN, CURATED_RUN, SKYMAP_RUN, REFCAT_RUN):
            butler.collections.register(run)
        butler.collections.register(REFCAT_CHAIN, CollectionType.CHAINED)
        butler.collections.redefine_chain(REFCAT_CHAIN, [REFCAT_RUN])
        with butler.transaction():
            MiniDecam().register(butler.registry)
            insert_skymap(butler.registry)
            insert_exposures(butler.registry)
            insert_visits(butler.registry)
            for value, dataset_type, data_id, run in _datasets():
                butler.put(value, dataset_type, data_id, run=run)


def _register_dataset_types(butler: Butler) -> None:
    """Register the dataset types of what a survey starts from."""
    refcat = (f"htm{_REFCAT_LEVEL}",)
    for name, dimensions, storage_class, is_calibration in (
        ("raw", ("instrument", "exposure", "detector"), "NumpyArray", False),
        ("camera", ("instrument",), "StructuredDataDict", True),
        ("defects", ("instrument", "detector"), "NumpyArray", True),
        ("skyMap", ("skymap",), "StructuredDataDict", False),
        (GAIA, refcat, "ArrowAstropy", False),
        (PS1, refcat, "ArrowAstropy", False),
    ):
        dataset_type = DatasetType(
            name, dimensions, storage_class, universe=butler.dimensions, isCalibration=is_calibration
        )
        butler.registry.registerDatasetType(dataset_type)


def _datasets() -> Iterator[Dataset]:
    """Yield everything to put, with its dataset type, data ID and RUN collection."""
    for plan in EXPOSURES:
        for detector in ALL_DETECTORS:
            data_id = {"instrument": INSTRUMENT, "exposure": plan.exposure, "detector": detector}
            yield raw_pixels(plan=plan, detector=detector), "raw", data_id, RAW_RUN
    camera = {
        f"S{detector}": {"width": DETECTOR_WIDTH, "height": DETECTOR_HEIGHT} for detector in ALL_DETECTORS
    }
    yield camera, "camera", {"instrument": INSTRUMENT}, UNBOUNDED_RUN
    for detector in ALL_DETECTORS:
        yield _defects(detector), "defects", {"instrument": INSTRUMENT, "detector": detector}, CURATED_RUN
    yield _skymap(), "skyMap", {"skymap": SKYMAP}, SKYMAP_RUN
    yield from _reference_catalogues()


def _defects(detector: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return the bad columns of a detector: one on good detectors, most of them on detector 31."""
    bad = [detector * 7] if detector < DETECTOR_WIDTH // 7 else list(range(4, DETECTOR_WIDTH))
    return np.array(bad, dtype=np.int64)


def _skymap() -> dict[str, Any]:
    """Return the geometry of tracts and patches in sky pixels, with text keys for YAML's sake."""
    tracts: dict[str, Any] = {}
    for tract in TRACTS:
        box = tract_box(tract)
        patches = {
            str(plan.patch): {
                "inner": [plan.inner.x0, plan.inner.y0, plan.inner.x1, plan.inner.y1],
                "outer": [plan.outer.x0, plan.outer.y0, plan.outer.x1, plan.outer.y1],
            }
            for plan in PATCHES
            if plan.tract == tract
        }
        tracts[str(tract)] = {"outer": [box.x0, box.y0, box.x1, box.y1], "patches": patches}
    return {"name": SKYMAP, "tracts": tracts}


def _reference_catalogues() -> Iterator[Dataset]:
    """Yield a shard of both reference catalogues for each trixel that the survey touches."""
    pixelization = HtmPixelization(_REFCAT_LEVEL)
    stars = reference_stars()
    positions = zip(stars["ra"].astype(float), stars["dec"].astype(float), strict=True)
    trixels = np.array(
        [pixelization.index(UnitVector3d(LonLat.fromDegrees(ra, dec))) for ra, dec in positions]
    )
    area = region_of(*(tract_box(tract) for tract in TRACTS))
    for begin, end in pixelization.envelope(area):
        for trixel in range(begin, end):
            # A trixel without stars still gets its shard: a gap would look like a missing catalogue.
            here = trixels == trixel
            for name, columns in (
                (GAIA, ("id", "ra", "dec")),
                (PS1, ("id", "ra", "dec", "g_flux", "i_flux")),
            ):
                shard = Table({column: stars[column][here] for column in columns})
                yield shard, name, {f"htm{_REFCAT_LEVEL}": trixel}, REFCAT_RUN
