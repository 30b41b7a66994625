"""Make the demo's butler repository: everything a survey has before its first processing step.

The repository is made in a scratch directory and moved into place when complete, so that a crash never leaves
one that looks finished.  Nothing here runs a pipeline.
"""

import functools
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from lsst.daf.butler import Butler, CollectionType

from merian_campaign.demo.catalogues import REFCAT_LEVEL, reference_catalogues
from merian_campaign.demo.content import (
    CURATED_RUN,
    DATASET_TYPES,
    RAW_RUN,
    SKYMAP_RUN,
    UNBOUNDED_RUN,
    curated_calibrations,
    register_dataset_type,
    skymap_geometry,
)
from merian_campaign.demo.instrument import MiniDecam
from merian_campaign.demo.records import insert_exposures, insert_skymap, insert_visits
from merian_campaign.demo.sky import raw_pixels
from merian_campaign.demo.survey import ALL_DETECTORS, EXPOSURES, INSTRUMENT, SKYMAP, ExposurePlan

__all__ = ["DemoDirectoryError", "copied_repository", "create_repository"]

REFCAT_RUN: Final = "refcats/gen2"
REFCAT_CHAIN: Final = "refcats"

Dataset = tuple[Any, str, dict[str, Any], str]


class DemoDirectoryError(RuntimeError):
    """The directory holds something that is not the demo's repository."""


def create_repository(directory: Path, plans: Sequence[ExposurePlan] = EXPOSURES) -> Path:
    """Make the butler repository of the miniature survey, unless it is there already.

    Parameters
    ----------
    directory : `pathlib.Path`
        Directory of the demo; the repository is ``repo`` inside it.
    plans : `~collections.abc.Sequence`, optional
        Which exposures it has; those that look at the sky have their visits.

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
        _require_demo_repository(repository, plans)
        return repository
    directory.mkdir(parents=True, exist_ok=True)
    # No dot in the name: the butler would take what follows it for a file format.
    scratch = Path(tempfile.mkdtemp(prefix="making-repo-", dir=directory))
    try:
        scratch.chmod(0o755)
        _populate(scratch, plans)
        scratch.rename(repository)
    except OSError as error:
        if not repository.exists():
            raise
        # Somebody else finished the same repository in the meantime; theirs is as good.
        _require_demo_repository(repository, plans, cause=error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return repository


def copied_repository(directory: Path) -> Path:
    """Give a directory a ``repo`` of its own, copied from one that is made once a process."""
    directory.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copytree(Path(_first().name) / "repo", directory / "repo"))


@functools.cache
def _first() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="merian-repository-")
    create_repository(Path(folder.name))
    return folder


def _require_demo_repository(
    repository: Path, plans: Sequence[ExposurePlan], cause: Exception | None = None
) -> None:
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
    if raws != len(plans) * len(ALL_DETECTORS):
        raise DemoDirectoryError(
            f"{repository} is a butler repository, but not that of the demo survey (it has {raws} of the "
            f"demo's {len(plans) * len(ALL_DETECTORS)} raws); choose another directory for the demo or "
            "move this one away."
        ) from cause


def _populate(repository: Path, plans: Sequence[ExposurePlan]) -> None:
    """Create an empty repository and fill it in one transaction."""
    Butler.makeRepo(os.fspath(repository))
    with Butler.from_config(os.fspath(repository), writeable=True) as butler:
        # Registering dataset types and collections creates tables, which no transaction can hold.
        for name in DATASET_TYPES:
            register_dataset_type(butler, name)
        for run in (RAW_RUN, UNBOUNDED_RUN, CURATED_RUN, SKYMAP_RUN, REFCAT_RUN):
            butler.collections.register(run)
        butler.collections.register(REFCAT_CHAIN, CollectionType.CHAINED)
        butler.collections.redefine_chain(REFCAT_CHAIN, [REFCAT_RUN])
        with butler.transaction():
            MiniDecam().register(butler.registry)
            insert_skymap(butler.registry)
            insert_exposures(butler.registry, plans)
            insert_visits(butler.registry, [plan for plan in plans if plan.pointing is not None])
            for value, dataset_type, data_id, run in _datasets(plans):
                butler.put(value, dataset_type, data_id, run=run)


def _datasets(plans: Sequence[ExposurePlan]) -> Iterator[Dataset]:
    """Yield everything to put, with its dataset type, data ID and RUN collection."""
    for plan in plans:
        for detector in ALL_DETECTORS:
            data_id = {"instrument": INSTRUMENT, "exposure": plan.exposure, "detector": detector}
            yield raw_pixels(plan=plan, detector=detector), "raw", data_id, RAW_RUN
    for value, name, data_id, run in curated_calibrations():
        yield value, name, {"instrument": INSTRUMENT, **data_id}, run
    yield skymap_geometry(), "skyMap", {"skymap": SKYMAP}, SKYMAP_RUN
    for name, trixel, shard in reference_catalogues():
        yield shard, name, {f"htm{REFCAT_LEVEL}": trixel}, REFCAT_RUN
