"""The one place that decides what a tick does: a pure function of what is known.

`decide` neither reads a clock nor touches anything: it takes a snapshot of the store, what was seen
of the drivers, and the time, and returns decisions for the services to carry out in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from merian_campaign.domain.campaign import plan
from merian_campaign.domain.execution.liveness import Liveness
from merian_campaign.domain.failures import remedy
from merian_campaign.domain.failures.backoff import MAX_LAUNCHES, claim_awaited, pauses, successor_waits
from merian_campaign.domain.failures.fault_attribution import Broken, alone
from merian_campaign.domain.readiness.new_data import NewData
from merian_campaign.domain.readiness.overlap_refresh import cut_of
from merian_campaign.domain.record.board_row import AFTERBURNER, EXPIRED
from merian_campaign.domain.record.records import NewGroup
from merian_campaign.domain.record.snapshot import GroupView, Remedy, Snapshot, SubmissionView
from merian_campaign.domain.resources import throttle
from merian_campaign.domain.resources.block_shape import Workload
from merian_campaign.domain.resources.cluster import Misfit
from merian_campaign.domain.resources.memory_model import with_learned
from merian_campaign.domain.resources.resource_fit import known_requests, most_share, step_refused, workload
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.states import CampaignState, GroupState, SubmissionState
from merian_campaign.domain.tick import storms
from merian_campaign.domain.tick.decisions import (
    AddGroups,
    CallOff,
    Decision,
    Follow,
    GiveUp,
    Harvest,
    Launch,
    MoveGroup,
    PauseCampaign,
    Publish,
    SetAside,
    Situation,
    Submit,
    Wait,
)
from merian_campaign.domain.tick.extend_or_redo import extend_or_redo
from merian_campaign.domain.tick.group_outcome import group_outcome
from merian_campaign.domain.tick.stragglers import MAY_WAIT, waiting_stragglers

MAX_EPOCHS = 9
"""Drivers a submission may use up before it is given up; with the pauses between them, in 2 h 42 min."""


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
        as far as the campaign's limits allow. A group that cannot be decided about is set aside and hurts
        no other.
    """
    ready: list[GroupView] = []
    steps = {step.name for step in spec.steps}
    current = plan.in_force(spec, snapshot)
    new = NewData(spec=spec, snapshot=current, arrivals=situation.arrivals, now=situation.now)
    decisions: list[Decision] = list(_new_groups(spec, new.snapshot))
    in_force = {group.id for group in current.groups}
    stopped = snapshot.campaign.state is CampaignState.CANCELLED
    if snapshot.campaign.state is CampaignState.ACTIVE:
        gone = plan.taken_out(spec, snapshot, current)
        decisions += [Publish(group=group, none=True) for group in snapshot.groups if group.id in gone]
    for group in snapshot.groups:
        # Groups that were taken out of the file are kept for the record; what runs of them is followed.
        if group.step not in steps or (group.live is None and group.id not in in_force):
            continue
        if group.live is None and stopped and group.state is not GroupState.RUNNING:
            continue
        decision = alone(partial(_decide_one, spec, new, group, situation))
        if isinstance(decision, Broken):
            decisions.append(_set_aside(group, decision))
        elif isinstance(decision, GroupView):
            ready.append(decision)
        elif decision is not None:
            decisions.append(decision)
    if snapshot.campaign.state is CampaignState.ACTIVE:
        everywhere = storms.paused_by_rule(snapshot) or storms.storm(snapshot, now=situation.now)
        if everywhere:
            return (*decisions, PauseCampaign(reason=everywhere))
        decisions.extend(_starts(spec, snapshot, new, throttle.in_turn(spec, ready), situation))
    return tuple(decisions)


def _decide_one(
    spec: CampaignSpec, new: NewData, group: GroupView, situation: Situation
) -> Decision | GroupView | None:
    """Return what to do about one group, or the group itself if it may be submitted."""
    if group.live is not None:
        return _driver_decision(group, group.live, situation)
    if new.snapshot.campaign.state is CampaignState.ACTIVE:
        again = extend_or_redo(new, group)
        if again is not None:
            return again
    move = _group_move(spec, new, group, situation)
    if move is not None:
        return move
    startable = (
        group.state is GroupState.READY and not group.hold and not pauses(spec, group, now=situation.now)
    )
    return group if startable else None


def _set_aside(group: GroupView, broken: Broken) -> SetAside:
    return SetAside(group=group, reason=f"nothing can be decided about it: {broken.reason}")


