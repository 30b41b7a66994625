"""From the campaign file to groups, and from groups to what each of them waits for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from merian_campaign.domain.readiness.complete_nights import NO_ARRIVALS, Arrivals
from merian_campaign.domain.readiness.gates import Need, Needs, Standing, by_state
from merian_campaign.domain.readiness.new_data import NewData
from merian_campaign.domain.readiness.overlap_refresh import nights_of, settled, tracts_of
from merian_campaign.domain.record.overlaps import Overlaps
from merian_campaign.domain.record.records import NewGroup
from merian_campaign.domain.record.snapshot import GroupView, Snapshot
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.grouping import expand
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
        nights = nights_of(spec, step, overlaps)
        if spec.discovers_nights(step):
            known_nights = {value for group in by_step[step.name] for value in group.selection.values}
            nights = (*sorted(known_nights), *(night for night in nights if night not in known_nights))
        groups = (
            expand(step.group_by, tracts=chosen, existing=here, nights=nights)
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
    """Return the groups of discovered tracts and nights that do not exist yet.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    snapshot : `Snapshot`
        Its groups `in_force`.
    """
    overlaps = settled(spec, snapshot)
    discovering = {step.name for step in spec.steps if spec.discovers(step) or spec.discovers_nights(step)}
    if overlaps is None or not discovering:
        return ()
    names = {(group.step, group.key) for group in snapshot.groups}
    wanted = plan_groups(spec, existing=snapshot.groups, overlaps=overlaps).wanted
    return tuple(
        group for group in wanted if group.step in discovering and (group.step, group.key) not in names
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


def taken_out(spec: CampaignSpec, snapshot: Snapshot, current: Snapshot) -> frozenset[int]:
    """Return the ids of groups that readers see though the file has no more what they are of.

    Where the values of a group are in other groups now, those take its place when they are done.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    snapshot, current : `Snapshot`
        All its groups, and those `in_force`.
    """
    cuts: dict[str, set[str]] = defaultdict(set)
    values: dict[str, set[int]] = defaultdict(set)
    for group in current.groups:
        cuts[group.step].add(group.selection.dimension)
        values[group.step].update(group.selection.values)
    kept = {group.id for group in current.groups}
    steps = {step.name for step in spec.steps if isinstance(step, BpsStep)}
    return frozenset(
        group.id
        for group in snapshot.groups
        if group.id not in kept
        and group.step in steps
        and group.published
        and any(entry.run_collection for entry in group.submissions)
        and group.live is None
        and cuts[group.step] <= {group.selection.dimension}
        and group.selection.dimension
        and values[group.step].isdisjoint(group.selection.values)
    )


def reasons(
    spec: CampaignSpec, snapshot: Snapshot, *, now: datetime, arrivals: Arrivals = NO_ARRIVALS
) -> Mapping[int, str]:
    """Return, by id, what the groups that have not started wait for, in words."""
    new = NewData(spec=spec, snapshot=in_force(spec, snapshot), arrivals=arrivals, now=now)
    states = {GroupState.WAITING, GroupState.BLOCKED}
    return {
        group.id: what_it_waits_for(new, group).reason
        for group in new.snapshot.groups
        if group.state in states
    }


def what_it_waits_for(new: NewData, group: GroupView) -> GroupReadiness:
    """Return WAITING, BLOCKED or READY for a group that has not started, for the data that there are now."""
    if new.selected.lacks_data(group):
        return GroupReadiness(state=GroupState.WAITING, reason=new.selected.why_no_data(group))
    return judge_needs(new.gates.needs(group), new=new, of=group)


def judge_needs(needs: Needs, *, new: NewData | None = None, of: GroupView | None = None) -> GroupReadiness:
    """Return WAITING, BLOCKED or READY from what a group needs, with the reason in words.

    Parameters
    ----------
    needs : `Needs`
        What has to be done before.
    new : `NewData`, optional
        What is new: what is done only for older data does not count as done.
    of : `GroupView`, optional
        The group.
    """
    judged = _judge(needs.groups) if new is None else new.once(needs.groups, partial(_judge, new=new))
    waiting = judged.waiting
    if judged.blocked:
        return GroupReadiness(state=GroupState.BLOCKED, reason=f"needs {_in_words(judged.blocked, _word)}")
    if new is not None and of is not None:
        late = {id(need) for need in judged.done if not new.satisfies(need, of=of)}
        if late:
            waiting = _by_words(
                need
                for need in needs.groups
                if id(need) in late or new.standing(need.group) is Standing.AHEAD
            )
    if waiting or needs.undiscovered:
        words = [f"waits for {_in_words(waiting, partial(_awaited, new))}"] if waiting else []
        return GroupReadiness(state=GroupState.WAITING, reason="; ".join([*words, *needs.undiscovered]))
    return GroupReadiness(state=GroupState.READY, reason="all it needs is done")


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """Needs by what they mean to whoever waits for them; of those done, that differs from one to another."""

    waiting: Mapping[str, list[Need]]
    blocked: Mapping[str, list[Need]]
    done: tuple[Need, ...]


def _judge(needs: tuple[Need, ...], *, new: NewData | None = None) -> _Judged:
    standing_of = by_state if new is None else new.standing
    ahead, blocked, done = [], [], []
    for need in needs:
        standing = standing_of(need.group)
        if standing is Standing.ABSENT:
            continue
        if standing is Standing.AHEAD:
            ahead.append(need)
        elif standing is Standing.STUCK or _incomplete(need):
            blocked.append(need)
        elif standing is Standing.DONE:
            done.append(need)
    return _Judged(waiting=_by_words(ahead), blocked=_by_words(blocked), done=tuple(done))


def _by_words(needs: Iterable[Need]) -> Mapping[str, list[Need]]:
    found: dict[str, list[Need]] = defaultdict(list)
    for need in needs:
        found[need.of].append(need)
    return found


def _incomplete(need: Need) -> bool:
    if need.gate.require != "complete" or need.group.accepted:
        return False
    return need.group.counts.open > 0 or need.group.state is GroupState.NEEDS_REVIEW


def _in_words(needs: Mapping[str, list[Need]], word: Callable[[Need], str]) -> str:
    return "; ".join(f"{_few(found, word)}{of}" for of, found in needs.items())


def _few(needs: list[Need], word: Callable[[Need], str], *, at_most: int = 3) -> str:
    shown = ", ".join(map(word, needs[:at_most]))
    return shown if len(needs) <= at_most else f"{shown} and {len(needs) - at_most} more"


def _awaited(new: NewData | None, need: Need) -> str:
    """Say what is waited for: one that is not done, or is so for older data only."""
    if new is None or new.standing(need.group) is not Standing.DONE:
        return _word(need)
    return f"{_name(need)} ({new.why_not(need.group)})"


def _name(need: Need) -> str:
    return f"{need.group.step}/{need.group.key}"


def _word(need: Need) -> str:
    group = need.group
    if group.state is GroupState.DONE:
        return f"{_name(need)} is done with {group.counts.open} quanta lost, and the gate asks for all"
    return f"{_name(need)} ({group.state})"
