"""Drivers as Slurm jobs: names, scripts, and what the scheduler's answer says of them."""

from datetime import timedelta
from typing import Any

import pytest
from domain_help import NOW, bps, campaign, group, situation, snapshot, submission

from merian_campaign.domain.execution.liveness import Liveness
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.failures.backoff import MAX_LAUNCHES
from merian_campaign.domain.record.snapshot import SubmissionView
from merian_campaign.domain.slurm.slurm_jobs import QueueSnapshot, SlurmJob
from merian_campaign.domain.spec.site import DriverOptions
from merian_campaign.domain.states import SubmissionState
from merian_campaign.domain.tick.decide import decide
from merian_campaign.domain.tick.decisions import CallOff, Decision, Follow, GiveUp, Launch
from merian_campaign.domain.tick.driver_jobs import (
    OUTCOME_GRACE,
    driver_job_name,
    look,
    of_submission,
    script,
)

NAME = "night.step1-0123456789-driver0"
DRIVER = ProcessIdentity(host="n1", pid=7, pid_start=8)
LONG_AGO = NOW - timedelta(days=3)


def job(state: str, job_id: str = "12", **changes: Any) -> SlurmJob:
    return SlurmJob(**({"job_id": job_id, "name": NAME, "state": state} | changes))


def launched(**changes: Any) -> SubmissionView:
    return submission(**({"driver_job": NAME, "launched_at": LONG_AGO} | changes))


def claimed(**changes: Any) -> SubmissionView:
    values = {"driver_job": NAME, "driver": DRIVER, "epoch": 1, "state": SubmissionState.RUNNING}
    return submission(**(values | changes))


def seen(entry: SubmissionView, *jobs: SlurmJob, **changes: Any) -> Liveness:
    return look(entry, sight=QueueSnapshot(**({"at": NOW, "jobs": jobs} | changes)), now=NOW).liveness


@pytest.mark.parametrize(
    ("entry", "jobs", "expected"),
    [
        (launched(), ["PENDING"], Liveness.QUEUED),
        (launched(), ["RUNNING"], Liveness.QUEUED),
        (launched(), [], Liveness.UNCLAIMED),
        (launched(), ["FAILED"], Liveness.UNCLAIMED),
        (launched(), ["FAILED", "CANCELLED", "FAILED"], Liveness.UNCLAIMED),
        (launched(), ["FAILED", "FAILED", "FAILED", "PENDING"], Liveness.QUEUED),
        (claimed(), ["RUNNING"], Liveness.ALIVE),
        (claimed(), ["CANCELLED"], Liveness.DEAD),
        # A word that is not known is neither: it is asked again.
        (claimed(), ["BRAND_NEW"], Liveness.UNSEEN),
        (claimed(), ["UPDATE_DB"], Liveness.UNSEEN),
        (launched(), ["BRAND_NEW"], Liveness.UNSEEN),
        (launched(), ["FAILED", "FAILED", "FAILED", "BRAND_NEW"], Liveness.UNSEEN),
        (claimed(), ["BRAND_NEW", "RUNNING"], Liveness.ALIVE),
        (claimed(), ["SPECIAL_EXIT"], Liveness.ALIVE),
        (claimed(), ["COMPLETED"], Liveness.DEAD),
        (claimed(), [], Liveness.DEAD),
        (claimed(lease_expires_at=NOW + timedelta(seconds=9)), [], Liveness.ALIVE),
        (claimed(lease_expires_at=NOW + timedelta(seconds=9)), ["NODE_FAIL"], Liveness.DEAD),
        (claimed(launched_at=LONG_AGO), ["PENDING"], Liveness.QUEUED),
    ],
)
def test_what_the_queue_says_of_a_driver(entry: SubmissionView, jobs: list[str], expected: Liveness) -> None:
    assert seen(entry, *(job(state, str(20 + number)) for number, state in enumerate(jobs))) is expected


@pytest.mark.parametrize(
    ("state", "ago", "expected"),
    [
        ("COMPLETED", timedelta(0), Liveness.ALIVE),
        ("COMPLETED", -timedelta(seconds=20), Liveness.ALIVE),  # clocks differ
        ("COMPLETED", OUTCOME_GRACE, Liveness.DEAD),
        ("CANCELLED", timedelta(0), Liveness.DEAD),
        ("FAILED", timedelta(0), Liveness.DEAD),
    ],
)
def test_the_outcome_of_a_driver_that_ended_well_may_be_seen_a_little_later(
    state: str, ago: timedelta, expected: Liveness
) -> None:
    before = job("CANCELLED", "11", ended=NOW)
    assert seen(claimed(), before, job(state, ended=NOW - ago)) is expected
    # A requeued one finds that its first run had claimed the submission, and says nothing.
    assert seen(claimed(), job(state, ended=NOW - ago, restarts=1)) is Liveness.DEAD


@pytest.mark.parametrize("entry", [launched(), claimed(), claimed(lease_expires_at=LONG_AGO)])
def test_a_scheduler_that_does_not_answer_decides_nothing(entry: SubmissionView) -> None:
    assert seen(entry, unreachable="squeue: timed out") is Liveness.UNSEEN


