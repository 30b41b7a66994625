"""The shipped files of four surveys on mocks of their pipelines: validated, preflighted, rendered.

Where an LSST stack is set up, the real pipelines are held against the tables too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import pytest
import yaml
from forked_program import run_forked
from mock_survey import CHECKOUT, SURVEYS, TABLES, MockSurvey, make_mock_survey, simulate
from survey_tasks import read_table

from merian_campaign.context import CommandContext
from merian_campaign.domain.spec import BpsStep

NAMES = sorted(SURVEYS)
README = CHECKOUT / "README.md"
NOT_RECORDED = ("makeBinned", "makeWholeTract")
"""Tasks of which analysis_tools changed the labels after the pipelines had been recorded."""
STACK = os.environ.get("DRP_PIPE_DIR") and find_spec("lsst.pipe.tasks")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], MockSurvey]:
    """Make each survey with its mock repository once."""
    return cache(lambda name: make_mock_survey(name, tmp_path_factory.mktemp("surveys") / name))


@pytest.fixture(scope="session", params=NAMES)
def mock(request: pytest.FixtureRequest, made: Callable[[str], MockSurvey]) -> MockSurvey:
    return made(request.param)


def command(mock: MockSurvey, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environ = {**kept, **mock.environ, "MERIAN_CAMPAIGN_HOME": str(mock.folder / "home")}
    return run_forked(*arguments, env=environ)


def test_a_survey_passes_its_preflight(mock: MockSurvey) -> None:
    done = command(mock, "preflight", str(mock.file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_shipped_file_is_valid_and_the_mock_one_renders(mock: MockSurvey) -> None:
    done = command(mock, "validate", str(CHECKOUT / "campaign" / f"{mock.facts.campaign}.yaml"))
    assert done.returncode == 0, done.stderr
    output = mock.folder / "rendered"
    done = command(mock, "render", str(mock.file), "--output", str(output))
    assert done.returncode == 0, done.stderr
    queries = [
        str(yaml.safe_load(file.read_text())["payload"]["dataQuery"]) for file in output.rglob("submit.yaml")
    ]
    assert queries
    assert all(query.startswith(f"instrument = '{mock.facts.instrument}'") for query in queries)


def test_the_first_campaign_of_the_readme_fits_the_survey_of_today(made: Callable[[str], MockSurvey]) -> None:
    mock = made("merian-dr")
    (text,) = re.findall(r"```yaml\n(campaign: mine\n.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    file = mock.file.with_name("mine.yaml")
    file.write_text(text.replace("/path/to/repo", str(mock.repository)), encoding="utf-8")
    done = command(mock, "validate", str(file))
    assert done.returncode == 0, done.stderr
    assert "not looked at" not in done.stderr


@pytest.mark.parametrize(("name", "starter"), [("merian-dr", "merian"), ("hsc-rc2", "hsc")])
def test_a_first_file_fits_the_survey_of_today(
    made: Callable[[str], MockSurvey], name: str, starter: str
) -> None:
    mock = made(name)
    file = mock.file.with_name(f"first_{starter}.yaml")
    done = command(mock, "init", "--from", starter, str(file))
    assert done.returncode == 0, done.stderr
    done = command(mock, "validate", str(file))
    assert done.returncode == 0, done.stderr
    assert "not looked at" not in done.stderr


@pytest.mark.parametrize(
    "name",
    ["merian-dr", "hsc-rc2", "lsstcomcam-drp", pytest.param("lsstcam-drp", marks=pytest.mark.soak)],
)
def test_scopes_of_a_survey_are_those_of_its_tasks(made: Callable[[str], MockSurvey], name: str) -> None:
    mock = made(name)
    document = json.loads(mock.file.read_text(encoding="utf-8"))
    written = {step["name"]: step.pop("scope") for step in document["steps"] if "pipeline" in step}
    file = mock.file.with_name("unsaid.yaml")
    file.write_text(json.dumps(document), encoding="utf-8")
    loaded = CommandContext(environ={**os.environ, **mock.environ}).load(str(file))
    found = {step.name: step.scope for step in loaded.spec.steps if isinstance(step, BpsStep)}
    # A file may say more than the dimensions do: that the one product is not to be cut at all.
    assert found == {step: "global" if scope == "instrument" else scope for step, scope in written.items()}


@pytest.mark.skipif(not STACK, reason="no LSST stack is set up")
@pytest.mark.parametrize("name", NAMES)
def test_a_survey_fits_the_pipelines_of_the_stack(made: Callable[[str], MockSurvey], name: str) -> None:
    mock = made(name)
    own = {name: os.environ[name] for name in ("DRP_PIPE_DIR", "CP_PIPE_DIR") if name in os.environ}
    done = run_forked(
        "validate",
        str(CHECKOUT / "campaign" / f"{mock.facts.campaign}.yaml"),
        env={**os.environ, **mock.environ, **own, "MERIAN_CAMPAIGN_HOME": str(mock.folder / "home")},
    )
    assert done.returncode == 0, done.stderr
    assert "tasks not looked at" not in done.stderr


def test_clusters_of_a_survey_that_have_no_order_are_no_valid_file(made: Callable[[str], MockSurvey]) -> None:
    mock = made("merian-dr")
    clusters = mock.folder / "clusters.yaml"
    algorithm = "lsst.ctrl.bps.quantum_clustering_funcs.dimension_clustering"
    both = {"pipetasks": "writeObjectTable,transformObjectTable", "dimensions": "tract,patch"}
    text = yaml.safe_dump({"clusterAlgorithm": algorithm, "cluster": {"objectTable": both}})
    clusters.write_text(text, encoding="utf-8")
    document = json.loads(mock.file.read_text(encoding="utf-8"))
    document["steps"] = [step for step in document["steps"] if step["name"] == "step3"]
    document["steps"][0] |= {"after": [], "inputs": ["DECam/defaults"], "include": [str(clusters)]}
    file = mock.file.with_name("cycle.yaml")
    file.write_text(json.dumps(document), encoding="utf-8")
    done = command(mock, "validate", str(file))
    assert done.returncode == 2
    assert "BPS cannot put these in order: " in done.stderr
    assert "transformObjectTable reads object_epoch of computeObjectEpochs" in done.stderr


def test_requests_of_surveys_have_their_source() -> None:
    text = (CHECKOUT / "bps_configs" / "resources.yaml").read_text(encoding="utf-8")
    lines = [line for line in text.partition("\npipetask:\n")[2].splitlines() if line]
    said = [
        re.search(r"\{requestMemory: \d+\}  # (RC2|LSSTCam|ComCam|PDR2|guess)(?:, its (\w+))?$", line)
        for line in lines
    ]
    assert [line for line, match in zip(lines, said, strict=True) if match is None] == []
    labels = {line.partition(":")[0].strip() for line in lines}
    assert len(labels) == len(lines)
    recorded = {label for file in TABLES.glob("*.yaml") for label in read_table(str(file))["tasks"]}
    # Two are those of older pipelines, as merian-9813.yaml has them.
    assert labels - recorded == {"finalizeCharacterization", "makeWarp"}
    assert {match[2] for match in said if match is not None and match[2]} <= labels


@pytest.mark.skipif(not STACK, reason="no LSST stack is set up")
@pytest.mark.parametrize("name", NAMES)
def test_the_tables_are_those_of_the_pipelines_of_the_stack(name: str) -> None:
    from lsst.pipe.base import Pipeline  # noqa: PLC0415 - only with a stack

    for table in SURVEYS[name].tables:
        recorded = read_table(str(TABLES / f"{table}.yaml"))
        package, _, file = recorded["pipeline"].partition("/")
        pipeline = Pipeline.from_uri(f"${package.upper()}_DIR/{file}")
        graph = pipeline.to_graph(visualization_only=True)
        for label, task in recorded["tasks"].items():
            assert label in graph.tasks
            # Dimensions that others imply are not in the table.
            assert set(task["dimensions"]) <= set(graph.tasks[label].dimensions.names)
        for subset, labels in recorded.get("subsets", {}).items():
            differ = set(labels) ^ set(pipeline.subsets[subset])
            assert [label for label in differ if not label.startswith(NOT_RECORDED)] == [], subset


@pytest.mark.soak
def test_the_graph_of_every_group_of_a_survey_has_quanta(mock: MockSurvey) -> None:
    quanta = simulate(mock)
    assert {name for name, number in quanta.items() if number == 0} == set()
