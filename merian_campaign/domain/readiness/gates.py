"""Which groups have to be done before a group: per overlap of tracts, nights, exposures and visits.

A gate between two steps that are cut alike joins equal values. Between tracts and nights (or exposures, or
visits) it joins what overlaps on the sky, as far as that is known; what is not known is waited for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import chain

from merian_campaign.domain.readiness.overlap_refresh import (
    cut_of,
    discovered_values,
    nights_of,
    settled,
    tracts_of,
)
from merian_campaign.domain.record.snapshot import GroupView, Snapshot
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.spec.steps import After
from merian_campaign.domain.states import GroupState, SubmissionOutcome


@dataclass(frozen=True, kw_only=True)
class Need:
    """One group that has to be done first.

    Parameters
    ----------
    gate : `After`
        The gate that asks for it.
    group : `GroupView`
        The group.
    of : `str`
        How it was chosen among the groups of its step, in words to follow its name; empty for all.
    """

    gate: After
    group: GroupView
    of: str = ""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """All that has to be done before a group.

    Parameters
    ----------
    groups : `tuple` [`Need`, ...]
        Groups.
    undiscovered : `tuple` [`str`, ...]
        Why there may be more of them later, in words.
    """

    groups: tuple[Need, ...] = ()
    undiscovered: tuple[str, ...] = ()


class Standing(StrEnum):
    """What a group means to those that wait for it, whoever they are."""

    ABSENT = "absent"
    """There is nothing of it to wait for."""

    FRESH = "fresh"
    """Done, with nothing new for anybody."""

    DONE = "done"
    """Done; whether for the data that are there now differs from one that waits to another."""

    STUCK = "stuck"
    """A person is needed first."""

    AHEAD = "ahead"
    """Still to be done."""


_STUCK = frozenset({GroupState.NEEDS_REVIEW, GroupState.BLOCKED, GroupState.CANCELLED})


def by_state(group: GroupView) -> Standing:
    """Return what a group means to those that wait for it, whatever is new."""
    if group.state is GroupState.DONE:
        return Standing.DONE
    return Standing.STUCK if group.state in _STUCK else Standing.AHEAD


@dataclass
class _Found:
    parts: list[list[Need]] = field(default_factory=list)
    own: bool = False
    """Whether any of them is of this group alone."""

    undiscovered: dict[str, str] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)
    behind: set[str] = field(default_factory=set)


def _unique(parts: list[list[Need]]) -> tuple[Need, ...]:
    """Return needs in order, each group once a gate's demand, as it was first named."""
    if len(parts) == 1:
        return tuple(parts[0])
    found: dict[tuple[int, str], Need] = {}
    for need in chain.from_iterable(parts):
        found.setdefault((need.group.id, need.gate.require), need)
    return tuple(found.values())


@dataclass(frozen=True, kw_only=True)
class _Sight:
    """What a selection of nights, exposures or visits has to do with."""

    exposures: frozenset[int]
    tracts: frozenset[int]


@dataclass
class _Index:
    """The groups of a step by what they have to do with; those of which it is not known."""

    groups: list[GroupView]
    tracts: dict[int, list[int]] = field(default_factory=dict)
    exposures: dict[int, list[int]] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    words: str = ""

    def add(self, at: int, selection: Selection, sight: _Sight | None) -> None:
        """Take in the group at one place of the list."""
        by_tract = selection.dimension == "tract"
        self.words = " of its tracts" if by_tract else ""
        if sight is None and not by_tract:
            self.unknown.add(at)
        for tract in selection.values if by_tract else sight.tracts if sight is not None else ():
            self.tracts.setdefault(tract, []).append(at)
        for exposure in sight.exposures if sight is not None else ():
            self.exposures.setdefault(exposure, []).append(at)

    def overlapping(self, selection: Selection, sight: _Sight | None) -> list[tuple[GroupView, bool]]:
        """Return the groups that overlap a selection, and those of which that is not known, in order."""
        places = set(self.unknown)
        # Without a sight it is a selection of tracts: only those are asked for unseen.
        tracts = selection.values if sight is None else sight.tracts
        if sight is None or not self.exposures:
            places.update(at for tract in tracts for at in self.tracts.get(tract, ()))
        else:
            places.update(at for exposure in sight.exposures for at in self.exposures.get(exposure, ()))
        return [(self.groups[at], at in self.unknown) for at in sorted(places)]


_UNCLEAR = ", as long as it is not known which of these it overlaps"
_UNTOUCHED = ", as no visit overlaps it so far"
_UNDEFINED = ", whose visits are not defined yet"


