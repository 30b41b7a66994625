"""What the machine ran out of is waited for; what a clock that was ahead has written holds nothing up."""

from __future__ import annotations

import errno
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from domain_help import (
    NOW,
    action,
    bps,
    campaign,
    document,
    finished,
    group,
    night,
    open_quanta,
    seen,
    situation,
    snapshot,
    submission,
)

from merian_campaign.domain.clock_skew import LEASE, holds
from merian_campaign.domain.errors import BadInputError, BusyError, RefusedRowsError, UnavailableError
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.execution.liveness import Liveness
from merian_campaign.domain.failures.backoff import MAX_STARVED, next_try
from merian_campaign.domain.failures.fault_attribution import (
    advised,
    alone,
    failure_words,
    is_of_the_machine,
    ran_out,
    words_of,
)
from merian_campaign.domain.readiness.overlap_refresh import basis, refresh_due
from merian_campaign.domain.record.applied_spec import applied_spec
from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.domain.slurm.slurm_jobs import QueueSnapshot, SlurmJob
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.states import GroupState, SubmissionOutcome, SubmissionState
from merian_campaign.domain.tick.decide import MAX_EPOCHS, decide
from merian_campaign.domain.tick.decisions import Follow, GiveUp, Launch, MoveGroup, SetAside, Submit
from merian_campaign.domain.tick.driver_jobs import look
from merian_campaign.domain.tick.group_outcome import group_outcome

SPEC = campaign(bps("step1"))
FULL = "the driver failed: OSError: /data/x: No space left on device; free space"
FAILED = SubmissionOutcome.FAILED
AHEAD = NOW + timedelta(days=2)


def at(moment: datetime, **changes: Any) -> Any:
    return replace(situation(**changes), now=moment)


def tried(*reasons: str, ended: datetime = NOW, spec: CampaignSpec = SPEC) -> GroupView:
    """A group whose submissions failed for these reasons, the last one now."""
    (step,) = spec.steps
    entries = tuple(
        finished(number, FAILED, reason=reason, finished_at=ended)
        for number, reason in enumerate(reasons, start=1)
    )
    return group(step.name, state=GroupState.RUNNING, submissions=entries)


# -- full disks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SPEC, campaign(action("link", max_submissions=2))], ids=["bps", "action"])
def test_a_disk_that_is_full_for_an_hour_heals_by_itself(spec: CampaignSpec) -> None:
    """Ticks every minute on a full disk: few submissions, none gives up, and the next after it has room."""
    clock, made = NOW, 0
    entry = group(spec.steps[0].name, state=GroupState.READY)
    while clock < NOW + timedelta(hours=2):
        full = clock < NOW + timedelta(hours=1)
        for decision in decide(spec, snapshot(entry), at(clock)):
            if isinstance(decision, MoveGroup):
                entry = replace(entry, state=decision.state, reason=decision.reason)
            elif isinstance(decision, Submit):
                made += 1
                if not full:
                    assert made <= 6
                    return
                ended = finished(decision.number, FAILED, reason=FULL, finished_at=clock)
                entry = replace(entry, state=GroupState.RUNNING, submissions=(*entry.submissions, ended))
        assert entry.state in {GroupState.READY, GroupState.RUNNING}
        clock += timedelta(minutes=1)
    pytest.fail("it was not tried again")


def test_a_person_learns_when_it_is_tried_again() -> None:
    move = group_outcome(SPEC, tried(FULL, FULL), situation())
    assert (move.state, move.reason) == (
        GroupState.READY,
        f"could not run, try again: {FULL}; next try at 15:02 UTC",
    )
    waiting = replace(tried(FULL, FULL), state=GroupState.READY)
    assert next_try(SPEC, snapshot(waiting), now=NOW) == NOW + timedelta(minutes=2)


def test_what_lasts_for_a_day_needs_a_person() -> None:
    move = group_outcome(SPEC, tried(*[FULL] * MAX_STARVED), situation())
    assert move.state is GroupState.NEEDS_REVIEW


def test_other_failures_are_counted_apart() -> None:
    assert group_outcome(SPEC, tried("no such task", FULL, FULL), situation()).state is GroupState.READY
    assert group_outcome(SPEC, tried(FULL, FULL, "no such task"), situation()).state is GroupState.READY
    assert group_outcome(SPEC, tried("no such task", FULL, "no such task"), situation()).state is (
        GroupState.NEEDS_REVIEW
    )


