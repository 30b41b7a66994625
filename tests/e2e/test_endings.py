"""One quantum, one truth: after every ending the database says what the middleware's own reports say.

How their words map onto ours, over all submissions of a group (a later one's word counts, a success stays):

=============================  =========================================  ==================================
here                           ``butler provenance-report``               ``pipetask report``
=============================  =========================================  ==================================
succeeded                      Successful, Aborted success                successful
failed                         Failed, Aborted                            failed; unknown where its process
                                                                          left no log, or was held back by
                                                                          the last submission
blocked                        Blocked                                    blocked; unknown behind an unknown
unknown, without attempts      Failed without a log, of what never began  unknown
=============================  =========================================  ==================================

Sources: `lsst.pipe.base.QuantumAttemptStatus`, whose FAILED needs a log in its own words, but which the
aggregator gives to everything that ought to have run and has no metadata once the run is over; and
`lsst.pipe.base.quantum_provenance_graph.QuantumRunStatus`, which knows a failure by its log only.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from demo_repository import copied_repository
from e2e_help import BIN, CHECKOUT, Installation

from merian_campaign.middleware.bps_run import cluster_cycle
from merian_campaign.wms import zipfix

pytestmark = pytest.mark.e2e

TASKS = Path(__file__).with_name("endings")
CAMPAIGN = """\
campaign: {name}
butler: {folder}/repo
work_dir: {folder}/submissions
instrument: DECam
site: {checkout}/site/local.yaml
include: [{checkout}/bps_configs/base.yaml, {folder}/{name}.bps.yaml]
collections: {{output: u/{name}, inputs: [DECam/raw/all]}}
environment: {{PYTHONPATH: {tasks}}}
afterburner: {{max_attempts: 2, max_submissions: 3}}
steps:
  - name: one
    pipeline: {folder}/{name}.pipeline.yaml
    scope: exposure
    where: {where}
"""
PIPELINE = """\
description: endings
tasks:
  raising: {{class: case_tasks.RaisingTask, config: {{plain: {plain}}}}}
  after: case_tasks.AfterTask
  gather: case_tasks.GatherTask