class Gates:
    """The gates of a campaign at one moment.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    snapshot : `Snapshot`
        Its groups, and which tracts its exposures overlap.
    """

    def __init__(self, *, spec: CampaignSpec, snapshot: Snapshot) -> None:
        self._spec = spec
        self._overlaps = settled(spec, snapshot)
        self._cuts = {step.name: cut_of(spec, step.name) for step in spec.steps}
        self._groups: dict[str, list[GroupView]] = defaultdict(list)
        for group in snapshot.groups:
            self._groups[group.step].append(group)
        self._sights: dict[Selection, _Sight | None] = {}
        self._indices: dict[str, _Index] = {}
        self._whole: dict[tuple[str, str, str], list[Need]] = {}
        self._united: dict[tuple[int, ...], tuple[Need, ...]] = {}

    def needs(self, group: GroupView) -> Needs:
        """Return what has to be done before a group; nothing for one of a step that is no more."""
        if group.step not in self._cuts:
            return Needs()
        found = _Found()
        for gate in self._spec.step(group.step).after:
            self._through(gate, group, found)
        return Needs(
            groups=_unique(found.parts) if found.own else self._unite(found.parts),
            undiscovered=tuple(
                f"waits for {step}: {words}" for words, step in found.undiscovered.items() if words
            ),
        )

    def _unite(self, parts: list[list[Need]]) -> tuple[Need, ...]:
        """Return whole steps as one: the same value for all groups that wait for them, which may be many."""
        key = tuple(map(id, parts))
        if key not in self._united:
            self._united[key] = _unique(parts)
        return self._united[key]

    def _through(self, gate: After, group: GroupView, found: _Found) -> None:
        mine, theirs = self._cuts[group.step], self._cuts[gate.step]
        if gate.match == "all" or not mine or not theirs:
            self._all(gate, group, found)
        elif mine == theirs:
            self._alike(gate, group, found)
        else:
            self._overlapping(gate, group, found)

    def _all(self, gate: After, group: GroupView, found: _Found, *, of: str = "") -> None:
        # The same for every group that waits for all of it: made once.
        key = (gate.step, gate.require, of)
        if key not in self._whole:
            self._whole[key] = [Need(gate=gate, group=other, of=of) for other in self._groups[gate.step]]
        found.parts.append(self._whole[key])
        found.undiscovered.setdefault(self._undiscovered(gate.step), gate.step)
        self._behind(gate.step, group, found)

    def _behind(self, step: str, group: GroupView, found: _Found) -> None:
        """Take besides what the groups of a step wait for in part only: a barrier is one for what is behind.

        Else what waits for all tracts would forget a night off them, for which no tract waits. A barrier that
        is not cut and is done was so before the group's own data came: they are looked for behind it.
        """
        if step in found.behind:
            return
        found.behind.add(step)
        for before in self._spec.step(step).after:
            mine, theirs = self._cuts[step], self._cuts[before.step]
            if not mine and self._is_done(step):
                self._through(before, group, found)
            if before.match == "all" or not mine or not theirs:
                continue  # each of its groups waits for all of that anyway
            if mine == theirs:
                self._behind(before.step, group, found)
            else:
                self._all(before, group, found)

    def _is_done(self, step: str) -> bool:
        return all(
            group.state is GroupState.DONE
            or any(one.outcome is SubmissionOutcome.SUCCEEDED for one in group.submissions)
            for group in self._groups[step]
        )

    def _alike(self, gate: After, group: GroupView, found: _Found) -> None:
        """Take the groups that share a value; all of them when some value of the group has none there."""
        places = self._places[gate.step]
        if all(value in places for value in group.selection.values):
            shared = sorted({at for value in group.selection.values for at in places[value]})
            groups = self._groups[gate.step]
            found.parts.append([Need(gate=gate, group=groups[at]) for at in shared])
            found.own = True
        else:
            self._all(gate, group, found)

    def _overlapping(self, gate: After, group: GroupView, found: _Found) -> None:
        """Take the groups that overlap, and those of which it is not known.

        For visits that no group of the gate's step has to do with, what that step waits for is waited for
        in its place: a night off all tracts still needs its own single frames.
        """
        if self._overlaps is None or not self._is_known(group.selection):
            untouched = self._overlaps is not None and group.selection.dimension == "tract"
            self._all(gate, group, found, of=_UNTOUCHED if untouched else _UNCLEAR)
            return
        index = self._index(gate.step)
        words = " of its visits" if group.selection.dimension == "tract" else ""
        chosen = [
            Need(gate=gate, group=other, of=_UNDEFINED if unknown else index.words or words)
            for other, unknown in index.overlapping(group.selection, self._sight(group.selection))
        ]
        found.parts.append(chosen)
        found.own = True
        missing = self._missing_tracts(gate.step, group.selection) or self._missing_nights(
            gate.step, group.selection
        )
        if missing:
            found.undiscovered.setdefault(missing, gate.step)
        elif gate.step not in found.passed and (not chosen or self._leaves_out(gate.step, group.selection)):
            found.passed.add(gate.step)
            for before in self._spec.step(gate.step).after:
                self._through(before, group, found)

    def _leaves_out(self, step: str, selection: Selection) -> bool:
        """Say whether a selection of nights, exposures or visits has visits that no group of a step has."""
        assert self._overlaps is not None
        if selection.dimension == "tract":
            return False
        index = self._index(step)
        by_tract = self._cuts[step] == "tract"
        return any(
            row.visits
            and not (index.tracts.keys() & row.tracts if by_tract else row.exposure in index.exposures)
            for row in self._overlaps.rows(selection) or ()
            if row.tracts is not None
        )

    def _is_known(self, selection: Selection) -> bool:
        """Say whether all of a selection is known.

        A tract that no visit overlaps is not: its data may be still to come.
        """
        assert self._overlaps is not None
        if selection.dimension == "tract":
            return self._overlaps.touched.issuperset(selection.values)
        return self._sight(selection) is not None

    def _index(self, step: str) -> _Index:
        if step not in self._indices:
            index = self._indices[step] = _Index(groups=self._groups[step])
            for at, group in enumerate(index.groups):
                index.add(at, group.selection, self._sight(group.selection))
        return self._indices[step]

    def _sight(self, selection: Selection) -> _Sight | None:
        """Return what is known of a selection of nights, exposures or visits; `None` when not all is."""
        assert self._overlaps is not None
        if selection.dimension == "tract":
            return None
        if selection not in self._sights:
            rows = self._overlaps.rows(selection)
            self._sights[selection] = (
                None
                if rows is None
                else _Sight(
                    exposures=frozenset(row.exposure for row in rows),
                    tracts=frozenset(tract for row in rows for tract in row.tracts or ()),
                )
            )
        return self._sights[selection]

    def _undiscovered(self, step: str) -> str:
        """Say why a step may have more groups later; empty when it has all."""
        if self._spec.discovers_nights(self._spec.step(step)):
            if self._overlaps is None:
                return "its nights are discovered once there are exposures"
            return self._being_added(step, self._nights[step], what="nights")
        if not self._spec.discovers(self._spec.step(step)):
            return ""
        if self._overlaps is None:
            return "its tracts are discovered once visits are defined"
        wanted = self._tracts
        if not wanted and not self._groups[step]:
            return f"no tract was discovered, {self._overlaps.visits} visits were seen"
        return self._being_added(step, wanted)

    def _missing_tracts(self, step: str, selection: Selection) -> str:
        """Say that discovered tracts of a selection have no group yet."""
        if not self._spec.discovers(self._spec.step(step)):
            return ""
        seen = self._sight(selection)
        return "" if seen is None else self._being_added(step, seen.tracts & self._tracts)

    def _missing_nights(self, step: str, selection: Selection) -> str:
        """Say that discovered nights of a selection have no group yet."""
        if not self._spec.discovers_nights(self._spec.step(step)) or self._overlaps is None:
            return ""
        if selection.dimension == "tract":
            rows = tuple(row for tract in selection.values for row in self._overlaps.by_tract.get(tract, ()))
        else:
            rows = self._overlaps.rows(selection) or ()
        dimension = self._cuts[step]
        nights = frozenset(
            value for row in rows if step in row.steps for value in discovered_values(dimension, row)
        )
        return self._being_added(step, nights & self._nights[step], what="nights")

    # The same for all groups of a step, as are the two after it: made once.
    @cached_property
    def _nights(self) -> Mapping[str, frozenset[int]]:
        return {
            step.name: frozenset(nights_of(self._spec, step, self._overlaps)) for step in self._spec.steps
        }

    @cached_property
    def _tracts(self) -> frozenset[int]:
        return frozenset(tracts_of(self._spec, self._overlaps))

    @cached_property
    def _places(self) -> Mapping[str, Mapping[int, list[int]]]:
        """Places of the groups of a step, by the values that they select."""
        found: dict[str, dict[int, list[int]]] = defaultdict(dict)
        for step, groups in self._groups.items():
            for at, group in enumerate(groups):
                for value in group.selection.values:
                    found[step].setdefault(value, []).append(at)
        return found

    def _being_added(self, step: str, wanted: frozenset[int], *, what: str = "tracts") -> str:
        return f"its {what} are being added" if wanted - self._places[step].keys() else ""
