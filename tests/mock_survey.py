"""A repository, pipelines and campaign file of a survey whose tasks are mocks with real connections."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from astropy.time import Time
from lsst.daf.butler import Butler, CollectionType, Config, DatasetRef, DatasetType, Registry, Timespan
from lsst.daf.butler.formatters.json import JsonFormatter
from lsst.pipe.base import Pipeline
from lsst.pipe.base._datasetQueryConstraints import DatasetQueryConstraintVariant
from lsst.pipe.base.all_dimensions_quantum_graph_builder import AllDimensionsQuantumGraphBuilder
from lsst.pipe.base.tests.mocks import MockDataset
from lsst.pipe.base.tests.mocks._storage_class import MockStorageClass, MockStorageClassDelegate
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d
from lsst.utils.introspection import get_full_type_name
from survey_tasks import MARKS, STORAGE, read_table

from merian_campaign.context import CommandContext
from merian_campaign.domain.rendering.render import data_query, input_collections
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.spec.actions.calibrations import CertifyCalibrations, CollectionChain
from merian_campaign.domain.spec.grouping import expand
from merian_campaign.files.bps_files import read_requests

CHECKOUT = Path(__file__).resolve().parents[1]
TABLES = Path(__file__).with_name("surveys") / "tables"
SITE = """\
computeSite: mock
site:
  mock: {class: lsst.ctrl.bps.parsl.sites.Local, cores: 2, retries: 0}
"""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a survey looks like from outside."""

    campaign: str
    instrument: str
    skymap: str
    tables: tuple[str, ...]
    filters: Mapping[str, str]
    tracts: tuple[int, int]
    nights: tuple[int, int]
    made_here: frozenset[str] = frozenset()


SURVEYS = {
    "merian-dr": Facts(
        campaign="merian-dr",
        instrument="DECam",
        skymap="hsc_rings_v1",
        tables=("cpBias", "cpFlat", "merian-step0", "merian"),
        filters={"N540 DECam c0014 5403.2 210.0": "N540", "N708 DECam c0012 7080.0 400.0": "N708"},
        tracts=(9813, 9814),
        nights=(20210318, 20210319),
        made_here=frozenset({"bias", "flat", "overscanRaw"}),
    ),
    "hsc-rc2": Facts(
        campaign="hsc-rc2",
        instrument="HSC",
        skymap="hsc_rings_v1",
        tables=("hsc-rc2",),
        filters={"HSC-R": "r", "HSC-I": "i"},
        tracts=(9615, 9813),
        nights=(20140326, 20140327),
    ),
    "lsstcam-drp": Facts(
        campaign="lsstcam-drp",
        instrument="LSSTCam",
        skymap="lsst_cells_v2",
        tables=("lsstcam-drp",),
        filters={"r_57": "r", "i_39": "i"},
        tracts=(10221, 10222),
        nights=(20250620, 20250621),
    ),
    "lsstcomcam-drp": Facts(
        campaign="lsstcomcam-drp",
        instrument="LSSTComCam",
        skymap="lsst_cells_v1",
        tables=("lsstcomcam-drp",),
        filters={"r_03": "r", "i_06": "i"},
        tracts=(5063, 5064),
        nights=(20241108, 20241109),
    ),
}


@dataclass(frozen=True, kw_only=True)
class MockSurvey:
    """One survey in a folder of its own."""

    facts: Facts
    folder: Path

    @property
    def repository(self) -> Path:
        return self.folder / "repo"

    @property
    def file(self) -> Path:
        return self.folder / "campaign" / f"{self.facts.campaign}.yaml"

    @property
    def environ(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, (str(TABLES.parents[1]), os.environ.get("PYTHONPATH"))))
        return {
            "CP_PIPE_DIR": str(self.folder / "cp_pipe"),
            "DRP_PIPE_DIR": str(self.folder / "drp_pipe"),
            "REPO": str(self.repository),
            "SITE": str(self.folder / "site.yaml"),
            "PYTHONPATH": path,
        }


