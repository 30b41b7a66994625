"""What the next tick would do, in words and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from merian_campaign.domain.record.records import NewGroup
from merian_campaign.domain.resources.core_hours import Price
from merian_campaign.domain.resources.expected_cost import Expected
from merian_campaign.domain.states import CampaignState, GroupState
from merian_campaign.domain.tick.decisions import (
    AddGroups,
    Again,
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
    Submit,
    Wait,
)
from merian_campaign.reports.memory_lines import memory_json, memory_lines
from merian_campaign.services.tick_report import Plan


def describe(decision: Decision) -> tuple[str, str]:  # noqa: C901, PLR0911, PLR0912 - one line a kind of decision
    """Return what a decision does and why, in words."""
    match decision:
        case AddGroups(groups=groups, reason=reason):
            return f"add {len(groups)} groups", f"{reason}: {_keys(groups)}"
        case PauseCampaign(reason=reason):
            return "pause the campaign", reason
        case MoveGroup(state=state, reason=reason):
            return f"becomes {state.value.replace('_', ' ')}", reason
        case Again(group=group, redo=redo, reason=reason):
            return (f"begin generation {group.generation + 1}" if redo else "go on with what is new"), reason
        case Publish(none=True):
            return "take it out of its step's chain", "the file has it no more"
        case Publish(group=group):
            return f"put generation {group.generation} in the place of {group.published}", "it is complete"
        case Submit(group=group, number=number, reason=reason):
            again = any(entry.generation == group.generation for entry in group.submissions)
            return f"submit afterburner {number}" if again else "submit", reason
        case Wait(reason=reason):
            return "stays ready", reason
        case Launch(submission=submission, reason=reason):
            return f"start a driver for submission {submission.number}", reason
        case Harvest(submission=submission):
            return f"harvest submission {submission.number}", "its driver has ended"
        case GiveUp(submission=submission, reason=reason):
            return f"give up submission {submission.number}", reason
        case SetAside(reason=reason):
            return "becomes needs review", reason
        case CallOff(submission=submission, reason=reason):
            return f"call off submission {submission.number}", reason
        case Follow(submission=submission):
            return f"follow submission {submission.number}", "it runs"


def _keys(groups: Sequence[NewGroup], *, at_most: int = 5) -> str:
    text = ", ".join(group.key for group in groups[:at_most])
    return text if len(groups) <= at_most else f"{text} and {len(groups) - at_most} more"


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return the plan for machines."""
    entries = []
    for decision in plan.decisions:
        what, reason = describe(decision)
        step, key = _place(decision)
        entry: dict[str, Any] = {"step": step, "group": key, "action": what, "why": reason}
        price = plan.prices.get(f"{step}/{key}") if isinstance(decision, Again) else None
        if price is not None:
            entry["price"] = price.to_json()
        if (expected := _expected(plan, decision)) is not None:
            entry["expected"] = expected.to_json()
        entries.append(entry)
    campaign = plan.snapshot.campaign
    waiting = [
        {"step": group.step, "group": group.key, "state": group.state.value, "why": plan.reasons[group.id]}
        for group in plan.snapshot.groups
        if group.id in plan.reasons
    ]
    held = [
        {"step": group.step, "group": group.key, "why": group.hold}
        for group in plan.snapshot.groups
        if group.hold
    ]
    return {
        "campaign": campaign.name,
        "state": campaign.state.value,
        "state_reason": campaign.reason,
        "looks_for_overlaps": plan.looks,
        "closed": plan.closed,
        "actions": entries,
        "waiting": waiting,
        "held": held,
        "memory": memory_json(plan.memory),
        "redo_price": {name: price.to_json() for name, price in sorted(plan.prices.items())},
    }


def _expected(plan: Plan, decision: Decision) -> Expected | None:
    """Return what a decision to submit is expected to cost."""
    return plan.expected.get(decision.group.id) if isinstance(decision, Submit | Again) else None


def _place(decision: Decision) -> tuple[str, str | None]:
    if isinstance(decision, PauseCampaign):
        return "", None
    if isinstance(decision, AddGroups):
        return decision.step, None
    return decision.group.step, decision.group.key


