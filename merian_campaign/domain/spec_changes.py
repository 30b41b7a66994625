"""What a new revision of a campaign file changes, for which groups, and what it cannot change any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from merian_campaign.domain.plan import GroupPlan
from merian_campaign.domain.snapshot import GroupView
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.states import GroupState
from merian_campaign.domain.text import one_line

__all__ = ["changes"]


def changes(
    old: CampaignSpec, new: CampaignSpec, *, groups: Sequence[GroupView], plan: GroupPlan
) -> tuple[str, ...]:
    """Return in words, a line each, what becomes different; empty when nothing does.

    Parameters
    ----------
    old, new : `CampaignSpec`
        As applied, and as the file is now.
    groups : sequence of `GroupView`
        The groups there are.
    plan : `GroupPlan`
        What the new file makes of them.
    """
    lines = [
        f"{name}: {_shown(getattr(old, name))} -> {_shown(getattr(new, name))}{_of_all(groups)}"
        for name in CampaignSpec.model_fields
        if name != "steps" and getattr(old, name) != getattr(new, name)
    ]
    before = {step.name: step for step in old.steps}
    for step in new.steps:
        if step.name not in before:
            lines.append(f"steps[{step.name}]: new")
        else:
            here = [group for group in groups if group.step == step.name]
            lines += _of_step(before[step.name], step, here)
    kept = {step.name for step in new.steps}
    lines += [f"steps[{name}]: gone; what ran of it is kept" for name in before if name not in kept]
    if [name for name in before if name in kept] != [step.name for step in new.steps if step.name in before]:
        lines.append("steps: another order")
    known = {(group.step, group.key) for group in groups}
    fresh = [f"{group.step}/{group.key}" for group in plan.wanted if (group.step, group.key) not in known]
    gone = [f"{group.step}/{group.key}" for group in plan.dropped]
    orphans = [f"{group.step}/{group.key}" for group in plan.orphaned]
    for words, names in (
        ("new", fresh),
        ("dropped, none of them ever ran", gone),
        ("no longer in the file, kept because they ran", orphans),
    ):
        if names:
            lines.append(f"{len(names)} groups {words}: {_few(names)}")
    return tuple(lines)


def _of_step(
    old: BpsStep | ActionStep, new: BpsStep | ActionStep, groups: Sequence[GroupView]
) -> Iterator[str]:
    fields = dict.fromkeys((*type(old).model_fields, *type(new).model_fields))
    for name in fields:
        one, other = getattr(old, name, None), getattr(new, name, None)
        if one != other:
            yield f"steps[{new.name}].{name}: {_shown(one)} -> {_shown(other)}{_of_all(groups)}"


def _of_all(groups: Sequence[GroupView]) -> str:
    """Say for how many groups it counts, and for how many it comes too late."""
    done = sum(group.state is GroupState.DONE for group in groups)
    live = sum(group.live is not None for group in groups)
    open_ = len(groups) - done - live
    parts = [f"for the next submission of {open_} groups"] if open_ else []
    if live:
        parts.append(f"{live} under way go on as they began")
    if done:
        parts.append(f"{done} done keep what they ran with (`retry` runs what is open of them)")
    return f"; {'; '.join(parts)}" if parts else ""


def _shown(value: Any) -> str:  # noqa: ANN401 - any value of a model
    if hasattr(value, "model_dump"):
        value = value.model_dump(exclude_defaults=True)
    return one_line(repr(value), limit=120)


def _few(names: Sequence[str], *, at_most: int = 5) -> str:
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