def test_an_answer_from_before_the_launch_says_nothing() -> None:
    assert seen(launched(launched_at=NOW), at=NOW - timedelta(seconds=1)) is Liveness.UNSEEN


def test_jobs_of_others_are_not_its_driver() -> None:
    assert seen(launched(), job("RUNNING", name="other")) is Liveness.UNCLAIMED


def test_jobs_of_an_earlier_submission_in_the_same_directory_are_not_its_own() -> None:
    entry = launched()
    old = [job("FAILED", str(number), submitted=entry.created_at - timedelta(hours=1)) for number in range(5)]
    assert seen(entry, *old) is Liveness.UNCLAIMED
    assert of_submission(old, submission=entry, blocks=(), now=NOW) == ()
    new = job("PENDING", submitted=entry.created_at + timedelta(seconds=1))
    assert seen(entry, *old, new) is Liveness.QUEUED
    assert of_submission([*old, new], submission=entry, blocks=(), now=NOW) == ((new, "driver"),)


def decided(entry: SubmissionView, liveness: Liveness, words: str = "") -> tuple[Decision, ...]:
    from dataclasses import replace  # noqa: PLC0415

    spec = campaign(bps("step1"))
    known = replace(situation({entry.id: liveness}), words={entry.id: words})
    return decide(spec, snapshot(group("step1", submissions=(entry,))), known)


def test_a_job_in_the_queue_is_never_joined_by_a_second_however_long_it_waits() -> None:
    (found,) = decided(launched(), Liveness.QUEUED)
    assert isinstance(found, Follow)
    (found,) = decided(launched(), Liveness.UNSEEN)
    assert isinstance(found, Follow)


def test_a_driver_whose_job_is_gone_is_succeeded_and_the_reason_names_it() -> None:
    (found,) = decided(claimed(), Liveness.DEAD, "Slurm job 12 lost its node (NODE_FAIL)")
    assert isinstance(found, Launch)
    assert found.reason == "its driver died; another one takes over: Slurm job 12 lost its node (NODE_FAIL)"


def test_driver_jobs_that_never_begin_are_given_up() -> None:
    entry = launched(launches=MAX_LAUNCHES)
    (found,) = decided(entry, Liveness.UNCLAIMED, "Slurm job 12 failed")
    assert isinstance(found, GiveUp)
    assert found.reason.startswith("9 drivers were started and none has claimed it")
    assert "Slurm job 12 failed" in found.reason
    (found,) = decided(entry, Liveness.QUEUED)
    assert isinstance(found, Follow), "the last one may still begin"


@pytest.mark.parametrize("liveness", [Liveness.QUEUED, Liveness.UNCLAIMED])
def test_what_was_cancelled_in_the_queue_needs_no_driver_to_say_so(liveness: Liveness) -> None:
    (found,) = decided(launched(cancel_requested=True), liveness)
    assert isinstance(found, CallOff)
    assert not [d for d in decided(claimed(cancel_requested=True), Liveness.DEAD) if isinstance(d, CallOff)]


def test_names_are_unique_to_directory_and_epoch() -> None:
    def name(directory: str, epoch: int = 0) -> str:
        return driver_job_name(readable="night/step 1", directory=directory, epoch=epoch)

    assert name("/s/1").startswith("night_step_1-")
    assert len({name("/s/1"), name("/s/2"), name("/s/1", 1)}) == 3


def test_roles_of_a_submissions_jobs() -> None:
    entry = claimed()
    jobs = [
        job("RUNNING"),
        job("FAILED", "11", name=NAME[:-1] + "1"),
        job("RUNNING", "13", name="blocks"),
        job("RUNNING", "14", name="lost", comment=f"merian-campaign:{entry.directory}/bps"),
        job("RUNNING", "15", name="else"),
    ]
    other = job("FAILED", "16", name=NAME[:-1] + "1", comment=f"merian-campaign:{entry.directory}")
    found = of_submission([*jobs, other], submission=entry, blocks={"blocks"}, now=NOW)
    assert {(entry.job_id, role) for entry, role in found} == {
        ("12", "driver"), ("13", "block"), ("14", "block"), ("16", "driver"),
    }  # fmt: skip


def test_the_script_says_what_it_asks_for() -> None:
    options = DriverOptions(
        account="lsst", mem_mb=2048, scheduler_options="#SBATCH --exclude=n9", prelude="module load x"
    )
    text = script(
        name=NAME,
        directory="/s/a b",
        log="/s/a b/driver.log",
        options=options,
        command=["/bin/x y", "drive", "7"],
    )
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert {
        f"#SBATCH --job-name={NAME}", "#SBATCH --account=lsst", "#SBATCH --mem=2048M", "#SBATCH --exclude=n9",
        "#SBATCH --time=1-00:00:00", "#SBATCH --no-requeue", '#SBATCH --comment="merian-campaign:/s/a b"',
        '#SBATCH --output="/s/a b/driver.log"',
    } <= set(lines)  # fmt: skip
    assert not any("--partition" in line for line in lines)
    assert lines[-1] == "exec '/bin/x y' drive 7"
    assert lines.index("module load x") < len(lines) - 1