def test_quanta_that_met_a_full_disk_are_tried_when_it_may_have_room() -> None:
    message = "OSError: [Errno 28] No space left on device: '/repo/x.fits'"
    left = open_quanta(exception_message=message)
    ended = finished(1, reason="1 failed", finished_at=NOW)
    entry = group("step1", submissions=(ended,), open_quanta=(left,), counts=Counts(succeeded=1, failed=1))
    move = group_outcome(SPEC, entry, situation())
    assert move.state is GroupState.READY
    assert move.reason.endswith("; next try at 15:32 UTC")
    waiting = replace(entry, state=GroupState.READY)
    assert decide(SPEC, snapshot(waiting), situation()) == ()
    assert next_try(SPEC, snapshot(waiting), now=NOW) == NOW + timedelta(minutes=32)
    (found,) = decide(SPEC, snapshot(waiting), at(NOW + timedelta(minutes=32)))
    assert isinstance(found, Submit)
    # Any other trouble is not waited for.
    other = replace(waiting, open_quanta=(open_quanta(exception_message="Connection reset"),))
    assert isinstance(decide(SPEC, snapshot(other), situation())[0], Submit)


def test_drivers_that_keep_dying_are_succeeded_after_growing_pauses() -> None:
    """Each dies as soon as it has claimed; ticks every ten seconds."""
    clock, launched, epoch = NOW, [], 0
    while True:
        entry = submission(state=SubmissionState.RUNNING, epoch=epoch, lease_expires_at=clock + LEASE)
        dead = group("step1", submissions=(entry,))
        found: tuple[object, ...] = ()
        while not found:
            found = decide(SPEC, snapshot(dead), at(clock, drivers={entry.id: Liveness.DEAD}))
            clock += timedelta(seconds=0 if found else 10)
        if isinstance(found[0], GiveUp):
            break
        assert isinstance(found[0], Launch)
        launched.append(clock - NOW)
        epoch += 1
    assert len(launched) == MAX_EPOCHS
    assert launched[2] == timedelta(0), "those of a killed driver and a lost node come at once"
    assert launched[-1] > timedelta(hours=2)


@pytest.mark.parametrize("epoch", [0, 3])
def test_drivers_that_never_claim_are_succeeded_after_growing_pauses(epoch: int) -> None:
    """Each ends before its claim, processes and Slurm jobs alike; ticks every ten seconds."""
    clock = NOW
    entry = submission(
        state=SubmissionState.RUNNING if epoch else SubmissionState.PREPARED,
        epoch=epoch,
        lease_expires_at=NOW - timedelta(days=1) if epoch else None,
    )
    started = []
    while True:
        found = decide(
            SPEC,
            snapshot(group("step1", submissions=(entry,))),
            at(clock, drivers={entry.id: Liveness.UNCLAIMED}),
        )
        if found and isinstance(found[0], GiveUp):
            break
        if found:
            assert isinstance(found[0], Launch)
            started.append(clock - NOW)
            entry = replace(entry, launches=entry.launches + 1, launched_at=clock)
        clock += timedelta(seconds=10)
    seconds = [(later - before).total_seconds() for before, later in pairwise(started)]
    assert seconds == [90, 90, 90, 120, 480, 1920, 3600, 3600]
    assert clock - NOW < timedelta(hours=3)


def test_a_start_that_lies_ahead_is_no_pause() -> None:
    entry = submission(launched_at=NOW + timedelta(minutes=30), launches=7)
    (found,) = decide(
        SPEC, snapshot(group("step1", submissions=(entry,))), situation({entry.id: Liveness.UNCLAIMED})
    )
    assert isinstance(found, Launch)


# -- clocks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("liveness", [Liveness.UNCLAIMED, Liveness.DEAD])
def test_a_launch_in_the_future_holds_nothing_up(liveness: Liveness) -> None:
    entry = submission(launched_at=AHEAD, epoch=0, created_at=AHEAD)
    (found,) = decide(SPEC, snapshot(group("step1", submissions=(entry,))), situation({entry.id: liveness}))
    assert isinstance(found, Launch)


def test_a_beat_in_the_future_holds_nothing_up() -> None:
    entry = submission(state=SubmissionState.RUNNING, epoch=5, lease_expires_at=AHEAD)
    (found,) = decide(
        SPEC, snapshot(group("step1", submissions=(entry,))), situation({entry.id: Liveness.DEAD})
    )
    assert isinstance(found, Launch)


def test_a_lease_is_no_longer_than_leases_are() -> None:
    assert holds(NOW + LEASE, now=NOW)
    assert holds(NOW + LEASE, now=NOW - timedelta(minutes=2)), "clocks differ by minutes"
    assert not holds(NOW, now=NOW)
    assert not holds(AHEAD, now=NOW)
    assert not holds(None, now=NOW)


def test_an_end_in_the_future_is_not_waited_for() -> None:
    waiting = replace(tried(FULL, ended=AHEAD), state=GroupState.READY)
    (found,) = decide(SPEC, snapshot(waiting), situation())
    assert isinstance(found, Submit)
    assert next_try(SPEC, snapshot(waiting), now=NOW) is None