def plan_lines(plan: Plan, *, each: int | None = None) -> list[str]:
    """Return the plan for people, and what everything else waits for.

    Parameters
    ----------
    plan : `~merian_campaign.services.tick.Plan`
        What to show.
    each : `int` or `None`, optional
        Groups of a step that are named of those with which the same is done; `None`: all.
    """
    lines = []
    campaign = plan.snapshot.campaign
    if campaign.state is not CampaignState.ACTIVE:
        lines.append(f"the campaign is {campaign.state}: {campaign.reason or 'nothing new is started'}")
    if plan.closed:
        lines.append(f"nothing is submitted now: {plan.closed}")
    said = len(lines)
    if plan.looks:
        lines.append("first: ask the butler which tracts the visits overlap; after that there may be more")
    lines += _folded([_decided(plan, decision) for decision in plan.decisions], each=each)
    if len(lines) == said:
        lines.append("nothing to do")
    lines += _to_submit(plan)
    lines += _folded(list(_staying(plan)), each=each)
    lines += memory_lines(plan.memory)
    if plan.prices:
        lines.append(f"to make anew: {_groups(len(plan.prices))}, {sum_of(plan.prices).in_words()}")
    return lines


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A line of the plan: of which step, what is done or stays, and the line itself."""

    step: str
    what: str
    words: str


def _folded(entries: Sequence[_Entry], *, each: int | None) -> list[str]:
    """Return lines; of more than so many of a step with the same to do, the first ones and how many more."""
    number = Counter((entry.step, entry.what) for entry in entries)
    seen: Counter[tuple[str, str]] = Counter()
    lines = []
    for entry in entries:
        kind = entry.step, entry.what
        seen[kind] += 1
        # A line that says "1 more" takes as much room as the one that it stands for.
        if each is None or seen[kind] <= each or number[kind] == each + 1:
            lines.append(entry.words)
        elif seen[kind] == each + 1:
            lines.append(f"{entry.step}: {number[kind] - each:,} more groups: {entry.what}")
    return lines


def _decided(plan: Plan, decision: Decision) -> _Entry:
    what, reason = describe(decision)
    step, key = _place(decision)
    place = step if key is None else f"{step}/{key}"
    price = plan.prices.get(place) if isinstance(decision, Again) and decision.redo else None
    expected = _expected(plan, decision)
    words = price.in_words() if price is not None else expected.in_words() if expected is not None else ""
    cost = f"; {words}" if words else ""
    return _Entry(step=step, what=what, words=f"{place or 'storm guard'}: {what} ({reason}{cost})")


def _staying(plan: Plan) -> Iterator[_Entry]:
    """Yield the groups with which nothing is done, and why."""
    of_all = AddGroups | PauseCampaign
    planned = {decision.group.id for decision in plan.decisions if not isinstance(decision, of_all)}
    for group in plan.snapshot.groups:
        if group.id not in planned and group.state is not GroupState.DONE:
            why = f"held: {group.hold}" if group.hold else plan.reasons.get(group.id, group.reason)
            what = f"stays {group.state.value.replace('_', ' ')}"
            words = f"{group.step}/{group.key}: {what}{f' ({why})' if why else ''}"
            yield _Entry(step=group.step, what=what, words=words)


def _to_submit(plan: Plan) -> list[str]:
    """Return a line with what all submissions of a plan are expected to cost, where there are several."""
    asked = [
        plan.expected[entry.group.id]
        for entry in plan.decisions
        if isinstance(entry, Submit) and entry.group.id in plan.expected
    ]
    if len(asked) <= 1:
        return []
    known = [found for found in asked if found.quanta is not None]
    whole = Expected(
        quanta=sum(found.quanta or 0 for found in known),
        core_hours=sum(found.core_hours or 0.0 for found in known),
        gb_hours=sum(found.gb_hours or 0.0 for found in known),
        hours=None,
        estimated=any(found.estimated for found in known),
    )
    unknown = len(asked) - sum(found.core_hours is not None for found in asked)
    words = [whole.in_words()] if known else []
    words += [f"the cost of {unknown} of them is not known yet"] if unknown else []
    return [f"to submit: {_groups(len(asked))}, {'; '.join(words)}"]


def sum_of(prices: Mapping[str, Price]) -> Price:
    """Return what all of it costs."""
    return sum(prices.values(), start=Price())


def _groups(number: int) -> str:
    return "1 group" if number == 1 else f"{number} groups"