def make_mock_survey(
    name: str, folder: Path, *, files: bool = False, config: Config | None = None
) -> MockSurvey:
    """Make a survey: two tracts, two nights, two filters, two detectors.

    Parameters
    ----------
    name : `str`
        One of `SURVEYS`.
    folder : `~pathlib.Path`
        A folder that is empty.
    files : `bool`, optional
        Whether its datasets have files, for tasks to read; graphs need none.
    config : `~lsst.daf.butler.Config`, optional
        Of its repository; its registry is SQLite unless this says otherwise.
    """
    survey = MockSurvey(facts=SURVEYS[name], folder=folder)
    for table in survey.facts.tables:
        write_pipeline(TABLES / f"{table}.yaml", folder)
    survey.file.parent.mkdir(parents=True)
    survey.file.write_text(json.dumps(reduced(survey.facts), indent=1), encoding="utf-8")
    (folder / "site.yaml").write_text(SITE, encoding="utf-8")
    make_repository(survey.repository, config=config)
    with Butler.from_config(str(survey.repository), writeable=True) as butler:
        with butler.transaction():  # one wait for the disk instead of many
            insert_records(butler.registry, survey.facts)
        fill(butler, survey.facts, files=files)
    return survey


def make_repository(folder: Path, *, config: Config | None = None) -> None:
    """Make a repository that knows how mock datasets are stored, as butlers do of real ones.

    Otherwise only processes that have imported mock tasks do, and ingest imports none.
    """
    mock = MockStorageClass.get_or_register_mock(STORAGE)
    of_class = {"pytype": mock.pytype, "delegate": MockStorageClassDelegate}
    known = {
        "storageClasses": {mock.name: {key: get_full_type_name(value) for key, value in of_class.items()}},
        "datastore": {"formatters": {mock.name: get_full_type_name(JsonFormatter)}},
    }
    whole = Config(config)
    whole.update(known)
    Butler.makeRepo(str(folder), whole)