def _starts(
    spec: CampaignSpec,
    snapshot: Snapshot,
    new: NewData,
    ready: Iterable[GroupView],
    situation: Situation,
) -> Iterator[Submit | MoveGroup | Wait | SetAside]:
    """Submit ready groups, each in its turn, while there is room; say of the others what they wait for."""
    room = throttle.room(spec, snapshot, site=situation.site, others=situation.others)
    silent = _why_none(spec, situation)
    left, spent = _number_left(spec, snapshot, situation)
    canaries: dict[str, int | None] = {}
    ready = tuple(ready)
    next_of = partial(_next, spec, new, situation)
    full = silent or room.submissions <= 0
    waits = {} if full else waiting_stragglers(spec, snapshot, ready, situation, next_of=next_of)
    for group in ready:
        if group.step not in canaries:
            canaries[group.step] = storms.unproven(spec, snapshot, group.step, release=situation.release)
        alone_first = canaries[group.step]
        held = silent or (throttle.why_not(spec, room, throttle.Allotment()) if room.submissions <= 0 else "")
        if not held and left is not None and left <= 0:
            held = spent
        if not held and alone_first is not None and alone_first <= 0:
            held = "limits.canary: no group of the step has succeeded yet"
        held = held or waits.get(group.id, "")
        if held:
            yield Wait(group=group, reason=held)
            continue
        found = alone(partial(_submission, spec, new, group, situation))
        if isinstance(found, Broken):
            yield _set_aside(group, found)
            continue
        wanted, most, why = found
        given = room.share(most)
        if why is not None:
            reason = f"not submitted: {why.words}"
            yield MoveGroup(group=group, state=GroupState.NEEDS_REVIEW, reason=reason, misfit=why.asked)
        elif given is None:
            yield Wait(group=group, reason=throttle.why_not(spec, room, most))
        else:
            room = room.less(given)
            left = None if left is None else left - 1
            canaries[group.step] = None if alone_first is None else alone_first - 1
            limited = throttle.limited(spec, wanted.remedy, given)
            fewer = f"; {given.blocks} of {most.blocks} blocks" if given.blocks < most.blocks else ""
            yield replace(wanted, remedy=limited, reason=f"{wanted.reason}{fewer}", basis=new.basis(group))


def _why_none(spec: CampaignSpec, situation: Situation) -> str:
    """Say why no group starts now, whichever it is; empty when some may."""
    return (
        situation.no_submission
        or situation.no_jobs
        or throttle.closed(spec, now=situation.now)
        or throttle.overspent(spec, situation.core_hours)
    )


def _number_left(spec: CampaignSpec, snapshot: Snapshot, situation: Situation) -> tuple[int | None, str]:
    """Return how many groups may start yet, `None` for any number, and what the others wait for.

    While the machine is short of something, one at a time tries.
    """
    left, spent = throttle.budget(spec, snapshot, now=situation.now)
    short = storms.shortage(snapshot, now=situation.now)
    if not short:
        return left, spent
    under_way = sum(group.live is not None for group in snapshot.groups)
    return min(1 - under_way, 1 if left is None else left), short


def _next(spec: CampaignSpec, new: NewData, situation: Situation, group: GroupView) -> Submit | None:
    """Return a group's next submission; `None` when that cannot be told."""
    wanted = alone(partial(_wanted, spec, new, group, situation))
    return wanted if isinstance(wanted, Submit) else None


def _submission(
    spec: CampaignSpec, new: NewData, group: GroupView, situation: Situation
) -> tuple[Submit, throttle.Allotment, Misfit | None]:
    """Return a group's next submission, the most it can use, and why it can never run, if so."""
    wanted = _wanted(spec, new, group, situation)
    work = _workload(spec, wanted, situation)
    most = most_share(spec=spec, work=work, site=situation.site)
    never = throttle.never(spec, most)
    return wanted, most, Misfit(words=never) if never else _misfit(spec, wanted, work, situation)


def _workload(spec: CampaignSpec, wanted: Submit, situation: Situation) -> Workload | None:
    """Return what a submission has to run; `None` of an action."""
    step, requests = spec.step(wanted.group.step), situation.requests.get(wanted.group.step)
    if isinstance(step, ActionStep) or requests is None:
        return None
    return workload(
        wanted.group,
        spec=spec,
        step=step,
        remedy=wanted.remedy,
        requests=requests,
        reason=wanted.reason,
    )


