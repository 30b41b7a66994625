"""Preflight and selections on a real repository, through the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from astropy.time import Time
from demo_repository import copied_repository
from forked_program import run_forked
from lsst.daf.butler import Butler, CollectionType, DatasetType, Timespan

from merian_campaign.domain.preflight.group_check import group_check
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.rendering.render import data_query
from merian_campaign.domain.safe_text.yaml_writer import dump
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.exposure_selection import Select
from merian_campaign.middleware.exposure_selection import select as ask
from merian_campaign.middleware.preflight.driver_preflight import check

CAMPAIGN = Path(__file__).resolve().parents[2] / "campaign" / "demo.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("survey")
    copied_repository(made)
    return made


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {"DEMO_DIR": str(folder), "HOME": str(folder), "PATH": "/usr/bin:/bin"}
    return run_forked(*arguments, env=environ)


def changed(folder: Path, name: str, *changes: tuple[str, str]) -> str:
    text = CAMPAIGN.read_text().replace("${CAMPAIGN_DIR}", str(CAMPAIGN.parent))
    for old, new in (
        ("site: local", f"site: {CAMPAIGN.parents[1]}/site/local.yaml"),
        ("failure_rules: ", f"failure_rules: {CAMPAIGN.parent}/"),
        *changes,
    ):
        assert old in text
        text = text.replace(old, new)
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return str(file)


def test_the_demo_is_fit_to_fly(folder: Path) -> None:
    done = run(folder, "preflight", str(CAMPAIGN))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors" in done.stderr


def test_what_would_fail_is_found_before_any_graph_is_built(folder: Path) -> None:
    file = changed(
        folder,
        "wrong",
        ("where: exposure.observation_type = 'zero'", "where: exposure.observation_type = 'bias'"),
        ('tracts: ["9813-9814"]', 'tracts: ["9813-9815"]'),
        ("#step2c\n", "#step9\n"),
        ("        - refcats\n", "        - refcats\n        - DECam/none\n"),
        ("inputs: [DECam/raw/all, DECam/calib/demo, ", "inputs: [DECam/raw/all, DECam/nowhere, "),
    )
    done = run(folder, "preflight", file, "--json")
    assert done.returncode == 2, done.stdout + done.stderr
    found = {entry["place"]: entry for entry in json.loads(done.stdout)["findings"]}
    assert "no exposure is selected by" in found["cpBias/all"]["message"]
    assert "DECam/nowhere is not in the repository" in found["step0"]["message"]
    assert "9815" in found["step3"]["message"]
    assert "step9" in found["step2c"]["message"]
    assert not list(folder.rglob("*.qg"))


GLOBAL_2A = f"""\
description: step2a as pipelines of today have it
imports:
  - location: {CAMPAIGN.parents[1]}/merian_campaign/demo/pipelines/DRP-Merian.yaml
    exclude: [isrForCrosstalkSources]
    labeledSubsetModifyMode: DROP
subsets:
  global2a:
    subset: [consolidateVisitSummary, consolidatePreSourceTable, isolatedStarAssociation]
    description: Tables of visits, and stars of tracts.
