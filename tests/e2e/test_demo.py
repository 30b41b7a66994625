"""The demo as a user sees it: all quanta accounted for, all faults ended."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml
from demo_count import count_quanta
from e2e_help import Installation, file_times
from independent_counts import differences

pytestmark = pytest.mark.e2e

FAULTS = {
    ("step0", "isrForCrosstalkSources"): ("detector=2", "exposure=970613"),
    ("step1", "calibrate"): ("detector=1", "visit=970612"),
    ("step1", "characterizeImage"): ("detector=2", "visit=971020"),
}


def test_every_step_is_done_but_the_tract_with_the_algorithm_error(reduced: Installation) -> None:
    status = reduced.json("status", "demo")
    states = {(group["step"], group["group"]): group["state"] for group in status["groups"]}
    assert states.pop(("step3", "tract9814")) == "needs_review"
    assert set(states.values()) == {"done"}
    assert status["state"] == "needs_review"


def test_every_predicted_quantum_has_one_row_and_counts_agree_with_the_butler(reduced: Installation) -> None:
    groups: dict[tuple[str, str], list[Path]] = {}
    for graph in sorted(reduced.demo.glob("submissions/demo/*/*/*/bps/*.qg")):
        if graph.name != "provenance.qg":
            step, group = graph.parts[-5:-3]
            groups.setdefault((step, group), []).append(graph)
    status = reduced.json("status", "demo")
    shown = {
        (entry["step"], entry["group"]): (entry["quanta"]["expected"], entry["quanta"]["succeeded"])
        for entry in status["groups"]
        if entry["quanta"]["expected"]
    }
    counted = {}
    for name, graphs in groups.items():
        found = count_quanta(repository=reduced.demo / "repo", graphs=graphs).values()
        counted[name] = (sum(each.expected for each in found), sum(each.succeeded for each in found))
    assert shown == counted
    assert status["quanta"]["expected"] == sum(expected for expected, _ in counted.values()) > 100
    rows = reduced.query(
        "SELECT count(*), count(DISTINCT (group_id, task, data_id)) FROM quantum"
        " JOIN \"group\" g ON g.id = group_id JOIN campaign c ON c.id = g.campaign_id WHERE c.name = 'demo'"
    )
    assert rows == [(status["quanta"]["expected"],) * 2]


@pytest.mark.parametrize(
    ("step", "task", "verdict"),
    [
        ("step0", "isrForCrosstalkSources", "unknown"),
        ("step1", "calibrate", "out_of_memory"),
        ("step1", "characterizeImage", "infrastructure"),
    ],
)
def test_curable_faults_succeed_in_an_afterburner_with_every_attempt_on_record(
    reduced: Installation, step: str, task: str, verdict: str
) -> None:
    rows = reduced.query(
        "SELECT q.data_id, q.state, q.attempts FROM quantum_status q"
        " WHERE campaign = 'demo' AND step = %(step)s AND task = %(task)s AND attempts > 1",
        step=step, task=task,
    )  # fmt: skip
    assert len(rows) == 1
    data_id, state, attempts = rows[0]
    assert all(part in data_id for part in FAULTS[step, task])
    assert (state, attempts) == ("succeeded", 2)
    recorded = reduced.query(
        "SELECT s.number, a.state, a.verdict, a.requested_mb, a.signal FROM quantum_attempt a"
        " JOIN quantum q ON q.id = a.quantum_id JOIN submission s ON s.id = a.submission_id"
        ' JOIN "group" g ON g.id = q.group_id JOIN campaign c ON c.id = g.campaign_id'
        " WHERE c.name = 'demo' AND g.step = %(step)s AND q.task = %(task)s AND q.data_id = %(data_id)s"
        " ORDER BY s.number",
        step=step, task=task, data_id=data_id,
    )  # fmt: skip
    assert [(number, state) for number, state, *_ in recorded] == [(1, "failed"), (2, "succeeded")]
    assert recorded[0][2] == verdict
    first, second = recorded[0][3], recorded[1][3]
    assert second == (2 * first if verdict == "out_of_memory" else first)
    if verdict == "unknown":
        assert recorded[0][4] == 9


def test_the_memory_remedy_stands_in_the_rendered_yaml(reduced: Installation) -> None:
    first, second = (
        yaml.safe_load((reduced.demo / f"submissions/demo/step1/night20210318/00{n}/submit.yaml").read_text())
        for n in (1, 2)
    )
    assert "pipetask" not in first
    assert second["pipetask"] == {"calibrate": {"requestMemory": 4096}}
    assert second["site"]["local"]["cores"] == 1
    assert "--skip-existing-in" in second["payload"]["extraQgraphOptions"]


def test_the_algorithm_error_is_not_retried_and_blocks_only_what_needs_it(reduced: Installation) -> None:
    groups = {(entry["step"], entry["group"]): entry for entry in reduced.json("status", "demo")["groups"]}
    stuck = groups["step3", "tract9814"]
    assert stuck["submissions"] == 1
    assert "algorithm" in stuck["reason"]
    assert stuck["quanta"]["failed"] == 1
    assert stuck["quanta"]["blocked"] > 0
    failures = reduced.json("failures", "demo")["failures"]
    states = Counter((entry["group"], entry["state"], entry["verdict"]) for entry in failures)
    assert states["tract9814", "failed", "algorithm"] == 1
    assert {state for _, state, _ in states} == {"failed", "blocked"}
    assert {group for group, _, _ in states} == {"tract9814"}


def test_evidence_is_on_record_and_what_is_blocked_points_at_what_blocks_it(reduced: Installation) -> None:
    failures = reduced.json("failures", "demo")
    (stuck,) = [entry for entry in failures["failures"] if entry["state"] == "failed"]
    assert "InjectedAlgorithmError" in stuck["log_tail"]
    assert stuck["certainty"] == "declared"
    assert "AlgorithmError" in stuck["exception_bases"]
    blocked = [entry for entry in failures["failures"] if entry["state"] == "blocked"]
    assert {entry["blocked_by"] for entry in blocked} == {stuck["quantum_id"]}
    (cause,) = failures["causes"]
    assert (cause["quanta"], cause["blocked"], cause["tracts"]) == (1, len(blocked), 1)
    found = reduced.query(
        "SELECT a.certainty, count(*), count(a.log_tail) FROM quantum_attempt a"
        " WHERE a.state = 'failed' AND a.verdict IN ('out_of_memory', 'infrastructure') GROUP BY 1"
    )
    assert {certainty for certainty, *_ in found} <= {"measured", "declared", "inferred"}
    assert all(attempts == logs for _, attempts, logs in found)
    used = "SELECT count(*), count(inputs), count(cpu_seconds) FROM quantum WHERE state = 'succeeded'"
    assert len(set(*reduced.query(used))) == 1


def test_what_may_be_released_and_how_much_is_done(reduced: Installation) -> None:
    tracts = {entry["tract"]: entry for entry in reduced.json("completeness", "demo")["tracts"]}
    assert tracts[9813]["releasable"]
    assert not tracts[9814]["releasable"]
    assert "step3 needs review: deblend: algorithm x1" in tracts[9814]["why"]
    status = reduced.json("status", "demo")
    assert status["estimated"] == 0
    assert status["fraction"] == pytest.approx(
        status["quanta"]["succeeded"] / status["quanta"]["expected"], abs=1e-6
    )


def test_the_log_of_the_failed_quantum_names_its_error(reduced: Installation) -> None:
    done = reduced.run("log", "demo")
    assert done.returncode == 0, done.stderr
    assert "InjectedAlgorithmError" in done.stdout


def test_the_end_of_a_log_that_is_gone_is_on_record(reduced: Installation) -> None:
    log = Path(reduced.run("log", "demo", "--path").stdout.strip())
    aside = log.rename(log.with_suffix(".aside"))
    try:
        done = reduced.run("log", "demo")
    finally:
        aside.rename(log)
    assert done.returncode == 0
    assert "not there any more" in done.stderr
    assert done.stdout.rstrip().endswith("the fit cannot converge.")


def test_a_tick_with_nothing_to_do_writes_nothing(reduced: Installation) -> None:
    sql = "SELECT id, xmin::text, updated_at FROM quantum_row ORDER BY id"
    rows, files = reduced.query(sql), file_times(reduced.demo)
    assert reduced.run("tick", "demo").returncode == 1  # that a person is needed is said once
    done = reduced.run("tick", "demo")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert reduced.query(sql) == rows
    assert file_times(reduced.demo) == files


def test_the_demo_ends_with_its_report_whose_numbers_are_those_of_the_database(reduced: Installation) -> None:
    page = reduced.demo / "report" / "index.html"
    assert f"{page}\n" in (reduced.root / "demo.out").read_text()
    text = page.read_text()
    # The sky is drawn: the butler told where the tracts and visits lie.
    assert 'id="pic-sky-1"' in text
    assert 'id="visits"' in text
    found = reduced.json("report", "demo")
    with reduced.connected() as connection:
        assert differences(connection, found, since=None) == []
    head = found["headline"]
    assert head["expected"] > 100
    assert [(line["tract"], line["releasable"]) for line in found["tracts"]] == [(9813, True), (9814, False)]
    (cause,) = found["causes"]
    assert (cause["task"], cause["verdict"], cause["blocked"]) == ("deblend", "algorithm", head["blocked"])
    assert cause["command"] == "merian-campaign accept demo step3/tract9814"


def test_what_the_demo_ends_with_can_be_pasted_into_a_shell(reduced: Installation, tmp_path: Path) -> None:
    text = (reduced.root / "demo.out").read_text()
    lines = text.rstrip().partition("Look further\n")[2].splitlines()
    assert len(lines) == 6
    done = subprocess.run(
        ["bash", "-e"], input="\n".join(lines), cwd=tmp_path, env=reduced.environ | {"PAGER": "cat"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for piece in ("step3/tract9814", "DECam/runs/demo", "night20210318", "| algorithm |", "mine.yaml"):
        assert piece in done.stdout
    # The campaign that the last line wrote is fit for this repository.
    checked = reduced.run("validate", str(tmp_path / "mine.yaml"))
    assert checked.returncode == 0, checked.stderr


def test_the_demo_ends_with_board_verdicts_sql_and_places(reduced: Installation) -> None:
    text = (reduced.root / "demo.out").read_text()
    for piece in (
        "step3",
        "9814",
        "needs review",
        "out of memory",
        "algorithm",
        "quantum_status",
        str(reduced.demo),
    ):
        assert piece in text
