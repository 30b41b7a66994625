"""What becomes of a group when its latest submission has finished."""

from __future__ import annotations

from datetime import UTC

from merian_campaign.domain.failures import remedy
from merian_campaign.domain.failures.backoff import (
    MAX_STARVED,
    charged,
    due,
    lost_tries,
    recent,
    starved,
    starved_tries,
)
from merian_campaign.domain.failures.tolerated import tolerated
from merian_campaign.domain.record.board_row import AFTERBURNER
from merian_campaign.domain.record.snapshot import GroupView, SubmissionView
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.states import GroupState, SubmissionOutcome
from merian_campaign.domain.tick.decisions import MoveGroup, Situation
from merian_campaign.domain.tick.stragglers import MAY_WAIT, latest_start

MAX_FAILED_STARTS = 2
"""Submissions of a group that may fail to run at all, one after the other, before a person is asked."""


def group_outcome(spec: CampaignSpec, group: GroupView, situation: Situation) -> MoveGroup:
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
        return _judge_failed_start(spec, group, last)
    if last.outcome is SubmissionOutcome.EMPTY and group.counts.expected == 0:
        target = GroupState.NEEDS_REVIEW if step.if_empty == "needs_review" else GroupState.DONE
        return move(target, f"nothing to do: {last.reason}")
    if group.counts.expected and group.counts.open == 0:
        return move(GroupState.DONE, f"all {group.counts.expected} quanta succeeded")
    return _judge_open(spec, step, group, situation)


def _judge_action(spec: CampaignSpec, group: GroupView, step: ActionStep, last: SubmissionView) -> MoveGroup:
    if last.outcome is SubmissionOutcome.SUCCEEDED:
        return MoveGroup(group=group, state=GroupState.DONE, reason=last.reason)
    # Tries that failed because the machine had run out of something are not the action's.
    own = [entry for entry in recent(group) if not starved(entry)]
    if not last.needs_person and (_is_starved(group) or len(own) < step.max_submissions):
        reason = f"try again: {last.reason}{_when(spec, group)}"
        return MoveGroup(group=group, state=GroupState.READY, reason=reason)
    return MoveGroup(group=group, state=GroupState.NEEDS_REVIEW, reason=last.reason)


def _is_starved(group: GroupView) -> bool:
    """Say whether a group may be tried again because what the machine had run out of may have come back."""
    return 0 < starved_tries(group) < MAX_STARVED


def _when(spec: CampaignSpec, group: GroupView) -> str:
    moment = due(spec, group)
    return "" if moment is None else f"; next try at {moment.astimezone(UTC):%H:%M} UTC"


def _collected(spec: CampaignSpec, step: BpsStep, group: GroupView, situation: Situation) -> str:
    """Say until when it may wait, where what is left of it does not fill a node."""
    wanted = remedy.next_remedy(
        group,
        step=step,
        policy=spec.afterburner_of(step),
        requests=situation.requests[step.name],
        workers=situation.workers,
    )
    moment = latest_start(spec, group, situation, remedy.with_asked(wanted, group.asked))
    if moment is None:
        return ""
    return f"{MAY_WAIT}{moment.astimezone(UTC):%H:%M} UTC for others to share a node with"


def _judge_failed_start(spec: CampaignSpec, group: GroupView, last: SubmissionView) -> MoveGroup:
    if last.needs_person:
        return MoveGroup(group=group, state=GroupState.NEEDS_REVIEW, reason=last.reason)
    if _is_starved(group):
        reason = f"could not run, try again: {last.reason}{_when(spec, group)}"
        return MoveGroup(group=group, state=GroupState.READY, reason=reason)
    failed = 0
    for entry in reversed(recent(group)):
        if entry.outcome is not SubmissionOutcome.FAILED:
            break
        failed += not starved(entry) or starved(last)
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
    used = charged(group)
    lost_driver = 0 < lost_tries(group) < MAX_STARVED
    if may_retry and (used < policy.max_submissions or lost_driver):
        why = remedy.describe_failures(ahead.retryable) or last.reason
        reason = f"{AFTERBURNER}{why}{_when(spec, group) or _collected(spec, step, group, situation)}"
        return MoveGroup(group=group, state=GroupState.READY, reason=reason)
    lost = group.counts.open
    taken = tolerated(group, tolerate=step.tolerate)
    if taken.quanta and lost - taken.quanta <= step.loss_budget * group.counts.expected:
        return MoveGroup(
            group=group,
            state=GroupState.DONE,
            reason=f"{lost} of {group.counts.expected} lost, {taken.quanta} of them tolerated: {taken.words}",
        )
    if ahead.accepted and not ahead.hopeless and not ahead.retryable:
        return MoveGroup(group=group, state=GroupState.DONE, reason=_without(ahead))
    lost -= sum(entry.number for entry in ahead.accepted)
    if group.counts.expected and lost <= step.loss_budget * group.counts.expected:
        said = f"{lost} of {group.counts.expected} lost, within the loss budget {step.loss_budget:g}"
        beside = f"; {_without(ahead)}" if ahead.accepted else ""
        return MoveGroup(
            group=group,
            state=GroupState.DONE,
            reason=f"{said}{beside}",
        )
    why = remedy.describe_failures(ahead.hopeless or ahead.retryable) or last.reason
    behind = f"; {ahead.blocked} blocked behind them" if ahead.blocked else ""
    capped = f" after {used} submissions" if may_retry else ""
    return MoveGroup(group=group, state=GroupState.NEEDS_REVIEW, reason=f"{why}{capped}{behind}")


def _without(ahead: remedy.Prospects) -> str:
    """Say without what a group goes on, as failure rules have it."""
    rules = ", ".join(sorted({entry.rule or "" for entry in ahead.accepted}))
    behind = f", with {ahead.blocked} behind them" if ahead.blocked else ""
    return f"accepted by rule {rules}: {remedy.describe_failures(ahead.accepted)}{behind}"