def _driver_decision(group: GroupView, submission: SubmissionView, situation: Situation) -> Decision | None:
    if submission.id in situation.damaged:
        return SetAside(group=group, reason=situation.damaged[submission.id])
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
    last = f"; the last: {words}" if words else ""
    if submission.epoch >= MAX_EPOCHS:
        return GiveUp(
            group=group, submission=submission, reason=f"{submission.epoch} drivers died on it{last}"
        )
    if claim_awaited(submission, grace=situation.grace, now=situation.now):
        return None
    if submission.launches >= MAX_LAUNCHES:
        reason = f"{submission.launches} drivers were started and none has claimed it, see driver.log{last}"
        return GiveUp(group=group, submission=submission, reason=reason)
    if situation.no_jobs or successor_waits(submission, now=situation.now):
        return None
    return _launch(group, submission, words)


def _may_call_off(submission: SubmissionView, liveness: Liveness) -> bool:
    """Say whether a cancelled submission needs no driver to end it: none ever claimed it.

    Only of drivers that are Slurm jobs, which might wait in the queue for hours to say just that.
    """
    begun = submission.epoch > 0 or submission.state is not SubmissionState.PREPARED
    waits = liveness in {Liveness.QUEUED, Liveness.UNCLAIMED}
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
        found = spec.discovers_nights(spec.step(step))
        what = {"day_obs": "nights of which there are exposures"}.get(cut_of(spec, step), "what has come")
        reason = what if found else f"tracts that {visits} visits overlap"
        yield AddGroups(step=step, groups=tuple(groups), reason=reason)


def _group_move(spec: CampaignSpec, new: NewData, group: GroupView, situation: Situation) -> MoveGroup | None:
    if group.state is GroupState.RUNNING:
        return group_outcome(spec, group, situation)
    if group.state in {GroupState.WAITING, GroupState.BLOCKED, GroupState.READY}:
        found = plan.what_it_waits_for(new, group)
        target = found.state
        if group.state is GroupState.READY and target is GroupState.BLOCKED:
            target = GroupState.WAITING
        if target is not group.state:
            return MoveGroup(group=group, state=target, reason=found.reason)
    expires = group.accepted_until
    if group.state is GroupState.DONE and expires is not None and expires <= situation.now:
        reason = f"{EXPIRED}{expires:%Y-%m-%d %H:%M} UTC, which is over; accepted was: {group.reason}"
        return MoveGroup(group=group, state=GroupState.NEEDS_REVIEW, reason=reason)
    return None


def _misfit(spec: CampaignSpec, wanted: Submit, work: Workload | None, situation: Situation) -> Misfit | None:
    """Return why the cluster can never run a submission; `None` when it can, or nobody has asked yet."""
    if situation.cluster is None or situation.site is None:
        return None
    step, known = spec.step(wanted.group.step), None
    if isinstance(step, BpsStep):
        requests = situation.requests[step.name]
        known = known_requests(wanted.group, step=step, remedy=wanted.remedy, requests=requests)
    return step_refused(known=known, work=work, site=situation.site, cluster=situation.cluster)


def _wanted(spec: CampaignSpec, new: NewData, group: GroupView, situation: Situation) -> Submit:
    number = group.submissions[-1].number + 1 if group.submissions else 1
    step = spec.step(group.step)
    if isinstance(step, ActionStep):
        return Submit(group=group, number=number, remedy=Remedy(), reason=group.reason)
    found = Remedy()
    if group.submissions:
        found = remedy.next_remedy(
            group,
            step=step,
            policy=spec.afterburner_of(step),
            requests=situation.requests[step.name],
            workers=situation.workers,
        )
    found = remedy.with_asked(found, group.asked)
    learned, tasks = found, situation.learned.get(step.name, ())
    if tasks:
        counts = any(entry.by_exposures for entry in tasks)
        learned = with_learned(
            found,
            tasks,
            group=group,
            requests=situation.requests[step.name],
            exposures=len(new.selected.exposures(group) or ()) if counts else 0,
        )
    measured = len(set(learned.memory_mb) - set(found.memory_mb))
    said = f"{measured} task{'s ask' if measured > 1 else ' asks'} for what was measured" if measured else ""
    # What has come since is run too, and nobody knows how much that is: it is no mere afterburner.
    came = new.change(group).reason if group.reason.startswith(AFTERBURNER) else ""
    why = group.reason.partition(MAY_WAIT)[0]
    reason = "; ".join(filter(None, (came, why, remedy.describe_remedy(found), said)))
    return Submit(group=group, number=number, remedy=learned, reason=reason)
