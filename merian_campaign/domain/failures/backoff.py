"""When what failed is tried again: after growing pauses, so that what ran out has time to come back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from merian_campaign.domain.clock_skew import LEASE, is_recent
from merian_campaign.domain.failures import error_classes
from merian_campaign.domain.failures.fault_attribution import no_room, ran_out
from merian_campaign.domain.record.snapshot import GroupView, Snapshot, SubmissionView
from merian_campaign.domain.spec import ActionStep, CampaignSpec
from merian_campaign.domain.states import CampaignState, GroupState, SubmissionOutcome

_RAN = {SubmissionOutcome.PARTIAL, SubmissionOutcome.LOST}

MAX_STARVED = 30
"""Tries, one after the other, that may fail because the machine had run out of something: about a day."""

AT_ONCE = 2
"""Drivers that may die and be succeeded at once: killed, or of a lost node. After more, one waits."""

MAX_LAUNCHES = 9
"""Drivers, processes or Slurm jobs, that may be started one after the other without one that claims the
submission; with the pauses between them, in 2 h 46 min."""


def recent(group: GroupView) -> tuple[SubmissionView, ...]:
    """Return the submissions that count against the caps: those after a person's last «retry»."""
    return tuple(entry for entry in group.submissions if entry.number > group.attempts_from)


def starved(submission: SubmissionView) -> bool:
    """Say whether a submission failed of the machine or the database, which had run out or were away.

    That is no fault of its group.
    """
    failed = submission.outcome is SubmissionOutcome.FAILED and not submission.needs_person
    return failed and (ran_out(submission.reason) or error_classes.passes(submission.reason))


def charged(group: GroupView) -> int:
    """Return how many submissions count against the cap: not those that the infrastructure ended."""
    lost = SubmissionOutcome.LOST
    return sum(entry.outcome is not lost and not starved(entry) for entry in recent(group))


def lost_tries(group: GroupView) -> int:
    """Return how many of the latest submissions, one after the other, lost their drivers."""
    tries = 0
    for entry in reversed(recent(group)):
        if entry.outcome is not SubmissionOutcome.LOST:
            break
        tries += 1
    return tries


def starved_tries(group: GroupView) -> int:
    """Return how many of the latest submissions, one after the other, failed so."""
    tries = 0
    for entry in reversed(recent(group)):
        if not starved(entry):
            break
        tries += 1
    return tries


def next_try(spec: CampaignSpec, snapshot: Snapshot, *, now: datetime) -> datetime | None:
    """Return when the first of the groups that wait for their next try is due; `None` when none waits."""
    if snapshot.campaign.state is not CampaignState.ACTIVE:
        return None
    steps = {step.name for step in spec.steps}
    waiting = (
        due(spec, group)
        for group in snapshot.groups
        if group.state is GroupState.READY
        and group.step in steps
        and group.live is None
        and pauses(spec, group, now=now)
    )
    return min((moment for moment in waiting if moment is not None), default=None)


def due(spec: CampaignSpec, group: GroupView) -> datetime | None:
    """Return when what failed is tried again; `None` when nothing has to be waited for."""
    pause = _pause(spec, group)
    ended = group.submissions[-1].finished_at if group.submissions else None
    return None if pause is None or ended is None else ended + pause


def pauses(spec: CampaignSpec, group: GroupView, *, now: datetime) -> bool:
    """Say whether a group has to wait before it is tried again.

    Never longer than the pause: an end that lies ahead was written by a clock that was wrong.
    """
    pause, moment = _pause(spec, group), due(spec, group)
    return pause is not None and moment is not None and now < moment <= now + pause


def _pause(spec: CampaignSpec, group: GroupView) -> timedelta | None:
    tried = recent(group)
    if not tried:
        return None
    if isinstance(spec.step(group.step), ActionStep):
        return (
            error_classes.pause_after(len(tried)) if tried[-1].outcome is SubmissionOutcome.FAILED else None
        )
    if starved(tried[-1]):
        return error_classes.pause_after(starved_tries(group))
    if tried[-1].outcome in _RAN and any(no_room(entry.exception_message) for entry in group.open_quanta):
        # Its attempts are counted, so there are few: 32 minutes before the second, an hour before the next.
        return error_classes.pause_after(len(tried) + 3)
    lost = lost_tries(group)
    # The first is followed at once: most drivers are lost for what does not come again.
    return error_classes.pause_after(lost - 1) if lost > 1 else None


def successor_waits(submission: SubmissionView, *, now: datetime) -> bool:
    """Say whether a submission whose drivers die has to wait for the next one, counted from the last beat."""
    return successor_at(submission, now=now) is not None


def successor_at(submission: SubmissionView, *, now: datetime) -> datetime | None:
    """Return until when a submission whose drivers die waits for the next one; `None` when it does not."""
    if submission.epoch <= AT_ONCE or submission.lease_expires_at is None:
        return None
    pause = error_classes.pause_after(submission.epoch - AT_ONCE)
    moment = submission.lease_expires_at - LEASE + pause
    return moment if now < moment <= now + pause else None


def successions(snapshot: Snapshot, *, decided: Collection[int], now: datetime) -> Mapping[int, str]:
    """Return in words, by group, of what has no driver now when the next one is started.

    Parameters
    ----------
    snapshot : `Snapshot`
        The campaign.
    decided : `~collections.abc.Collection` [`int`]
        Groups with which something is done: what has a living driver is followed.
    now : `datetime.datetime`
        UTC.
    """
    found = {}
    for group in snapshot.groups:
        live = group.live if group.id not in decided else None
        moment = None if live is None else successor_at(live, now=now)
        if live is not None and moment is not None:
            found[group.id] = f"{live.epoch} drivers died on it; the next one at {moment:%H:%M} UTC"
    return found


def claim_awaited(submission: SubmissionView, *, grace: timedelta, now: datetime) -> bool:
    """Say whether the next driver has to wait for the one that was started last, which has not claimed it.

    It waits for at least ``grace``. When more than `AT_ONCE` have come to nothing it waits for what they
    lack, a disk with room or a node that works, counted from the last start.
    """
    started = submission.launched_at
    if started is None or is_recent(started, within=grace, now=now):
        return started is not None
    if not AT_ONCE < submission.launches < MAX_LAUNCHES:
        return False
    return started <= now < started + error_classes.pause_after(submission.launches - AT_ONCE)
