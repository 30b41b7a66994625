"""From the campaign file to groups, and from groups to what each of them waits for."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from merian_campaign.domain.records import NewGroup
from merian_campaign.domain.snapshot import GroupView, Selection, Snapshot
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.grouping import dimension_of, expand
from merian_campaign.domain.spec.steps import After
from merian_campaign.domain.states import GroupState


@dataclass(frozen=True, kw_only=True)
class GroupPlan:
    """What applying a campaign file would do to its groups.

    Parameters
    ----------
    wanted : `tuple` [`NewGroup`, ...]
        All groups of the file, in step order; those that exist keep what they select.
    dropped : `tuple` [`GroupView`, ...]
        Groups the file no longer has and that never ran.
    orphaned : `tuple` [`GroupView`, ...]
        Groups the file no longer has but that did run; they are kept.
    """

    wanted: tuple[NewGroup, ...]
    dropped: tuple[GroupView, ...]
    orphaned: tuple[GroupView, ...]


def plan_groups(spec: CampaignSpec, *, existing: tuple[GroupView, ...] = ()) -> GroupPlan:
    """Expand a campaign file to groups, keeping the groups that exist."""
    by_step: dict[str, list[GroupView]] = defaultdict(list)
    for group in existing:
        by_step[group.step].append(group)
    wanted: list[NewGroup] = []
    for position, step in enumerate(spec.steps):
        here = tuple((group.key, group.selection) for group in by_step[step.name])
        groups = (
            expand(step.group_by, tracts=spec.tracts, existing=here)
            if isinstance(step, BpsStep)
            else (("all", Selection()),)
        )
        wanted.extend(
            NewGroup(step=step.name, key=key, selection=selection, ordinal=position)
            for key, selection in groups
        )
    names = {(group.step, group.key) for group in wanted}
    gone = [group for group in existing if (group.step, group.key) not in names]
    return GroupPlan(
        wanted=tuple(wanted),
        dropped=tuple(group for group in gone if not group.submissions),
        orphaned=tuple(group for group in gone if group.submissions),
    )


def required_groups(
    spec: CampaignSpec, snapshot: Snapshot, group: GroupView
) -> tuple[tuple[After, GroupView], ...]:
    """Return the groups that must be done before ``group``, each with its gate."""
    if group.step not in {step.name for step in spec.steps}:
        return ()
    found: list[tuple[After, GroupView]] = []
    for gate in spec.step(group.step).after:
        candidates = [other for other in snapshot.groups if other.step == gate.step]
        if gate.match == "auto" and _by_tract(spec, group.step) and _by_tract(spec, gate.step):
            candidates = _of_the_same_tracts(group, candidates)
        found.extend((gate, other) for other in candidates)
    return tuple(found)


def _of_the_same_tracts(group: GroupView, candidates: list[GroupView]) -> list[GroupView]:
    """Return the candidates that share a tract; all of them when some tract of the group has none there."""
    mine = set(group.selection.values)
    shared = [other for other in candidates if mine.intersection(other.selection.values)]
    covered = mine.issubset({value for other in shared for value in other.selection.values})
    return shared if covered else candidates


def _by_tract(spec: CampaignSpec, name: str) -> bool:
    step = spec.step(name)
    return isinstance(step, BpsStep) and dimension_of(step.group_by) == "tract"


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """Whether a group may start, and in words what it waits for."""

    state: GroupState
    reason: str


def in_force(spec: CampaignSpec, snapshot: Snapshot) -> Snapshot:
    """Return the snapshot without the groups that the file has no more: nothing waits for those."""
    wanted = {(group.step, group.key) for group in plan_groups(spec, existing=snapshot.groups).wanted}
    kept = tuple(group for group in snapshot.groups if (group.step, group.key) in wanted)
    return replace(snapshot, groups=kept)


def readiness(spec: CampaignSpec, snapshot: Snapshot, group: GroupView) -> Readiness:
    """Return WAITING, BLOCKED or READY for a group that has not started."""
    waiting: list[str] = []
    blocked: list[str] = []
    for gate, other in required_groups(spec, snapshot, group):
        name = f"{other.step}/{other.key}"
        if other.state is GroupState.DONE:
            if gate.require == "complete" and other.counts.open and not other.accepted:
                blocked.append(
                    f"{name} is done with {other.counts.open} quanta lost, and the gate asks for all"
                )
        elif other.state in {GroupState.NEEDS_REVIEW, GroupState.BLOCKED, GroupState.CANCELLED}:
            blocked.append(f"{name} ({other.state})")
        else:
            waiting.append(f"{name} ({other.state})")
    if blocked:
        return Readiness(state=GroupState.BLOCKED, reason=f"needs {_few(blocked)}")
    if waiting:
        return Readiness(state=GroupState.WAITING, reason=f"waits for {_few(waiting)}")
    return Readiness(state=GroupState.READY, reason="all it needs is done")


def _few(names: list[str], *, at_most: int = 3) -> str:
    shown = ", ".join(names[:at_most])
    return shown if len(names) <= at_most else f"{shown} and {len(names) - at_most} more"