def test_a_driver_job_is_found_whatever_the_clock_of_its_launch_said() -> None:
    entry = submission(launched_at=AHEAD, created_at=AHEAD, driver_job="d")
    job = SlurmJob(job_id="7", name="d", state="PENDING", submitted=NOW)
    found = look(entry, sight=QueueSnapshot(at=NOW, jobs=(job,)), now=NOW)
    assert found.liveness is Liveness.QUEUED
    claimed = replace(entry, driver=object(), launched_at=None, lease_expires_at=AHEAD)
    assert look(claimed, sight=QueueSnapshot(at=NOW), now=NOW).liveness is Liveness.DEAD
    over = replace(job, state="COMPLETED", ended=AHEAD)
    assert look(claimed, sight=QueueSnapshot(at=NOW, jobs=(over,)), now=NOW).liveness is Liveness.DEAD


def test_a_look_in_the_future_is_repeated() -> None:
    nights = {"kind": "day_obs", "nights": [20210318]}
    spec = campaign(bps("step1", group_by=nights), bps("step3", "step3", group_by="tract", after=["step1"]))
    everything = snapshot(night("step1", 18), group("step3", tract=9813, state=GroupState.WAITING))
    rests_on = basis(spec, everything)
    assert rests_on is not None
    ahead = replace(everything, overlaps=seen(basis=rests_on, at=AHEAD))
    assert refresh_due(spec, ahead, now=NOW) == rests_on


# -- whose fault it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "machine"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), True),
        (OSError(errno.EMFILE, "Too many open files"), True),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), True),
        (OSError(errno.EIO, "Input/output error"), True),
        (MemoryError(), True),
        (RuntimeError("can't start new thread"), True),
        (UnavailableError("the database does not answer"), True),
        (BusyError("locked"), True),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), False),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/data/x"), False),
        (RefusedRowsError("out of range"), False),
        (ValueError("a\x00b \x1b[31m"), False),
        (AssertionError(), False),
        (RecursionError("too deep"), False),
    ],
)
def test_whose_fault_an_error_is(error: Exception, machine: bool) -> None:
    assert is_of_the_machine(error) is machine
    assert words_of(error).isprintable()
    assert failure_words(error).isprintable()

    def fail() -> None:
        raise error

    if machine:
        with pytest.raises(type(error)):
            alone(fail)
    else:
        assert alone(fail)


def test_words_say_what_to_free() -> None:
    full = words_of(OSError(errno.ENOSPC, "No space left on device", "/data/x"))
    assert full.startswith("/data/x: No space left on device; free space")
    assert ran_out(full)
    told = "0 of 12 files are ingested; OSError: [Errno 28] No space left on device: '/repo/x'"
    assert advised(told) == f"{told}; free space, or inodes, on that file system (`df -h`, `df -i`)"
    assert advised(full) == full
    assert advised("no such task") == "no such task"
    assert "ulimit -n" in words_of(OSError(errno.EMFILE, "Too many open files"))


# -- one group alone -----------------------------------------------------------------------------------


def test_a_group_that_cannot_be_decided_about_is_set_aside() -> None:
    """Whatever goes wrong in judging one group, the others are decided about as if it were not there."""
    spec = campaign(bps("step1"), bps("step2a"), limits={"submissions": 9})
    bad = group("step1", submissions=(finished(outcome=SubmissionOutcome.PARTIAL),))
    good = group("step2a", state=GroupState.READY)
    # No requests of its step are known: that cannot happen, and is what a defect looks like.
    found = decide(spec, snapshot(bad, good), situation(steps=("step2a",)))
    assert [type(decision) for decision in found] == [SetAside, Submit]
    assert isinstance(found[0], SetAside)
    assert found[0].reason.startswith(
        "nothing can be decided about it: KeyError: 'step1' (group_outcome.py, line "
    )
    again = replace(bad, state=GroupState.READY)
    found = decide(spec, snapshot(again, good), situation(steps=("step2a",)))
    assert sorted(type(decision).__name__ for decision in found) == ["SetAside", "Submit"]


def test_a_submission_that_cannot_be_read_is_set_aside() -> None:
    spec = campaign(bps("step1"), bps("step2a"), limits={"submissions": 9})
    bad = group("step1", submissions=(submission(1, state=SubmissionState.RUNNING),))
    good = group("step2a", submissions=(submission(2, state=SubmissionState.RUNNING),))
    seen_of = replace(situation({102: Liveness.ALIVE}), damaged={101: "outcome.json: no JSON"})
    found = decide(spec, snapshot(bad, good), seen_of)
    assert [type(decision) for decision in found] == [SetAside, Follow]
    assert found[0] == SetAside(group=bad, reason="outcome.json: no JSON")


def test_a_campaign_that_this_release_does_not_understand() -> None:
    view = replace(snapshot().campaign, spec=document() | {"butler": 7, "odd": "x"})
    with pytest.raises(BadInputError, match=r"campaign 'night', revision 1: .*apply it again"):
        applied_spec(view)