def write_pipeline(file: Path, folder: Path) -> None:
    """Write the pipeline of a table where the real one lies in its package."""
    table = read_table(str(file))
    document: dict[str, Any] = {
        "description": f"Mocks of {table['pipeline']}",
        "tasks": {
            label: {"class": "survey_tasks.TableTask", "config": {"table": str(file), "label": label}}
            for label in table["tasks"]
        },
    }
    if "subsets" in table:
        document["subsets"] = {
            name: {"subset": labels, "description": name} for name, labels in table["subsets"].items()
        }
    if "steps" in table:
        document["steps"] = [
            {"label": name, "dimensions": dimensions} for name, dimensions in table["steps"].items()
        ]
    path = folder / table["pipeline"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def reduced(facts: Facts) -> dict[str, Any]:
    """Return a shipped campaign file with tracts, nights and pixels of the mock survey."""
    shipped = CHECKOUT / "campaign" / f"{facts.campaign}.yaml"
    document: dict[str, Any] = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    # No machine that runs tests has the memory that real data need.
    document["include"] = [entry for entry in document["include"] if "resources" not in entry]
    base = ("include", "failure_rules")
    if document.get("tracts") != "discover":
        document["tracts"] = list(facts.tracts)
    for part in (document, *document["steps"]):
        for key in base:
            if key in part:
                value = part[key]
                part[key] = [_from(entry) for entry in value] if isinstance(value, list) else _from(value)
        part.pop("resources", None)
        grouping = part.get("group_by")
        if isinstance(grouping, dict) and "nights" in grouping:
            grouping["nights"] = list(facts.nights)
        if isinstance(part.get("select"), dict) and isinstance(part["select"].get("day_obs"), list):
            part["select"]["day_obs"] = list(facts.nights)
        if isinstance(grouping, dict) and grouping["kind"] == "dimension":
            grouping["ids"] = list(pixels(facts))
    return document


def _from(entry: str) -> str:
    path = (CHECKOUT / "campaign" / entry).resolve()
    return str(path) if path.exists() else entry


def box(ra: float, dec: float, width: float = 0.2, height: float = 0.2) -> ConvexPolygon:
    """Return a rectangle on the sky, degrees."""
    corners = [(ra, dec), (ra + width, dec), (ra + width, dec + height), (ra, dec + height)]
    return ConvexPolygon([UnitVector3d(LonLat.fromDegrees(*corner)) for corner in corners])


RA, DEC = 150.0, 2.0


def pixels(facts: Facts) -> Iterator[int]:
    """Yield the pixels of healpix3 that the tracts lie in."""
    from lsst.daf.butler import DimensionUniverse  # noqa: PLC0415

    pixelization = DimensionUniverse().skypix_dimensions["healpix3"].pixelization
    for first, last in pixelization.envelope(box(RA, DEC, width=0.4)):
        yield from range(first, last)


def exposures(facts: Facts) -> Iterator[dict[str, Any]]:
    """Yield exposures: two of the sky a night, and for what makes calibrations a zero and two flats."""
    number = 970_000
    names = list(facts.filters)
    for night in facts.nights:
        kinds = [("science", name) for name in names]
        if "bias" in facts.made_here:
            kinds += [("zero", names[0]), *(("dome flat", name) for name in names)]
        for kind, name in kinds:
            number += 1
            # Past midnight, at most a quarter of an hour apart from the next.
            begin = datetime.strptime(f"{night}03+0000", "%Y%m%d%H%z") + timedelta(
                days=1, minutes=number % 1000
            )
            begin = begin.replace(tzinfo=None)
            yield {
                "instrument": facts.instrument,
                "id": number,
                "physical_filter": name,
                "group": str(number),
                "day_obs": night,
                "obs_id": f"mock{number}",
                "exposure_time": 30.0,
                "dark_time": 30.0,
                "observation_type": kind,
                "observation_reason": kind,
                "seq_num": number,
                "seq_start": number,
                "seq_end": number,
                "target_name": "COSMOS" if kind == "science" else kind,
                "science_program": "mock",
                "can_see_sky": kind == "science",
                "timespan": Timespan(
                    Time(begin, scale="tai"), Time(begin + timedelta(seconds=30), scale="tai")
                ),
            }


def insert_records(registry: Registry, facts: Facts) -> None:
    """Insert instrument, sky map, exposures and visits."""
    own = {"instrument": facts.instrument}
    registry.insertDimensionData(
        "instrument",
        {"name": facts.instrument, "detector_max": 200, "visit_max": 2**31, "exposure_max": 2**31,
         "visit_system": 0, "class_name": "survey_tasks.Instrument"},
    )  # fmt: skip
    for number in (1, 2):
        record = {"id": number, "full_name": f"S{number}", "purpose": "SCIENCE", "raft": "S"}
        registry.insertDimensionData("detector", own | record)
    for name, band in facts.filters.items():
        registry.insertDimensionData("physical_filter", own | {"name": name, "band": band})
    sky = {"name": facts.skymap, "hash": facts.skymap.encode().ljust(40, b"\0"), "tract_max": 20000,
           "patch_nx_max": 1, "patch_ny_max": 1}  # fmt: skip
    registry.insertDimensionData("skymap", sky)
    for index, tract in enumerate(facts.tracts):
        region = box(RA + 0.2 * index, DEC)
        on_sky = {"skymap": facts.skymap}
        registry.insertDimensionData("tract", on_sky | {"id": tract, "region": region})
        patch = on_sky | {"tract": tract, "id": 0, "cell_x": 0, "cell_y": 0, "region": region}
        registry.insertDimensionData("patch", patch)
    registry.insertDimensionData("visit_system", own | {"id": 0, "name": "one-to-one"})
    for night in facts.nights:
        registry.insertDimensionData("day_obs", own | {"id": night})
    for record in exposures(facts):
        registry.insertDimensionData("group", own | {"name": record["group"]})
        registry.insertDimensionData("exposure", record)
        if record["observation_type"] == "science":
            insert_visit(registry, record)


def insert_visit(registry: Registry, record: Mapping[str, Any]) -> None:
    """Insert the visit of an exposure: it overlaps both tracts."""
    number = record["id"]
    own = {"instrument": record["instrument"]}
    kept = ("instrument", "id", "physical_filter", "day_obs", "seq_num", "exposure_time", "target_name",
            "science_program", "observation_reason", "timespan")  # fmt: skip
    visit = {name: record[name] for name in kept}
    region = box(RA + 0.05, DEC + 0.05, width=0.3, height=0.1)
    registry.insertDimensionData("visit", visit | {"name": str(number), "region": region})
    key = own | {"visit": number}
    registry.insertDimensionData("visit_definition", key | {"exposure": number})
    registry.insertDimensionData("visit_system_membership", key | {"visit_system": 0})
    for detector in (1, 2):
        part = box(RA + 0.05 + 0.15 * (detector - 1), DEC + 0.05, width=0.15, height=0.1)
        registry.insertDimensionData("visit_detector_region", key | {"detector": detector, "region": part})


def given(facts: Facts) -> dict[str, frozenset[str]]:
    """Return the dataset types that no task of the survey makes, with their dimensions."""
    made: set[str] = set(facts.made_here)
    read: dict[str, frozenset[str]] = {}
    for name in facts.tables:
        table = read_table(str(TABLES / f"{name}.yaml"))
        for label, task in table["tasks"].items():
            made.update(word.rstrip(MARKS) for word in task.get("makes", ()))
            made.update(f"{label}_{kind}" for kind in ("metadata", "config", "log"))
            for word in (*task.get("reads", ()), *task.get("looks_up", ())):
                read[word.rstrip(MARKS)] = frozenset(table["types"][word.rstrip(MARKS)])
    return {name: of for name, of in sorted(read.items()) if name not in made}


def fill(butler: Butler, facts: Facts, *, files: bool) -> None:
    """Put what must be there before the campaign, in the collections that its file names."""
    name = facts.instrument
    raws, sky, other = f"{name}/raw/all", "skymaps", f"{name}/calib/unbounded"
    runs = {"raw": raws, "skyMap": sky}
    curated, run = f"{name}/calib/curated/19700101T000000Z", f"{name}/calib/mock"
    butler.registry.registerCollection(curated, CollectionType.CALIBRATION)
    for place in (raws, sky, other, run, "refcats"):
        butler.registry.registerRun(place)
    forever = Timespan(None, None)
    for dataset, of in given(facts).items():
        # Cameras write theirs where it holds for ever, without certifying it.
        calibration = "calibration" in of and dataset != "camera"
        dimensions = (of - {"calibration"}) or frozenset()
        place = runs.get(dataset, "refcats" if "skypix" in dimensions else run if calibration else other)
        ids = list(data_ids(butler, facts, dimensions))
        made = DatasetType(
            dataset, {"htm7" if each == "skypix" else each for each in dimensions}, f"_mock_{STORAGE}",
            universe=butler.dimensions, isCalibration="calibration" in of,
        )  # fmt: skip
        butler.registry.registerDatasetType(made)
        expand_id = partial(butler.registry.expandDataId, dimensions=made.dimensions)
        refs = [DatasetRef(made, expand_id(each), place) for each in ids]
        if files:
            for ref in refs:
                put(butler, ref)
        else:
            butler.registry._importDatasets(refs)
        if calibration and refs:
            butler.registry.certify(curated, refs, forever)
    chain = f"{name}/defaults"
    butler.registry.registerCollection(chain, CollectionType.CHAINED)
    butler.registry.setCollectionChain(chain, [raws, curated, other, sky, "refcats"])


def data_ids(butler: Butler, facts: Facts, dimensions: frozenset[str]) -> Iterator[Any]:
    """Yield the data IDs of the mock survey with these dimensions."""
    if not dimensions:
        yield {}
    elif "skypix" in dimensions:
        pixelization = butler.dimensions.skypix_dimensions["htm7"].pixelization
        for first, last in pixelization.envelope(box(RA - 0.5, DEC - 0.5, width=1.5, height=1.2)):
            yield from ({"htm7": pixel} for pixel in range(first, last))
    else:
        fixed = {"instrument": facts.instrument, "skymap": facts.skymap}
        names = butler.dimensions.conform(dimensions).names
        query = {key: value for key, value in fixed.items() if key in names}
        yield from butler.registry.queryDataIds(sorted(dimensions), dataId=query)


def put(butler: Butler, ref: DatasetRef) -> None:
    """Put a mock dataset."""
    dataset = MockDataset(
        dataset_id=ref.id,
        dataset_type=ref.datasetType.to_simple(),
        data_id=dict(ref.dataId.mapping),
        run=ref.run,
    )
    butler.put(dataset, ref)


def simulate(survey: MockSurvey) -> dict[str, int]:
    """Build the graph of every group as BPS would, and register what it says will be made.

    Returns
    -------
    quanta : `dict` [`str`, `int`]
        How many quanta the graph of each ``STEP/GROUP`` has.
    """
    context = CommandContext(environ={"HOME": str(survey.folder), "PATH": "/usr/bin:/bin", **survey.environ})
    spec = context.load(str(survey.file)).spec
    found: dict[str, int] = {}
    with Butler.from_config(str(survey.repository), writeable=True) as butler:
        for step in spec.steps:
            if isinstance(step, ActionStep):
                do_action(butler, step)
                continue
            own = spec.model_copy(update={"tracts": survey.facts.tracts})
            graph = Pipeline.from_uri(step.pipeline).to_graph(registry=butler.registry)
            runs = []
            for key, selection in expand(step.group_by, tracts=survey.facts.tracts):
                runs.append(f"{spec.output_of(step)}/{key}/001")
                query = data_query(spec=own, step=step, selection=selection)
                inputs = input_collections(spec=spec, step=step)
                found[f"{step.name}/{key}"] = build(
                    butler, graph, query=query, inputs=inputs, run=runs[-1], constraint=constraint(spec, step)
                )
            chain(butler, spec.output_of(step), runs)
    return found


def constraint(spec: CampaignSpec, step: BpsStep) -> DatasetQueryConstraintVariant:
    """Return which inputs the query for data IDs joins, as the BPS files of a step say."""
    _, _, after = read_requests(spec, step).qgraph_options.partition("--dataset-query-constraint ")
    return DatasetQueryConstraintVariant.fromExpression(after.split()[0] if after else "all")


def build(
    butler: Butler,
    graph: Any,
    *,
    query: str,
    inputs: tuple[str, ...],
    run: str,
    constraint: DatasetQueryConstraintVariant,
) -> int:
    """Build one graph and register the outputs that it predicts; return its number of quanta."""
    made = AllDimensionsQuantumGraphBuilder(
        graph,
        butler,
        where=query,
        input_collections=list(inputs),
        output_run=run,
        dataset_query_constraint=constraint,
    ).build(attach_datastore_records=False)
    butler.registry.registerRun(run)
    refs = [ref for node in made for refs in node.quantum.outputs.values() for ref in refs]
    for dataset_type in {ref.datasetType for ref in refs}:
        butler.registry.registerDatasetType(dataset_type)
    by_type: dict[str, list[DatasetRef]] = {}
    for ref in refs:
        by_type.setdefault(ref.datasetType.name, []).append(ref)
    for some in by_type.values():
        butler.registry._importDatasets(some)
    return len(made)


def do_action(butler: Butler, step: ActionStep) -> None:
    """Do what the actions of a data release do to collections."""
    match step.typed_arguments():
        case CertifyCalibrations() as given:
            butler.registry.registerCollection(given.output, CollectionType.CALIBRATION)
            refs = butler.registry.queryDatasets(given.dataset_type, collections=given.input)
            span = Timespan(Time(given.begin, scale="tai"), Time(given.end, scale="tai"))
            butler.registry.certify(given.output, list(refs), span)
        case CollectionChain() as given:
            chain(butler, given.parent, list(given.children))
        case other:
            raise AssertionError(other)


def chain(butler: Butler, name: str, children: list[str]) -> None:
    """Define a chain."""
    butler.registry.registerCollection(name, CollectionType.CHAINED)
    butler.registry.setCollectionChain(name, children)
