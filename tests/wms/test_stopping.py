"""Stopping in order, and being killed: what is left, what starts afterwards, what a restart makes of it."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import wms_support as support
from wms_support import Rendering

from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord

pytestmark = pytest.mark.e2e

NOTICED = 4.0
"""Seconds after which nothing starts for a driver that was killed: one by design, more on a busy machine."""

LONG = Rendering(
    tasks={"first": {"misbehave": dict.fromkeys(range(6), "sleep:600")}, "second": {}},
    query="instrument='Toy' AND detector < 6",
)


def last_of_driver(records: Sequence[JournalRecord]) -> JournalEvent:
    """Return whether a driver has closed the journal, or left it open."""
    of_driver = {JournalEvent.OPENED, JournalEvent.CLOSED}
    return next(record.event for record in reversed(records) if record.event in of_driver)


def started_first(submission: support.Submission, count: int) -> None:
    support.wait_for(
        lambda: sum(r.event == JournalEvent.STARTED for r in submission.records()) >= count, what="a start"
    )


def restart(submission: support.Submission) -> int:
    words = (sys.executable, "-m", "merian_campaign.wms.submit", "--restart", str(submission.submit))
    done = support.run(*words, cwd="/", MERIAN_CAMPAIGN_SUBMISSION=str(submission.submit))
    return done.returncode


def gone(submission: support.Submission) -> bool:
    return support.marked(str(submission.submit)) == []


@pytest.mark.parametrize("way", ["SIGTERM", "SIGINT", "cancel"])
def test_a_stop_waits_for_nothing_that_runs_and_leaves_nothing(repo: Path, folder: Path, way: str) -> None:
    submission = support.render(folder, repo=repo, name=f"stop-{way.lower()}", choices=LONG)
    with support.started(submission) as driver:
        started_first(submission, 2)
        if way == "cancel":
            options = ["--wms-service-class", support.OURS, "--id", str(submission.submit)]
            done = support.run("bps", "cancel", *options, cwd=folder)
            assert "Successfully canceled" in done.stdout
        else:
            driver.send_signal(getattr(signal, way))
        # What runs sleeps for longer than this.
        assert driver.wait(400) == 128 + (signal.SIGINT if way == "SIGINT" else signal.SIGTERM)
        support.wait_for(lambda: gone(submission), what="every process to be gone")
    records = submission.records()
    assert last_of_driver(records) == JournalEvent.CLOSED
    if way == "cancel":
        assert support.bps("status", submission.submit).returncode == 16  # DELETED
    assert {r.verdict for r in submission.ended()} <= {"cancelled", "ok"}
    assert len([r for r in submission.ended() if r.verdict == "cancelled"]) == 2


def test_a_killed_driver_is_noticed_and_its_submission_resumed(repo: Path, folder: Path) -> None:
    flag = folder / "flag"
    choices = Rendering(
        # One worker waits; the other would be busy for a while longer than it takes to notice.
        tasks={"first": {"misbehave": {0: f"wait:{flag}"}, "seconds": 0.6}, "second": {"seconds": 0.6}}
    )
    submission = support.render(folder, repo=repo, name="killed", choices=choices)
    with support.started(submission) as driver:
        started_first(submission, 4)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        killed = time.time()
        # The quantum that runs may finish; everything else of the dead driver ends by itself after it.
        support.wait_for(lambda: time.time() > killed + NOTICED, what="the time to notice")
        flag.touch()
        support.wait_for(lambda: gone(submission), what="orphans to end by themselves")
    starts = [r for r in submission.records() if r.event == JournalEvent.STARTED]
    late = [r for r in starts if r.time is not None and r.time.timestamp() > killed + NOTICED]
    assert late == []
    assert len(starts) < 20
    assert last_of_driver(submission.records()) == JournalEvent.OPENED
    assert restart(submission) == 0
    _complete(submission, detectors=10)


def _complete(submission: support.Submission, *, detectors: int) -> None:
    """Assert that every job succeeded exactly once, and that its outputs are right."""
    succeeded = [r.job for r in submission.ended() if r.verdict == "ok"]
    assert len(succeeded) == len(set(succeeded))
    last = submission.records()[-1]
    assert last.event == JournalEvent.CLOSED
    for label, value in (("first", 1), ("second", 2)):
        found = support.datasets(submission, label)
        assert {n: item["value"] for n, item in found.items()} == dict.fromkeys(range(detectors), value)


def test_a_restart_reaps_what_runs_before_it_goes_on(repo: Path, folder: Path) -> None:
    flag = folder / "flag"
    behaviour = {0: f"wait:{flag}", 1: f"wait:{flag}"}
    choices = Rendering(tasks={"first": {"misbehave": behaviour}, "second": {}})
    submission = support.render(folder, repo=repo, name="reaped", choices=choices)
    with support.started(submission) as driver:
        started_first(submission, 2)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        running = {r.pid for r in submission.records() if r.event == JournalEvent.STARTED}
        assert any(psutil.pid_exists(pid) for pid in running if pid)
        flag.touch()
        assert restart(submission) == 0
        assert gone(submission)
    _complete(submission, detectors=10)


@pytest.mark.parametrize("victim", ["forkserver", "worker", "child", "supervisor"])
def test_a_killed_helper_costs_a_retry(repo: Path, folder: Path, victim: str) -> None:
    flag = folder / "flag"
    choices = Rendering(
        tasks={"first": {"misbehave": {0: f"wait:{flag}"}}, "second": {}},
        query="instrument='Toy' AND detector < 3",
    )
    submission = support.render(folder, repo=repo, name=f"helper-{victim}", choices=choices)
    with support.started(submission) as driver:
        started_first(submission, 3)
        waiting = next(
            r for r in submission.records() if r.event == JournalEvent.STARTED and r.job.endswith("first_0")
        )
        child = psutil.Process(waiting.pid)
        forkserver = child.parent()
        assert forkserver is not None
        supervisor = forkserver.parent()
        assert supervisor is not None
        chosen = {"forkserver": forkserver, "child": child, "supervisor": supervisor}
        (chosen.get(victim) or _worker(forkserver)).kill()
        flag.touch()
        status = driver.wait(240)
    if victim == "child":
        # Killed by a signal nobody here sent: the payload's failure, final.
        assert status == 10
        assert restart(submission) == 0
    elif status != 0:
        # On the local site Parsl's own programs hang on the forkserver: the submission ends, and resumes.
        assert status == 11
        assert restart(submission) == 0
    _complete(submission, detectors=3)


def _worker(forkserver: psutil.Process) -> psutil.Process:
    """Return a worker of Parsl's pool, which on the local site descends from the forkserver."""
    for process in forkserver.children(recursive=True):
        with suppress(psutil.Error):
            if any("worker_" in Path(file.path).name for file in process.open_files()):
                return process
    raise AssertionError("no worker found")
