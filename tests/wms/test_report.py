"""How a submission ended, as ``bps report`` and ``bps status`` tell it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import wms_support as support
from lsst.ctrl.bps import WmsStates
from wms_support import Rendering

from merian_campaign.domain.execution.journal import (
    JobVerdict,
    JournalEvent,
    JournalRecord,
    format_line,
    parse_lines,
)
from merian_campaign.wms.report import overall, stage_states

S = WmsStates


def stage(job: str, verdict: JobVerdict | None = None, **changes: Any) -> JournalRecord:
    return JournalRecord(event=JournalEvent.STAGE, job=job, label=job, verdict=verdict, **changes)


INIT = stage("pipetaskInit", JobVerdict.OK, exit=0)


def closed(reason: str) -> JournalRecord:
    return JournalRecord(event=JournalEvent.CLOSED, evidence={"reason": reason})


@pytest.mark.parametrize(
    ("records", "payload", "how", "expected"),
    [
        ([], S.READY, {}, (S.READY, S.UNREADY)),
        ([stage("pipetaskInit")], S.READY, {"living": True}, (S.RUNNING, S.UNREADY)),
        ([stage("pipetaskInit")], S.READY, {}, (S.FAILED, S.PRUNED)),  # killed
        ([stage("pipetaskInit")], S.READY, {"cancelled": True}, (S.DELETED, S.UNREADY)),
        ([stage("pipetaskInit", JobVerdict.FAILED)], S.READY, {}, (S.FAILED, S.PRUNED)),
        ([INIT], S.RUNNING, {"living": True}, (S.SUCCEEDED, S.UNREADY)),
        ([INIT, stage("finalJob")], S.SUCCEEDED, {"living": True}, (S.SUCCEEDED, S.RUNNING)),
        ([INIT, stage("finalJob")], S.SUCCEEDED, {}, (S.SUCCEEDED, S.FAILED)),
        ([INIT, stage("finalJob", JobVerdict.FAILED)], S.SUCCEEDED, {}, (S.SUCCEEDED, S.FAILED)),
        ([INIT, stage("finalJob", JobVerdict.CANCELLED)], S.SUCCEEDED, {}, (S.SUCCEEDED, S.DELETED)),
        ([INIT, stage("finalJob", JobVerdict.OK)], S.SUCCEEDED, {}, (S.SUCCEEDED, S.SUCCEEDED)),
        # A restart begins with what is left; the last word counts.
        (
            [INIT, stage("finalJob", JobVerdict.FAILED), stage("finalJob", JobVerdict.OK)],
            S.SUCCEEDED,
            {},
            (S.SUCCEEDED, S.SUCCEEDED),
        ),
        # Journals without lines on stages.
        ([closed("finished")], S.FAILED, {}, (S.SUCCEEDED,) * 2),
        ([closed("failed")], S.FAILED, {}, (S.SUCCEEDED, S.UNREADY)),
    ],
)  # fmt: skip
def test_states_of_stages(
    records: list[JournalRecord],
    payload: WmsStates,
    how: dict[str, bool],
    expected: tuple[WmsStates, WmsStates],
) -> None:
    asked = {"living": False, "cancelled": False} | how
    found = stage_states(
        first=["pipetaskInit"],
        final="finalJob",
        records=parse_lines("".join(map(format_line, records))),
        payload={"a": payload},
        **asked,
    )
    assert (found["pipetaskInit"], found["finalJob"]) == expected
    whole = overall([payload, *found.values()], **asked)
    if asked["living"]:
        assert whole is S.RUNNING
    else:
        assert (whole is S.SUCCEEDED) is (payload is S.SUCCEEDED and set(expected) == {S.SUCCEEDED})
        assert (whole is S.DELETED) <= asked["cancelled"]


def bps(verb: str, where: Path) -> tuple[int, str]:
    done = support.bps(verb, where)
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


def rows(text: str) -> dict[str, str]:
    """Return what is on the line of each label."""
    words = [line.split() for line in text.splitlines()]
    return {line[0]: " ".join(line[1:]) for line in words if len(line) > 1}


@pytest.mark.e2e
@pytest.mark.parametrize("broken", ["pipetaskInit", "finalJob"])
def test_a_failed_stage_is_no_success(repo: Path, folder: Path, broken: str) -> None:
    ending = {
        "pipetaskInit": {"pipetask": {"pipetaskInit": {"runQuantumCommand": "exit 3"}}},
        "finalJob": {"finalJob": {"command1": "exit 3"}},
    }
    choices = Rendering(tasks={"first": {}}, query="instrument='Toy' AND detector = 0", extra=ending[broken])
    submission = support.render(folder, repo=repo, name=f"broken-{broken}", choices=choices)
    done = support.submit(submission)
    assert done.returncode == 11, done.stderr[-3000:]
    assert bps("status", submission.submit)[0] == S.FAILED.value
    code, text = bps("report", submission.submit)
    assert code == 0
    found = rows(text)
    assert {"pipetaskInit", "first", "finalJob", "TOTAL"} <= found.keys()
    stages = [r for r in submission.records() if r.event == JournalEvent.STAGE and r.verdict is not None]
    assert [(r.job, r.verdict) for r in stages][-1] == (broken, "failed")
    assert stages[-1].exit == 3
    ran = [r for r in submission.records() if r.event == JournalEvent.STARTED]
    assert bool(ran) is (broken == "finalJob")


@pytest.mark.e2e
def test_a_directory_that_is_no_submission_gives_one_line(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "parsl_workflow.pickle").write_text("nonsense")
    (tmp_path / "empty").mkdir()
    for name in ("empty", "damaged"):
        code, text = bps("report", tmp_path / name)
        assert code == 1
        said = [line for line in text.splitlines() if "is no submit directory" in line]
        assert said == text.splitlines()[-1:]
    code, text = bps("status", tmp_path / "missing")
    assert code == S.UNKNOWN.value
    assert f"{tmp_path / 'missing'} is no submit directory" in text
