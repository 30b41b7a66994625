"""The one place that decides what a tick does: a pure function of what is known.

`decide` neither reads a clock nor touches anything: it takes a snapshot of the store, what was seen
of the drivers, and the time, and returns decisions for the services to carry out in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from merian_campaign.domain import mending, plan, remedy, share
from merian_campaign.domain.cluster import Cluster
from merian_campaign.domain.fit import most_share, refused
from merian_campaign.domain.gates import Gates
from merian_campaign.domain.liveness import Liveness
from merian_campaign.domain.records import NewGroup
from merian_campaign.domain.remedy import RequestTable
from merian_campaign.domain.site import SiteProfile
from merian_campaign.domain.snapshot import GroupView, Remedy, Snapshot, SubmissionView
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.states import (
    CampaignState,
    GroupState,
    SubmissionOutcome,
    SubmissionState,
)

LAUNCH_GRACE = timedelta(seconds=90)
"""How long a started driver may take to claim its submission before another is started."""

STACK_GRACE = timedelta(minutes=5)
"""The same where a driver sets up an LSST stack first, which a busy file system can make slow."""

MAX_EPOCHS = 6
"""Drivers a submission may use up before it is given up."""

MAX_FAILED_STARTS = 2
"""Submissions of a group that may fail to run at all, one after the other, before a person is asked."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What `decide` needs besides the snapshot.

    Parameters
    ----------
    drivers : `~collections.abc.Mapping`
        Liveness by submission id, for every unfinished submission.
    requests : `~collections.abc.Mapping`
        Memory requests by step name.
    workers : `int`
        The site's workers a node.
    now : `datetime.datetime`
        UTC.
    words : `~collections.abc.Mapping`
        By submission id, what the scheduler says of the driver's job.
    site : `SiteProfile` or `None`
        Where it runs; needed with ``cluster`` only.
    cluster : `Cluster` or `None`
        What the Slurm cluster allows; `None` when there is none, or nobody has asked yet.
    no_submission : `str`
        Why nothing may be submitted now, in words: the scheduler does not answer.
    no_jobs : `str`
        Why no driver's Slurm job can be submitted now, in words: the scheduler takes no more of them.
    others : `int` or `None`
        Slurm jobs of this user that belong to no submission under way; `None` when nobody counted.
    grace : `~datetime.timedelta`
        How long a started driver may take to claim its submission.
    """

    drivers: Mapping[int, Liveness]
    requests: Mapping[str, RequestTable]
    workers: int
    now: datetime
    words: Mapping[int, str] = field(default_factory=dict)
    site: SiteProfile | None = None
    cluster: Cluster | None = None
    no_submission: str = ""
    no_jobs: str = ""
    others: int | None = None
    grace: timedelta = LAUNCH_GRACE


@dataclass(frozen=True, kw_only=True)
class AddGroups:
    """Create the groups of a step that new data ask for."""

    step: str
    groups: tuple[NewGroup, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class MoveGroup:
    """Change the state of a group."""

    group: GroupView
    state: GroupState
    reason: str


@dataclass(frozen=True, kw_only=True)
class Submit:
    """Prepare submission ``number`` of a group and start its driver."""

    group: GroupView
    number: int
    remedy: Remedy
    reason: str


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Leave a ready group where it is: a limit, or the scheduler, has no room for it now."""

    group: GroupView
    reason: str


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Start a driver for a submission that has none alive."""

    group: GroupView
    submission: SubmissionView
    reason: str


@dataclass(frozen=True, kw_only=True)
class Harvest:
    """Take in what a driver left behind and finish its submission."""

    group: GroupView
    submission: SubmissionView


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """Finish a submission whose drivers keep dying."""

    group: GroupView
    submission: SubmissionView
    reason: str


@dataclass(frozen=True, kw_only=True)
class CallOff:
    """Finish a submission that was cancelled before any driver began it."""

    group: GroupView
    submission: SubmissionView
    reason: str


@dataclass(frozen=True, kw_only=True)
class Follow:
    """Take in the progress of a running submission."""

    group: GroupView
    submission: SubmissionView


type Decision = AddGroups | MoveGroup | Submit | Wait | Launch | Harvest | GiveUp | CallOff | Follow


def decide(spec: CampaignSpec, snapshot: Snapshot, situation: Situation) -> tuple[Decision, ...]:
    """Return what to do now, in order.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign as applied.
    snapshot : `Snapshot`
        What the store knows.
    situation : `Situation`
        What was observed.

    Returns
    -------
    decisions : `tuple`
        Empty when nothing can be done. Unfinished submissions come first, new ones last, each in its turn,
        as far as the campaign's limits allow.
    """
    ready: list[GroupView] = []
    steps = {step.name for step in spec.steps}
    current = plan.in_force(spec, snapshot)
    gates = Gates(spec=spec, snapshot=current)
    decisions: list[Decision] = list(_new_groups(spec, current))
    in_force = {group.id for group in current.groups}
    for group in snapshot.groups:
        # Groups that were taken out of the file are kept for the record; what runs of them is followed.
        if group.step not in steps or (group.live is None and group.id not in in_force):
            continue
        if group.live is not None:
            decision = _driver_decision(group, group.live, situation)
            if decision is not None:
                decisions.append(decision)
        elif snapshot.campaign.state is not CampaignState.CANCELLED or group.state is GroupState.RUNNING:
            move = _group_move(spec, gates, group, situation)
            if move is not None:
                decisions.append(move)
            elif group.state is GroupState.READY and not _pauses(spec, group, situation.now):
                ready.append(group)
    if snapshot.campaign.state is CampaignState.ACTIVE:
        decisions.extend(_starts(spec, snapshot, share.in_turn(spec, ready), situation))
    return tuple(decisions)


def _starts(
    spec: CampaignSpec, snapshot: Snapshot, ready: Iterable[GroupView], situation: Situation
) -> Iterator[Submit | MoveGroup | Wait]:
    """Submit ready groups, each in its turn, while there is room; say of the others what they wait for."""
    room = share.room(spec, snapshot, site=situation.site, others=situation.others)
    silent = situation.no_submission or situation.no_jobs
    for group in ready:
        if silent or room.submissions <= 0:
            yield Wait(group=group, reason=silent or share.why_not(spec, room, share.Share()))
            continue
        wanted = _wanted(spec, group, situation)
        most = most_share(
            group,
            spec=spec,
            remedy=wanted.remedy,
            requests=situation.requests.get(group.step),
            site=situation.site,
        )
        why = share.never(spec, most) or _misfit(spec, group, wanted.remedy, situation)
        given = room.share(most)
        if why:
            yield MoveGroup(group=group, state=GroupState.NEEDS_REVIEW, reason=f"not submitted: {why}")
        elif given is None:
            yield Wait(group=group, reason=share.why_not(spec, room, most))
        else:
            room = room.less(given)
            limited = share.limited(spec, wanted.remedy, given)
            fewer = f"; {given.blocks} of {most.blocks} blocks" if given.blocks < most.blocks else ""
            yield replace(wanted, remedy=limited, reason=f"{wanted.reason}{fewer}")


def next_try(spec: CampaignSpec, snapshot: Snapshot, *, now: datetime) -> datetime | None:
    """Return when the first of the groups that wait for their next try is due; `None` when none waits."""
    if snapshot.campaign.state is not CampaignState.ACTIVE:
        return None
    steps = {step.name for step in spec.steps}
    waiting = (
        _due(spec, group)
        for group in snapshot.groups
        if group.state is GroupState.READY and group.step in steps and group.live is None
    )
    return min((due for due in waiting if due is not None and due > now), default=None)


def _due(spec: CampaignSpec, group: GroupView) -> datetime | None:
    """Return when an action that failed is tried again; `None` when nothing has to be waited for."""
    recent = _recent(group)
    if not isinstance(spec.step(group.step), ActionStep) or not recent:
        return None
    last = recent[-1]
    if last.outcome is not SubmissionOutcome.FAILED or last.finished_at is None:
        return None
    return last.finished_at + mending.pause_after(len(recent))


def _pauses(spec: CampaignSpec, group: GroupView, now: datetime) -> bool:
    due = _due(spec, group)
    return due is not None and due > now


def _driver_decision(group: GroupView, submission: SubmissionView, situation: Situation) -> Decision | None:
    liveness = situation.drivers[submission.id]
    if liveness is Liveness.ENDED:
        return Harvest(group=group, submission=submission)
    if liveness in {Liveness.ALIVE, Liveness.UNSEEN}:
        return Follow(group=group, submission=submission)
    if _may_call_off(submission, liveness):
        return CallOff(group=group, submission=submission, reason="cancelled before it began")
    if liveness is Liveness.QUEUED:
        return Follow(group=group, submission=submission)
    return _without_driver(group, submission, situation)


def _without_driver(group: GroupView, submission: SubmissionView, situation: Situation) -> Decision | None:
    """Start another driver, unless one is on its way or too many have died already."""
    words = situation.words.get(submission.id, "")
    if situation.drivers[submission.id] is Liveness.HOPELESS:
        reason = f"its driver jobs end before they begin, see driver.log; the last: {words}"
        return GiveUp(group=group, submission=submission, reason=reason)
    if submission.epoch >= MAX_EPOCHS:
        last = f"; the last: {words}" if words else ""
        return GiveUp(
            group=group, submission=submission, reason=f"{submission.epoch} drivers died on it{last}"
        )
    launched = submission.launched_at
    if launched is not None and situation.now - launched < situation.grace:
        return None
    if situation.no_jobs:
        return None
    return _launch(group, submission, words)


def _may_call_off(submission: SubmissionView, liveness: Liveness) -> bool:
    """Say whether a cancelled submission needs no driver to end it: none ever claimed it.

    Only of drivers that are Slurm jobs, which might wait in the queue for hours to say just that.
    """
    begun = submission.epoch > 0 or submission.state is not SubmissionState.PREPARED
    waits = liveness in {Liveness.QUEUED, Liveness.UNCLAIMED, Liveness.HOPELESS}
    return submission.cancel_requested and bool(submission.driver_job) and waits and not begun


def _launch(group: GroupView, submission: SubmissionView, words: str) -> Launch:
    said = f": {words}" if words else ""
    reason = "its driver died; another one takes over"
    if submission.state is SubmissionState.PREPARED:
        reason = "no driver has claimed it"
    return Launch(group=group, submission=submission, reason=f"{reason}{said}")


def _new_groups(spec: CampaignSpec, snapshot: Snapshot) -> Iterator[AddGroups]:
    by_step: dict[str, list[NewGroup]] = {}
    if snapshot.campaign.state is not CampaignState.CANCELLED:
        for group in plan.discovered_groups(spec, snapshot):
            by_step.setdefault(group.step, []).append(group)
    for step, groups in by_step.items():
        visits = snapshot.overlaps.visits if snapshot.overlaps is not None else 0
        yield AddGroups(step=step, groups=tuple(groups), reason=f"tracts that {visits} visits overlap")


def _group_move(spec: CampaignSpec, gates: Gates, group: GroupView, situation: Situation) -> MoveGroup | None:
    if group.state is GroupState.RUNNING:
        return judge(spec, group, situation)
    if group.state in {GroupState.WAITING, GroupState.BLOCKED, GroupState.READY}:
        found = plan.judge_needs(gates.needs(group))
        target = found.state
        if group.state is GroupState.READY and target is GroupState.BLOCKED:
            target = GroupState.WAITING
        if target is not group.state:
            return MoveGroup(group=group, state=target, reason=found.reason)
    return None


def _recent(group: GroupView) -> tuple[SubmissionView, ...]:
    return tuple(entry for entry in group.submissions if entry.number > group.attempts_from)


def judge(spec: CampaignSpec, group: GroupView, situation: Situation) -> MoveGroup:
    """Say what becomes of a group whose latest submission has finished."""
    last = group.submissions[-1]
    step = spec.step(group.step)

    def move(state: GroupState, reason: str) -> MoveGroup:
        return MoveGroup(group=group, state=state, reason=reason)

    if last.outcome is SubmissionOutcome.CANCELLED:
        return move(GroupState.CANCELLED, "its submission was cancelled")
    if isinstance(step, ActionStep):
        return _judge_action(spec, group, step, last)
    if last.outcome is SubmissionOutcome.FAILED:
        return _judge_failed_start(group, last)
    if last.outcome is SubmissionOutcome.EMPTY and group.counts.expected == 0:
        target = GroupState.NEEDS_REVIEW if step.if_empty == "needs_review" else GroupState.DONE
        return move(target, f"nothing to do: {last.reason}")
    if group.counts.expected and group.counts.open == 0:
        return move(GroupState.DONE, f"all {group.counts.expected} quanta succeeded")
    return _judge_open(spec, step, group, situation)


def _judge_action(spec: CampaignSpec, group: GroupView, step: ActionStep, last: SubmissionView) -> MoveGroup:
    if last.outcome is SubmissionOutcome.SUCCEEDED:
        return MoveGroup(group=group, state=GroupState.DONE, reason=last.reason)
    if not last.needs_person and len(_recent(group)) < step.max_submissions:
        due = _due(spec, group)
        when = "" if due is None else f"; next try at {due.astimezone(UTC):%H:%M} UTC"
        return MoveGroup(group=group, state=GroupState.READY, reason=f"try again: {last.reason}{when}")
    return MoveGroup(group=group, state=GroupState.NEEDS_REVIEW, reason=last.reason)


def _judge_failed_start(group: GroupView, last: SubmissionView) -> MoveGroup:
    if last.needs_person:
        return MoveGroup(group=group, state=GroupState.NEEDS_REVIEW, reason=last.reason)
    failed = 0
    for entry in reversed(_recent(group)):
        if entry.outcome is not SubmissionOutcome.FAILED:
            break
        failed += 1
    if failed < MAX_FAILED_STARTS:
        return MoveGroup(
            group=group, state=GroupState.READY, reason=f"could not run, try again: {last.reason}"
        )
    return MoveGroup(
        group=group, state=GroupState.NEEDS_REVIEW, reason=f"could not run {failed} times: {last.reason}"
    )


def _judge_open(spec: CampaignSpec, step: BpsStep, group: GroupView, situation: Situation) -> MoveGroup:
    last = group.submissions[-1]
    policy = spec.afterburner_of(step)
    ahead = remedy.prospects(group, policy=policy, requests=situation.requests[step.name])
    # A driver that was lost before its graph was there left nothing to judge by.
    unseen = last.outcome is SubmissionOutcome.LOST and group.counts.expected == 0
    may_retry = unseen or (bool(ahead.retryable) and last.outcome is not SubmissionOutcome.EMPTY)
    used = len(_recent(group))
    if may_retry and used < policy.max_submissions:
        why = remedy.describe_failures(ahead.retryable) or last.reason
        return MoveGroup(group=group, state=GroupState.READY, reason=f"afterburner: {why}")
    lost = group.counts.open
    if group.counts.expected and lost <= step.loss_budget * group.counts.expected:
        return MoveGroup(
            group=group,
            state=GroupState.DONE,
            reason=f"{lost} of {group.counts.expected} lost, within the loss budget {step.loss_budget:g}",
        )
    why = remedy.describe_failures(ahead.hopeless or ahead.retryable) or last.reason
    behind = f"; {ahead.blocked} blocked behind them" if ahead.blocked else ""
    capped = f" after {used} submissions" if may_retry else ""
    return MoveGroup(group=group, state=GroupState.NEEDS_REVIEW, reason=f"{why}{capped}{behind}")


def _misfit(spec: CampaignSpec, group: GroupView, remedy: Remedy, situation: Situation) -> str:
    """Say why the cluster can never run a submission; empty when it can, or nobody has asked yet."""
    if situation.cluster is None or situation.site is None:
        return ""
    step = spec.step(group.step)
    return refused(
        group,
        step=step,
        remedy=remedy,
        requests=situation.requests[step.name] if isinstance(step, BpsStep) else None,
        site=situation.site,
        cluster=situation.cluster,
    )


def _wanted(spec: CampaignSpec, group: GroupView, situation: Situation) -> Submit:
    number = group.submissions[-1].number + 1 if group.submissions else 1
    step = spec.step(group.step)
    if isinstance(step, ActionStep) or not group.submissions:
        return Submit(group=group, number=number, remedy=Remedy(), reason=group.reason)
    found = remedy.next_remedy(
        group,
        step=step,
        policy=spec.afterburner_of(step),
        requests=situation.requests[step.name],
        workers=situation.workers,
    )
    words = remedy.describe_remedy(found)
    reason = f"{group.reason}; {words}" if words else group.reason
    return Submit(group=group, number=number, remedy=found, reason=reason)
