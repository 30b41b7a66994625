"""From the campaign file to groups, and from groups to what each of them waits for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from merian_campaign.domain.gates import Gates, Need, Needs
from merian_campaign.domain.overlap_refresh import settled, tracts_of
from merian_campaign.domain.overlaps import Overlaps
from merian_campaign.domain.records import NewGroup
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.snapshot import GroupView, Snapshot
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.grouping import Discover, expand
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


def plan_groups(
    spec: CampaignSpec, *, existing: tuple[GroupView, ...] = (), overlaps: Overlaps | None = None
) -> GroupPlan:
    """Expand a campaign file to groups, keeping the groups that exist.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    existing : `tuple` [`GroupView`, ...], optional
        Its groups so far. A tract that was discovered once stays.
    overlaps : `Overlaps`, optional
        What tracts are discovered from.
    """
    tracts = tracts_of(spec, overlaps)
    by_step: dict[str, list[GroupView]] = defaultdict(list)
    for group in existing:
        by_step[group.step].append(group)
    wanted: list[NewGroup] = []
    for position, step in enumerate(spec.steps):
        here = tuple((group.key, group.selection) for group in by_step[step.name])
        chosen = tracts
        if spec.discovers(step):
            known = {tract for group in by_step[step.name] for tract in group.selection.values}
            chosen = tuple(sorted(known.union(tracts)))
        groups = (
            expand(step.group_by, tracts=chosen, existing=here)
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


def discovered_groups(spec: CampaignSpec, snapshot: Snapshot) -> tuple[NewGroup, ...]:
    """Return the groups of discovered tracts that do not exist yet.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    snapshot : `Snapshot`
        Its groups `in_force`.
    """
    overlaps = settled(spec, snapshot)
    if overlaps is None or not isinstance(spec.tracts, Discover):
        return ()
    names = {(group.step, group.key) for group in snapshot.groups}
    wanted = plan_groups(spec, existing=snapshot.groups, overlaps=overlaps).wanted
    return tuple(
        group
        for group in wanted
        if spec.discovers(spec.step(group.step)) and (group.step, group.key) not in names
    )


@dataclass(frozen=True, kw_only=True)
class GroupReadiness:
    """Whether a group may start, and in words what it waits for."""

    state: GroupState
    reason: str


def in_force(spec: CampaignSpec, snapshot: Snapshot) -> Snapshot:
    """Return the snapshot without the groups that the file has no more: nothing waits for those."""
    wanted = {(group.step, group.key) for group in plan_groups(spec, existing=snapshot.groups).wanted}
    kept = tuple(group for group in snapshot.groups if (group.step, group.key) in wanted)
    return replace(snapshot, groups=kept)


def readiness(spec: CampaignSpec, snapshot: Snapshot, group: GroupView) -> GroupReadiness:
    """Return WAITING, BLOCKED or READY for a group that has not started; see `Gates` for many groups."""
    return judge_needs(Gates(spec=spec, snapshot=snapshot).needs(group))


def reasons(spec: CampaignSpec, snapshot: Snapshot) -> Mapping[int, str]:
    """Return, by id, what the groups that have not started wait for, in words."""
    current = in_force(spec, snapshot)
    gates = Gates(spec=spec, snapshot=current)
    states = {GroupState.WAITING, GroupState.BLOCKED}
    return {
        group.id: judge_needs(gates.needs(group)).reason for group in current.groups if group.state in states
    }


def judge_needs(needs: Needs) -> GroupReadiness:
    """Return WAITING, BLOCKED or READY from what a group needs, with the reason in words."""
    waiting: dict[str, list[Need]] = {}
    blocked: dict[str, list[Need]] = {}
    for need in needs.groups:
        state = need.group.state
        if state is GroupState.DONE:
            if _incomplete(need):
                blocked.setdefault(need.of, []).append(need)
        elif state in _STUCK:
            blocked.setdefault(need.of, []).append(need)
        else:
            waiting.setdefault(need.of, []).append(need)
    if blocked:
        return GroupReadiness(state=GroupState.BLOCKED, reason=f"needs {_in_words(blocked)}")
    if waiting or needs.undiscovered:
        parts = ([f"waits for {_in_words(waiting)}"] if waiting else []) + list(needs.undiscovered)
        return GroupReadiness(state=GroupState.WAITING, reason="; ".join(parts))
    return GroupReadiness(state=GroupState.READY, reason="all it needs is done")


_STUCK = frozenset({GroupState.NEEDS_REVIEW, GroupState.BLOCKED, GroupState.CANCELLED})


def _incomplete(need: Need) -> bool:
    group = need.group
    return need.gate.require == "complete" and group.counts.open > 0 and not group.accepted


def _in_words(needs: Mapping[str, list[Need]]) -> str:
    return "; ".join(f"{_few(found)}{of}" for of, found in needs.items())


def _few(needs: list[Need], *, at_most: int = 3) -> str:
    shown = ", ".join(_word(need) for need in needs[:at_most])
    return shown if len(needs) <= at_most else f"{shown} and {len(needs) - at_most} more"


def _word(need: Need) -> str:
    group = need.group
    name = f"{group.step}/{group.key}"
    if group.state is GroupState.DONE:
        return f"{name} is done with {group.counts.open} quanta lost, and the gate asks for all"
    return f"{name} ({group.state})"