"""
CLUSTERS = """\
clusterAlgorithm: lsst.ctrl.bps.quantum_clustering_funcs.dimension_clustering
cluster: {both: {pipetasks: "raising,gather", dimensions: exposure}}
"""
EVERYTHING = "exposure.observation_type = 'science' AND detector IN (1, 2)"


@pytest.fixture(scope="module")
def folder(installation: Installation) -> Path:
    made = installation.root / "endings"
    copied_repository(made)
    return made


def run(
    installation: Installation, folder: Path, *, name: str, where: str, plain: bool, bps: str, more: str = ""
) -> list[Any]:
    """Run a campaign of one group until a person is needed; return its submissions."""
    (folder / f"{name}.pipeline.yaml").write_text(PIPELINE.format(plain=str(plain).lower()) + more)
    (folder / f"{name}.bps.yaml").write_text(bps)
    file = folder / f"{name}.yaml"
    file.write_text(
        CAMPAIGN.format(name=name, folder=folder, checkout=CHECKOUT, tasks=TASKS, where=f'"{where}"')
    )
    applied = installation.run("apply", str(file))
    assert applied.returncode == 0, applied.stderr
    done = installation.run("run", name)
    assert done.returncode == 3, done.stdout + done.stderr
    found: list[Any] = installation.json("show", name, "one")["submissions"]
    return found


def quanta(installation: Installation, name: str) -> dict[tuple[str, str], tuple[Any, ...]]:
    rows = installation.query(
        """SELECT q.task, q.data_id, q.state, q.attempts, q.verdict, q.exception, q.exception_message
           FROM quantum_status q WHERE q.campaign = %(name)s""",
        name=name,
    )
    return {(task, data_id): tuple(rest) for task, data_id, *rest in rows}


def middleware(folder: Path, *words: str | Path) -> str:
    compat = Path(zipfix.__file__).parent / "compat"
    done = subprocess.run(
        [str(BIN / str(words[0])), *map(str, words[1:])],
        env={"PATH": f"{BIN}:/usr/bin:/bin", "PYTHONPATH": f"{compat}:{TASKS}", "HOME": str(folder)},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_provenance(folder: Path, submissions: list[Path]) -> Counter[tuple[str, str]]:
    """Count quanta by task and state as ``butler provenance-report`` of all submissions has them."""
    unlike: dict[tuple[str, str], str] = {}
    expected: dict[str, int] = {}
    for submission in submissions:
        report = folder / "report.json"
        told = json.loads(
            middleware(
                folder, "butler", "provenance-report", submission / "bps" / "provenance.qg",
                "--format", "json", "--state", "BLOCKED", "--status-report", report,
            )
        )  # fmt: skip
        seen = {
            (task, json.dumps(each["data_id"], sort_keys=True)): state
            for task, states in json.loads(report.read_text()).items()
            for state, kinds in states.items()
            for entries in kinds.values()
            for each in entries
        }
        for row in told["tasks"]:
            expected.setdefault(row["Task"], row["EXPECTED"])
            assert row["Unknown"] == row["Aborted"] == 0
        # What an earlier submission left open is all that a later one has in its graph.
        assert not unlike or seen.keys() <= unlike.keys()
        unlike = seen
    counts = Counter((task, state.lower()) for (task, _), state in unlike.items())
    for task, number in expected.items():
        counts[task, "succeeded"] = number - sum(n for (other, _), n in counts.items() if other == task)
    return +counts


def test_the_database_agrees_with_the_reports_of_the_middleware(
    installation: Installation, folder: Path
) -> None:
    shown = run(installation, folder, name="endings", where=EVERYTHING, plain=False, bps="{}\n")
    found = quanta(installation, "endings")
    ours = Counter((task, row[0]) for (task, _), row in found.items())
    assert ours == {
        ("raising", "succeeded"): 4, ("raising", "failed"): 4,
        ("after", "succeeded"): 4, ("after", "blocked"): 4,
        ("gather", "succeeded"): 1, ("gather", "blocked"): 3,
    }  # fmt: skip
    submissions = [Path(each["directory"]) for each in shown]
    assert by_provenance(folder, submissions) == ours
    _agree_with_pipetask(folder, submissions, found=found)

    assert [row for row in found.values() if row[0] == "succeeded" and row[1] != 1] == []
    assert {row[1] for row in found.values() if row[0] == "blocked"} == {0}
    failed = {
        data_id.partition(",instrument")[0]: row for (_, data_id), row in found.items() if row[0] == "failed"
    }
    how = {data_id: (row[1], row[2], row[3]) for data_id, row in failed.items()}
    assert how == {
        "detector=1,exposure=970613": (1, "algorithm", "case_tasks.Alg"),
        "detector=1,exposure=971020": (1, "algorithm", "case_tasks.Alg"),
        "detector=2,exposure=971020": (2, "unknown", None),
        "detector=2,exposure=971021": (2, "unknown", None),
    }
    assert failed["detector=1,exposure=971020"][4] == r"[band] cannot find\x00 \x1b[31many objects"
    kept = installation.query(
        "SELECT DISTINCT exception_bases FROM quantum_attempt WHERE exception_type = 'case_tasks.Alg'"
    )
    assert [bases.split()[:2] for (bases,) in kept] == [["case_tasks.Alg", "lsst.pipe.base.AlgorithmError"]]


def _agree_with_pipetask(
    folder: Path, submissions: list[Path], *, found: dict[tuple[str, str], tuple[Any, ...]]
) -> None:
    graphs = [
        next(path for path in (submission / "bps").glob("*.qg") if path.name != "provenance.qg")
        for submission in submissions
    ]
    for graphs_of in (graphs[:1], graphs):
        full = folder / "full.json"
        middleware(
            folder, "pipetask", "report", folder / "repo", *graphs_of,
            "--force-v2", "--full-output-filename", full,
        )  # fmt: skip
        for task, told in json.loads(full.read_text())["tasks"].items():
            rows = [row for (other, _), row in found.items() if other == task]
            ours = Counter(row[0] for row in rows)
            assert told["n_successful"] == ours["succeeded"]
            assert (
                told["n_failed"] + told["n_blocked"] + told["n_unknown"] == ours["failed"] + ours["blocked"]
            )
            assert told["n_wonky"] == 0
            if len(graphs_of) == 1:
                with_log = [row for row in rows if row[0] == "failed" and row[3] is not None]
                assert told["n_failed"] == len(with_log)


def test_a_workflow_that_cannot_be_built_ran_nothing_and_names_its_clusters(
    installation: Installation, folder: Path
) -> None:
    where = "exposure = 970612 AND detector IN (1, 2)"
    shown = run(installation, folder, name="cycle", where=where, plain=True, bps=CLUSTERS)
    (only,) = shown  # another try gives the same
    assert only["outcome"] == "failed"
    # Its driver has looked: not even a graph is built.
    assert only["reason"].startswith(
        "preflight: cluster: BPS cannot put these in order: both -> after -> both"
    )
    assert quanta(installation, "cycle") == {}
    assert attempts(installation, "cycle") == 0


def test_what_bps_says_of_a_cycle_is_put_into_words() -> None:
    """Where no pipeline could be looked at before; the edges are those of ctrl_bps's own message."""
    edges = "[('both', 'after'), ('after', 'both')]"
    said = f"ERROR: Found cycle when making clusters: {edges}\nRuntimeError: Cycle in workflow graph"
    assert cluster_cycle(said).startswith(
        "both -> after -> both: these clusters (or tasks) wait for each other"
    )
    assert cluster_cycle("RuntimeError: something else") == ""


def attempts(installation: Installation, name: str) -> int:
    ((number,),) = installation.query(
        """SELECT count(*) FROM quantum_attempt a JOIN quantum q ON q.id = a.quantum_id
           JOIN "group" g ON g.id = q.group_id JOIN campaign c ON c.id = g.campaign_id
           WHERE c.name = %(name)s""",
        name=name,
    )
    return int(number)


def test_an_initialization_that_fails_ran_nothing_and_says_why(
    installation: Installation, folder: Path
) -> None:
    where = "exposure = 970612 AND detector IN (1, 2)"
    loading = "  loading: case_tasks.LoadingTask\n"
    shown = run(installation, folder, name="loading", where=where, plain=True, bps="{}\n", more=loading)
    assert {each["outcome"] for each in shown} == {"failed"}
    for each in shown:
        assert "the model [weights.pt] is not there" in each["reason"]
    found = quanta(installation, "loading")
    # What stands behind a quantum that never ran is blocked.
    assert {(state, tries) for state, tries, *_ in found.values()} == {("unknown", 0), ("blocked", 0)}
    assert {row[0] for (task, _), row in found.items() if task == "raising"} == {"unknown"}
    assert attempts(installation, "loading") == 0