"""


def preflighted(folder: Path, name: str, *changes: tuple[str, str]) -> list[str]:
    """Return the errors of the demo with changes, as place and text."""
    done = run(folder, "preflight", changed(folder, name, *changes), "--json")
    found = [entry for entry in json.loads(done.stdout)["findings"] if entry["fatal"]]
    assert done.returncode == (2 if found else 0), done.stderr
    return [f"{entry['place']}: {entry['message']}" for entry in found]


def test_steps_are_held_against_the_tasks_of_their_pipelines(folder: Path) -> None:
    """A step over visits that has a task by tract, inputs without what is needed, clusters in a circle."""
    (folder / "global.yaml").write_text(GLOBAL_2A)
    (folder / "circle.yaml").write_text(
        "clusterAlgorithm: lsst.ctrl.bps.quantum_clustering_funcs.dimension_clustering\n"
        "cluster:\n  ends: {pipetasks: 'deblend,mergeMeasurements', dimensions: 'tract,patch'}\n"
    )
    step2a = "    pipeline: ${DEMO_PIPELINES}/DRP-Merian.yaml#step2a\n    scope: visit\n"
    step3 = "    pipeline: ${DEMO_PIPELINES}/DRP-Merian.yaml#step3\n"
    found = preflighted(
        folder,
        "against",
        (step2a, f"    pipeline: {folder}/global.yaml#global2a\n    scope: visit\n"),
        ("    inputs: [step1, DECam/defaults/demo]\n", "    inputs: [DECam/defaults/demo]\n"),
        (step3, f"{step3}    include: [{folder}/circle.yaml]\n"),
    )
    assert len(found) == 3, found
    assert found[0] == (
        "step2a: cut by day_obs, every group would make its own part of what isolatedStarAssociation "
        "(instrument, skymap, tract) makes of all"
    )
    assert found[1].startswith(
        "step2a: it needs calexpSummary, preSourceTable, which step1 makes, and does not read its output"
    )
    assert found[2].startswith("step3: cluster: BPS cannot put these in order: ")
    assert "measure reads " in found[2]


def test_a_global_step_takes_everything_and_tasks_may_be_a_campaigns_own(folder: Path) -> None:
    (folder / "tables.yaml").write_text(GLOBAL_2A)
    (folder / "modules").mkdir()
    (folder / "modules" / "own_tasks.py").write_text(
        "from merian_campaign.demo.tasks.visits import MakeVisitTableTask as OwnTask\n"
    )
    (folder / "own.yaml").write_text("description: own\ntasks: {makeVisitTable: own_tasks.OwnTask}\n")
    step2c = "    pipeline: ${DEMO_PIPELINES}/DRP-Merian.yaml#step2c\n    scope: instrument\n"
    step2a = "    pipeline: ${DEMO_PIPELINES}/DRP-Merian.yaml#step2a\n    scope: visit\n"
    changes = [
        (
            f"{step2a}    group_by: *nights\n",
            f"    pipeline: {folder}/tables.yaml#global2a\n    scope: global\n",
        ),
        ("environment:\n", f"environment:\n  PYTHONPATH: {folder}/modules\n"),
        (step2c, f"    pipeline: {folder}/own.yaml\n    scope: instrument\n"),
    ]
    assert preflighted(folder, "right", *changes) == []


def test_a_pipeline_may_declare_how_its_steps_are_cut(folder: Path) -> None:
    declared = (
        GLOBAL_2A.replace(", isolatedStarAssociation", "") + "steps:\n  - {label: global2a, dimensions: []}\n"
    )
    (folder / "declared.yaml").write_text(declared)
    old = "    pipeline: ${DEMO_PIPELINES}/DRP-Merian.yaml#step2a\n    scope: visit\n"
    new = f"    pipeline: {folder}/declared.yaml#global2a\n    scope: visit\n"
    (found,) = preflighted(folder, "declaring", (old, new))
    assert "declared.yaml#global2a declares that it may be cut by nothing, and it is cut by day_obs" in found


def test_validate_reads_scopes_and_refuses_what_the_tasks_do_not_allow(folder: Path) -> None:
    """A grouping that splits what a task needs whole, and a step that is not after what makes its inputs."""
    (folder / "global.yaml").write_text(GLOBAL_2A)
    step2a = "    pipeline: ${DEMO_PIPELINES}/DRP-Merian.yaml#step2a\n    scope: visit\n"
    done = run(folder, "validate", changed(folder, "read", ("#step2a\n    scope: visit\n", "#step2a\n")))
    assert done.returncode == 0, done.stderr
    split = changed(folder, "split", (step2a, f"    pipeline: {folder}/global.yaml#global2a\n"))
    done = run(folder, "validate", split)
    assert done.returncode == 2
    assert "step2a: cut by day_obs, every group would make its own part of what isolatedStar" in done.stderr
    order = changed(folder, "order", ("    after: [step1]\n", ""), ("inputs: [step1, ", "inputs: ["))
    done = run(folder, "validate", order)
    assert done.returncode == 2
    assert "step2a: it needs calexpSummary, preSourceTable, which step1 makes, and is" in done.stderr


def test_exposures_are_listed_as_they_are_written_in_a_campaign(folder: Path) -> None:
    file = changed(
        folder,
        "select",
        (
            "    where: exposure.observation_type = 'science' AND detector NOT IN (31, 61)\n",
            "    select: {observation_type: science, band: N708, exclude_detectors: [31, 61]}\n",
        ),
    )
    assert run(folder, "select", file, "step1").stdout.split() == ["970612", "971020"]
    assert run(folder, "select", file, "step1", "--nights").stdout.split() == ["20210318", "20210319"]
    refused = run(folder, "select", file, "step3")
    assert refused.returncode == 2
    assert "is no step over exposures or visits; such steps: cpBias, step0" in refused.stderr
    nothing = changed(folder, "nothing", ("'zero'", "'none'"))
    refused = run(folder, "select", nothing, "cpBias")
    assert refused.returncode == 2
    assert "no exposure is selected by" in refused.stderr


def test_campaign_and_pipeline_are_drawn(folder: Path) -> None:
    done = run(folder, "graph", str(CAMPAIGN))
    assert done.returncode == 0, done.stderr
    assert "s_step2d --> s_step3" in done.stdout
    done = run(folder, "graph", str(CAMPAIGN), "--step", "step2b", "--format", "dot")
    assert done.returncode == 0, done.stderr
    assert "jointcal" in done.stdout
    refused = run(folder, "graph", str(CAMPAIGN), "--step", "defaults")
    assert refused.returncode == 2
    assert "is no step with a pipeline" in refused.stderr


@pytest.mark.parametrize(
    ("select", "exposures"),
    [
        ({}, [970228, 970488, 970612, 970613, 970823, 970836, 971020, 971021]),
        ({"observation_type": ["dome flat", "zero"]}, [970228, 970488, 970823, 970836]),
        ({"day_obs": ["20210101-20210318", 20210320]}, [970228, 970488, 970612, 970613]),
        ({"physical_filter": "N708 DECam c0012 7080.0 400.0"}, [970228, 970612, 971020]),
        ({"band": "N540", "observation_type": "science"}, [970613, 971021]),
        ({"target": ["COSMOS", "SXDS"]}, [970612, 970613, 971020, 971021]),
        ({"exposures": ["970612-971020"], "exclude_exposures": [970613, "970800-970900"]}, [970612, 971020]),
        ({"target": "COSMOS", "exclude_detectors": [1, 2, 31]}, []),
    ],
)
def test_the_registry_understands_every_term(
    folder: Path, select: dict[str, object], exposures: list[int]
) -> None:
    where = " AND ".join(("instrument = 'DECam'", *Select.model_validate(select).terms()))
    found = ask(repository=str(folder / "repo"), where=where)
    assert [exposure for exposure, _ in found] == exposures


@pytest.mark.parametrize(("form", "begins"), [("svg", b"<?xml"), ("pdf", b"%PDF")])
@pytest.mark.parametrize("step", [(), ("--step", "step2b")])
def test_graphviz_draws_them(folder: Path, form: str, begins: bytes, step: tuple[str, ...]) -> None:
    if shutil.which("dot") is None:
        assert "MERIAN_GRAPHVIZ_REQUIRED" not in os.environ
        pytest.skip("Graphviz is not installed")
    file = folder / f"picture{len(step)}.{form}"
    done = run(folder, "graph", str(CAMPAIGN), *step, "--format", form, "--output", str(file))
    assert done.returncode == 0, done.stderr
    content = file.read_bytes()
    assert content.startswith(begins)
    assert form == "pdf" or (b"jointcal" if step else b"certifyBias") in content


# -- one group, as its driver looks at it ---------------------------------------------------------------

PIPELINES = CAMPAIGN.parents[1] / "merian_campaign" / "demo" / "pipelines"
CALIBRATIONS = "test/calib"


@pytest.fixture(scope="module")
def certified(folder: Path) -> str:
    """Biases of both detectors that are valid from the second night on; there are no files of them."""
    with Butler.from_config(str(folder / "repo"), writeable=True) as butler:
        dimensions = ("instrument", "detector")
        bias = DatasetType("bias", dimensions, "NumpyArray", universe=butler.dimensions, isCalibration=True)
        butler.registry.registerDatasetType(bias)
        butler.collections.register("test/bias")
        butler.collections.register(CALIBRATIONS, CollectionType.CALIBRATION)
        data_ids = [{"instrument": "DECam", "detector": detector} for detector in (1, 2)]
        refs = butler.registry.insertDatasets("bias", data_ids, run="test/bias")
        begin, end = (Time(date, scale="tai") for date in ("2021-03-19T12:00:00", "2022-06-30T23:59:59"))
        butler.registry.certify(CALIBRATIONS, refs, Timespan(begin, end))
    return CALIBRATIONS


def looked(
    folder: Path, place: Path, *, night: int, first: bool = True, skymap: str | None = None, **changes: object
) -> tuple[str, list[dict[str, object]]]:
    """Look at a night of flats; return the refusal and the findings in the file."""
    step = {
        "name": "cpFlat",
        "pipeline": f"{PIPELINES}/cpFlat.yaml",
        "scope": "exposure",
        "select": {"observation_type": "dome flat", "exclude_detectors": [31, 61]},
        "group_by": {"kind": "day_obs", "nights": [20210318, 20210319, 20210320]},
        "inputs": ["DECam/raw/all", CALIBRATIONS, "DECam/calib/unbounded"],
    }
    spec = CampaignSpec.model_validate(
        {
            "campaign": "flats",
            "butler": str(folder / "repo"),
            "instrument": "DECam",
            "skymap": skymap,
            "site": "/site.yaml",
            "collections": {"output": "u/flats"},
            "steps": [step | changes],
        }
    )
    made = spec.step("cpFlat")
    assert isinstance(made, BpsStep)
    selection = Selection(dimension="day_obs", values=(night,))
    asked = group_check(spec, made, group=f"night{night}", selection=selection, number=1, first=first)
    paths = SubmissionPaths(directory=str(place))
    query = data_query(spec=spec, step=made, selection=selection)
    Path(paths.yaml).write_text(dump({"payload": {"dataQuery": query}}))
    Path(paths.preflight).write_text(json.dumps(asked.to_json()))
    why = check(paths)
    content = json.loads(Path(paths.findings).read_text())
    assert content["refused"] == why
    return why, content["findings"]


def test_a_driver_finds_what_graph_building_would_fail_of(
    folder: Path, certified: str, tmp_path: Path
) -> None:
    # The other input is what a step before would make: without it, the graph is empty, and that is allowed.
    why, found = looked(folder, tmp_path, night=20210318, if_empty="done")
    assert why == (
        "no bias covers 1 of 1 exposures (night 20210318); there are some for 2021-03-19 to 2022-06-30; "
        "certify one for these dates (a certify-calibrations step), or select fewer nights"
    )
    assert [entry["fatal"] for entry in found] == [False, True]
    assert looked(folder, tmp_path, night=20210319, if_empty="done")[0] == ""


def test_a_driver_runs_nothing_before_its_inputs_are_made(
    folder: Path, certified: str, tmp_path: Path
) -> None:
    why, _ = looked(folder, tmp_path, night=20210319)
    assert why == (
        "the pipeline needs overscanRaw, and none of its input collections holds any; correct inputs:, or "
        "see what the step that should have made it did (is it in after:?)"
    )


def test_a_driver_refuses_a_night_of_a_task_by_tract(folder: Path, tmp_path: Path) -> None:
    why, _ = looked(
        folder,
        tmp_path,
        night=20210319,
        pipeline=f"{PIPELINES}/DRP-Merian.yaml#isolatedStarAssociation",
        scope="visit",
        if_empty="done",
    )
    assert why.startswith(
        "cut by day_obs, every group would make its own part of what isolatedStarAssociation ("
    )


@pytest.mark.parametrize("first", [True, False])
def test_a_driver_adds_the_sky_map_that_a_task_needs(folder: Path, tmp_path: Path, *, first: bool) -> None:
    stars = f"{PIPELINES}/DRP-Merian.yaml#isolatedStarAssociation"
    changes = {"pipeline": stars, "group_by": "everything", "if_empty": "done", "skymap": "decam_rings_v1"}
    for _ in range(2):
        _, found = looked(folder, tmp_path, night=20210319, first=first, **changes)
        assert "skymap = 'decam_rings_v1' was added to its data query" in str(found[0]["text"])
        assert first or len(found) == 1
    query = yaml.safe_load((tmp_path / "submit.yaml").read_text())["payload"]["dataQuery"]
    assert query.endswith("detector NOT IN (31, 61) AND skymap = 'decam_rings_v1'")


def test_render_writes_the_sky_map_as_the_driver_would(folder: Path, tmp_path: Path) -> None:
    stars = ("#step2c\n    scope: instrument\n", "#isolatedStarAssociation\n    scope: instrument\n")
    done = run(folder, "render", changed(folder, "stars", stars), "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "not looked at" not in done.stderr
    queries = {
        step: yaml.safe_load((tmp_path / step / "all/001/submit.yaml").read_text())["payload"]["dataQuery"]
        for step in ("step2c", "cpBias")
    }
    assert queries["step2c"] == "instrument = 'DECam' AND skymap = 'decam_rings_v1'"
    assert "skymap" not in queries["cpBias"]


def test_a_driver_leaves_an_empty_selection_to_if_empty(folder: Path, certified: str, tmp_path: Path) -> None:
    why, found = looked(folder, tmp_path, night=20210320, if_empty="done")
    assert why == ""
    assert any("no exposure is selected" in str(entry["text"]) for entry in found)


def test_a_driver_finds_overrides_and_collections_that_are_wrong(
    folder: Path, certified: str, tmp_path: Path
) -> None:
    why, _ = looked(folder, tmp_path, night=20210319, config=["isr:nonsense=1"])
    assert why.startswith("cpFlat.yaml: AttributeError: ")
    assert "has no attribute nonsense" in why
    why, _ = looked(folder, tmp_path, night=20210319, output="DECam/raw/all")
    assert "is a RUN collection already, and must be a chain" in why


def test_a_repository_that_cannot_be_opened_is_for_the_graph_to_fail_of(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "butler.yaml").write_text("datastore: {}\n")
    why, found = looked(tmp_path, tmp_path, night=20210319)
    assert why == ""
    assert "cannot be opened" in str(found[0]["text"])
