"""What the demo's ``butler`` subcommands do; `butler_commands` has their arguments."""

import logging
import pickle
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lsst.daf.butler import (
    Butler,
    CollectionType,
    DatasetIdGenEnum,
    DatasetRef,
    DatasetType,
    FileDataset,
    Timespan,
)
from lsst.pex.config import Config, Field
from lsst.pipe.base import Instrument

from merian_campaign.demo.archive import RAW_PATTERN
from merian_campaign.demo.content import (
    RAW_RUN,
    SKYMAP_RUN,
    curated_calibrations,
    register_dataset_type,
    skymap_geometry,
)
from merian_campaign.demo.records import insert_exposures, insert_skymap, insert_visits
from merian_campaign.demo.survey import EVERY_EXPOSURE, INSTRUMENT, SKYMAP, SKYMAPS

_LOG = logging.getLogger("lsst.merian_campaign.demo")


class MakeSkyMapConfig(Config):  # type: ignore[misc]
    """Configuration of a sky map of the demo."""

    name = Field("Name of the sky map.", dtype=str, default=SKYMAP)


def register_skymap(repo: str, config: Mapping[str, str], config_file: str | None) -> None:
    """Register a sky map: its dimension records and its dataset."""
    made = MakeSkyMapConfig()
    if config_file is not None:
        made.load(config_file)
    made.update(**config)
    if made.name not in SKYMAPS:
        raise ValueError(f"The demo has the sky maps {', '.join(SKYMAPS)}; found name={made.name}.")
    with Butler.from_config(repo, writeable=True) as butler:
        register_dataset_type(butler, "skyMap")
        butler.collections.register(SKYMAP_RUN)
        with butler.transaction():
            insert_skymap(butler.registry, made.name)
            butler.put(skymap_geometry(made.name), "skyMap", {"skymap": made.name}, run=SKYMAP_RUN)


def write_curated_calibrations(repo: str, instrument: str, labels: Sequence[str]) -> None:
    """Put camera and defects into their RUNs, and certify them for ever; of each label anew."""
    with Butler.from_config(repo, writeable=True) as butler:
        name = Instrument.from_string(instrument, butler.registry).getName()
        collection = "/".join((f"{name}/calib", *labels))
        contents = [
            (value, dataset_type, data_id, run.replace(f"{name}/calib", collection, 1))
            for value, dataset_type, data_id, run in curated_calibrations()
        ]
        butler.collections.register(collection, CollectionType.CALIBRATION)
        for dataset_type in sorted({entry[1] for entry in contents}):
            register_dataset_type(butler, dataset_type)
        for run in sorted({entry[3] for entry in contents}):
            butler.collections.register(run)
        with butler.transaction():
            refs = [
                butler.put(value, dataset_type, {"instrument": name, **data_id}, run=run)
                for value, dataset_type, data_id, run in contents
            ]
            butler.registry.certify(collection, refs, Timespan(None, None))
    _LOG.info("Wrote %d curated calibrations.", len(refs))


def ingest_raws(
    repo: str,
    locations: Sequence[str],
    regex: str,  # noqa: ARG001 - as the real command has it
    output_run: str | None,
    transfer: str,
    processes: int,  # noqa: ARG001
) -> None:
    """Ingest raw files; those that are in already are passed over, unreadable ones are listed and fail it."""
    run = output_run or RAW_RUN
    files = [path for location in locations for path in _files(Path(location))]
    readable = {path: header for path in files if (header := _read_header(path)) is not None}
    bad = [path for path in files if path not in readable]
    for path in bad:
        _LOG.warning("Could not read %s", path)
    with Butler.from_config(repo, writeable=True) as butler:
        dataset_type = register_dataset_type(butler, "raw")
        butler.collections.register(run)
        known = {
            (ref.dataId["exposure"], ref.dataId["detector"])
            for ref in butler.registry.queryDatasets("raw", collections=run)
        }
        new = {path: header for path, header in readable.items() if header not in known}
        with butler.transaction():
            wanted = {exposure for exposure, _ in new.values()}
            insert_exposures(butler.registry, [plan for plan in EVERY_EXPOSURE if plan.exposure in wanted])
            butler.ingest(*_datasets(butler, new, dataset_type=dataset_type, run=run), transfer=transfer)
    _LOG.info("Ingested %d files; %d were there, %d failed.", len(new), len(readable) - len(new), len(bad))
    if bad:
        raise RuntimeError("Some failures encountered during ingestion")


def _files(location: Path) -> list[Path]:
    if not location.is_dir():
        return [location]
    return sorted(path for path in location.rglob("*") if RAW_PATTERN.fullmatch(path.name))


def _read_header(path: Path) -> tuple[int, int] | None:
    """Return exposure and detector of a raw file; `None` when it is not one."""
    match = RAW_PATTERN.fullmatch(path.name)
    try:
        pickle.loads(path.read_bytes())  # noqa: S301 - the demo's own files
    except (OSError, pickle.UnpicklingError, EOFError, ValueError):
        return None
    known = {plan.exposure for plan in EVERY_EXPOSURE}
    return (int(match[1]), int(match[2])) if match is not None and int(match[1]) in known else None


def _datasets(
    butler: Butler, headers: Mapping[Path, tuple[int, int]], *, dataset_type: DatasetType, run: str
) -> Iterator[FileDataset]:
    for path, (exposure, detector) in headers.items():
        data_id = butler.registry.expandDataId(instrument=INSTRUMENT, exposure=exposure, detector=detector)
        formatter = Instrument.fromName(INSTRUMENT, butler.registry).getRawFormatter(data_id)
        mode = DatasetIdGenEnum.DATAID_TYPE_RUN
        ref = DatasetRef(dataset_type, data_id, run=run, id_generation_mode=mode)
        yield FileDataset(path=str(path.absolute()), refs=[ref], formatter=formatter)


def define_visits(repo: str, instrument: str, where: str) -> None:
    """Define a visit for each science exposure that has none."""
    with Butler.from_config(repo, writeable=True) as butler:
        name = Instrument.from_string(instrument, butler.registry).getName()
        records = butler.query_dimension_records(
            "exposure", where=where or "", instrument=name, explain=False, limit=None
        )
        registered = {record.id for record in records}
        definitions = butler.query_dimension_records("visit_definition", instrument=name, explain=False)
        defined = Counter(record.exposure for record in definitions)
        plans = [
            plan
            for plan in EVERY_EXPOSURE
            if plan.pointing is not None and plan.exposure in registered and not defined[plan.exposure]
        ]
        if plans:
            with butler.transaction():
                insert_visits(butler.registry, plans)
    _LOG.info("Defined %d visits.", len(plans))
