"""When what failed is tried again: actions after growing pauses."""

from __future__ import annotations

from datetime import datetime

from merian_campaign.domain import mending
from merian_campaign.domain.snapshot import GroupView, Snapshot, SubmissionView
from merian_campaign.domain.spec import ActionStep, CampaignSpec
from merian_campaign.domain.states import CampaignState, GroupState, SubmissionOutcome


def recent(group: GroupView) -> tuple[SubmissionView, ...]:
    """Return the submissions that count against the caps: those after a person's last «retry»."""
    return tuple(entry for entry in group.submissions if entry.number > group.attempts_from)


def next_try(spec: CampaignSpec, snapshot: Snapshot, *, now: datetime) -> datetime | None:
    """Return when the first of the groups that wait for their next try is due; `None` when none waits."""
    if snapshot.campaign.state is not CampaignState.ACTIVE:
        return None
    steps = {step.name for step in spec.steps}
    waiting = (
        due(spec, group)
        for group in snapshot.groups
        if group.state is GroupState.READY and group.step in steps and group.live is None
    )
    return min((moment for moment in waiting if moment is not None and moment > now), default=None)


def due(spec: CampaignSpec, group: GroupView) -> datetime | None:
    """Return when an action that failed is tried again; `None` when nothing has to be waited for."""
    tried = recent(group)
    if not isinstance(spec.step(group.step), ActionStep) or not tried:
        return None
    last = tried[-1]
    if last.outcome is not SubmissionOutcome.FAILED or last.finished_at is None:
        return None
    return last.finished_at + mending.pause_after(len(tried))


def pauses(spec: CampaignSpec, group: GroupView, *, now: datetime) -> bool:
    """Say whether a group has to wait before it is tried again."""
    moment = due(spec, group)
    return moment is not None and moment > now
