"""What the next tick would do, in words and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merian_campaign.domain.decide import (
    CallOff,
    Decision,
    Follow,
    GiveUp,
    Harvest,
    Launch,
    MoveGroup,
    Submit,
    Wait,
)
from merian_campaign.domain.snapshot import Snapshot
from merian_campaign.domain.states import GroupState


def describe(decision: Decision) -> tuple[str, str]:  # noqa: PLR0911 - one line a kind of decision
    """Return what a decision does and why, in words."""
    match decision:
        case MoveGroup(state=state, reason=reason):
            return f"becomes {state.value.replace('_', ' ')}", reason
        case Submit(number=1, reason=reason):
            return "submit", reason
        case Submit(number=number, reason=reason):
            return f"submit afterburner {number}", reason
        case Wait(reason=reason):
            return "stays ready", reason
        case Launch(submission=submission, reason=reason):
            return f"start a driver for submission {submission.number}", reason
        case Harvest(submission=submission):
            return f"harvest submission {submission.number}", "its driver has ended"
        case GiveUp(submission=submission, reason=reason):
            return f"give up submission {submission.number}", reason
        case CallOff(submission=submission, reason=reason):
            return f"call off submission {submission.number}", reason
        case Follow(submission=submission):
            return f"follow submission {submission.number}", "it runs"


def plan_json(decisions: Sequence[Decision], snapshot: Snapshot) -> dict[str, Any]:
    """Return the plan for machines."""
    entries = []
    for decision in decisions:
        what, reason = describe(decision)
        entries.append(
            {"step": decision.group.step, "group": decision.group.key, "action": what, "why": reason}
        )
    return {"campaign": snapshot.campaign.name, "state": snapshot.campaign.state.value, "actions": entries}


def plan_lines(decisions: Sequence[Decision], snapshot: Snapshot) -> list[str]:
    """Return the plan for people, and what everything else waits for."""
    lines = []
    for decision in decisions:
        what, reason = describe(decision)
        lines.append(f"{decision.group.step}/{decision.group.key}: {what} ({reason})")
    if not lines:
        lines.append("nothing to do")
    planned = {decision.group.id for decision in decisions}
    for group in snapshot.groups:
        if group.id not in planned and group.state is not GroupState.DONE:
            reason = f" ({group.reason})" if group.reason else ""
            lines.append(f"{group.step}/{group.key}: stays {group.state.value.replace('_', ' ')}{reason}")
    return lines
