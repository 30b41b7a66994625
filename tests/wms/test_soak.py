"""Kill -9 at random: driver, interchange, pool, worker, forkserver, supervisor, child; a tick after each."""

import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import wms_support as support
from wms_support import Rendering

from merian_campaign.domain.execution.journal import JournalEvent

pytestmark = pytest.mark.e2e


def family(submission: support.Submission, driver: int) -> list[psutil.Process]:
    """Return every process of a submission: marked ones, the driver's tree, and theirs."""
    found: dict[int, psutil.Process] = {p.pid: p for p in support.marked(str(submission.submit))}
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(driver).children(recursive=True):
            found[process.pid] = process
    return list(found.values())


def tick(submission: support.Submission, *, resume: bool) -> support.subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "merian_campaign.wms.submit"]
    words += ["--restart", str(submission.submit)] if resume else [str(submission.config)]
    log = (submission.folder / "driver.log").open("ab")
    with log:
        return support.subprocess.Popen(
            words,
            cwd=submission.folder,
            env=support.environment(MERIAN_CAMPAIGN_SUBMISSION=str(submission.submit)),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def chaos(folder: Path, *, detectors: int, rounds: int, seed: int) -> None:
    dice = random.Random(seed)
    repo = support.make_repo(folder / "repo", detectors=detectors)
    tasks: dict[str, dict[str, float]] = {label: {"seconds": 0.05} for label in ("first", "second", "third")}
    submission = support.render(folder, repo=repo, name="chaos", choices=Rendering(tasks=tasks))
    for number in range(rounds):
        resume = (submission.submit / "parsl_workflow.pickle").exists()
        before = sum(r.event == JournalEvent.STARTED for r in submission.records())
        driver = tick(submission, resume=resume)
        few = dice.randrange(1, 8)
        begun = lambda before=before, few=few, driver=driver: (  # noqa: E731
            driver.poll() is not None
            or sum(r.event == JournalEvent.STARTED for r in submission.records()) >= before + few
        )
        support.wait_for(begun, seconds=240, what="quanta to start")
        if driver.poll() is not None:
            break
        living = family(submission, driver.pid)
        victims = [psutil.Process(driver.pid)] if number % 3 == 0 else [dice.choice(living)]
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        time.sleep(dice.random())  # the moment of the next tick is part of the dice
        if number % 3:
            with suppress(ProcessLookupError):
                os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    for _ in range(3):
        final = tick(submission, resume=(submission.submit / "parsl_workflow.pickle").exists())
        if final.wait(300) == 0:
            break
    assert final.returncode == 0, (folder / "driver.log").read_text()[-3000:]
    support.wait_for(lambda: family(submission, final.pid) == [], seconds=60, what="all to be gone")
    succeeded = [r.job for r in submission.ended() if r.verdict == "ok"]
    assert len(succeeded) == len(set(succeeded))
    for label, value in (("first", 1), ("second", 2), ("third", 3)):
        found = support.datasets(submission, label)
        assert {n: item["value"] for n, item in found.items()} == dict.fromkeys(range(detectors), value)


@pytest.mark.soak  # each kind of kill by itself, and what a restart makes of it, is in test_stopping.py
def test_a_few_rounds(tmp_path: Path) -> None:
    chaos(tmp_path, detectors=12, rounds=3, seed=7)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_twenty_rounds(tmp_path: Path) -> None:
    chaos(tmp_path, detectors=67, rounds=20, seed=20)
