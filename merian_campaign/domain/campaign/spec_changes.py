"""What a new revision of a campaign file changes, for which groups, and what it cannot change any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from merian_campaign.domain.campaign.plan import GroupPlan
from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.states import GroupState

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
        f"{words}{_of_all(groups)}"
        for name in CampaignSpec.model_fields
        if name != "steps"
        for words in _differences(name, getattr(old, name), getattr(new, name))
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
            noun = "group" if len(names) == 1 else "groups"
            lines.append(f"{len(names)} {noun} {words}: {_few(names)}")
    return tuple(lines)


def _of_step(
    old: BpsStep | ActionStep, new: BpsStep | ActionStep, groups: Sequence[GroupView]
) -> Iterator[str]:
    fields = dict.fromkeys((*type(old).model_fields, *type(new).model_fields))
    for name in fields:
        for words in _differences(
            f"steps[{new.name}].{name}", getattr(old, name, None), getattr(new, name, None)
        ):
            yield f"{words}{_of_all(groups)}"


def _differences(name: str, one: Any, other: Any) -> Iterator[str]:  # noqa: ANN401 - any values of a model
    """Yield in words, key by key, what is different of two values."""
    if one == other:
        return
    if isinstance(one, BaseModel) and type(one) is type(other):
        one, other = (
            {key: getattr(entry, key) for key in type(entry).model_fields} for entry in (one, other)
        )
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*one, *other]):
            yield from _differences(f"{name}.{key}", one.get(key), other.get(key))
        return
    if isinstance(one, tuple) and isinstance(other, tuple):
        more = [_shown(entry) for entry in other if entry not in one]
        less = [_shown(entry) for entry in one if entry not in other]
        if more or less:
            words = [f"{verb} {_few(found)}" for verb, found in (("gets", more), ("loses", less)) if found]
            yield f"{name}: {'; '.join(words)}"
            return
    yield f"{name}: {_shown(one)} -> {_shown(other)}"


def _of_all(groups: Sequence[GroupView]) -> str:
    """Say for how many groups it counts, and for how many it comes too late."""
    done = sum(group.state is GroupState.DONE for group in groups)
    live = sum(group.live is not None for group in groups)
    open_ = len(groups) - done - live
    parts = [f"for the next submission of {open_} {'group' if open_ == 1 else 'groups'}"] if open_ else []
    if live:
        parts.append(f"{live} under way go on as they began")
    if done:
        parts.append(f"{done} done keep what they ran with (`retry` runs what is open of them)")
    return f"; {'; '.join(parts)}" if parts else ""


def _shown(value: Any) -> str:  # noqa: ANN401 - any value of a model
    if value is None:
        return "not set"
    if hasattr(value, "model_dump"):
        value = value.model_dump(exclude_defaults=True)
    return one_line(repr(value), limit=120)


def _few(names: Sequence[str], *, at_most: int = 5) -> str:
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
