"""What groups select of the data that there are, and which of them wait for data to come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property

from merian_campaign.domain.readiness.overlap_refresh import (
    comes_from_elsewhere,
    defines_visits,
    over_visits,
    reaching,
    settled,
    tracts_of,
)
from merian_campaign.domain.record.overlaps import SkyExposure
from merian_campaign.domain.record.snapshot import GroupView, Snapshot
from merian_campaign.domain.selection import OF_EXPOSURES
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.campaign import steps_before
from merian_campaign.domain.spec.steps import effective_scope

__all__ = ["SelectedData"]

_KNOWN = frozenset({"", "tract", *OF_EXPOSURES})
"""Dimensions of which it is seen what exposures have to do with them."""


class SelectedData:
    """What groups select of the exposures that were seen.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    snapshot : `Snapshot`
        Its groups in force, with the exposures that are `usable`.
    incomplete : `frozenset` [`int`]
        Nights of which more raws may come.

    Attributes
    ----------
    overlaps : `Overlaps` or `None`
        What was seen; `None` while that is not known, or out of date.
    rows : `tuple` [`SkyExposure`, ...]
        Its exposures.
    """

    def __init__(self, *, spec: CampaignSpec, snapshot: Snapshot, incomplete: frozenset[int]) -> None:
        self._spec = spec
        self._seen = () if snapshot.overlaps is None else snapshot.overlaps.exposures
        self._incomplete = incomplete
        self.overlaps = settled(spec, snapshot)
        self.rows = () if self.overlaps is None else self.overlaps.exposures
        self._taking = {step.name for step in over_visits(spec)}
        self._selected: dict[int, frozenset[int] | None] = {}
        self._lacking: dict[int, bool] = {}
        self._indices: dict[tuple[str, str], Mapping[int, set[int]]] = {}
        self._unusable: dict[str, set[int]] = {}

    def exposures(self, group: GroupView) -> frozenset[int] | None:
        """Return the exposures that a group selects; `None` when that is not known.

        Of exposures that wait for their visits nothing can be made yet: they are not among them.
        """
        if group.id not in self._selected:
            self._selected[group.id] = self._exposures_of(group)
        return self._selected[group.id]

    def _exposures_of(self, group: GroupView) -> frozenset[int] | None:
        step = self._spec.step(group.step)
        if self.overlaps is None or not isinstance(step, BpsStep):
            return None
        if not self._taking.intersection((step.name, *steps_before(self._spec, step.name))):
            return None
        if group.selection.dimension not in _KNOWN:
            return None
        if self._is_thin(group):
            return frozenset()
        index = self._index(step, group.selection.dimension)
        return frozenset().union(*(index.get(value, ()) for value in group.selection.values or (0,)))

    def _is_thin(self, group: GroupView) -> bool:
        """Say whether a tract was discovered that fewer visits overlap now than it takes."""
        discovers = group.selection.dimension == "tract" and self._spec.discovers(self._spec.step(group.step))
        return discovers and self._enough.isdisjoint(group.selection.values)

    @cached_property
    def _enough(self) -> frozenset[int]:
        return frozenset(tracts_of(self._spec, self.overlaps))

    def _index(self, step: BpsStep, dimension: str) -> Mapping[int, set[int]]:
        """Return by value of a dimension the exposures that a step takes; for everything under 0."""
        key = (step.name, dimension)
        if key not in self._indices:
            found: dict[int, set[int]] = defaultdict(set)
            for row in self._taken_by(step):
                for value in _values(dimension, row):
                    found[value].add(row.exposure)
            self._indices[key] = found
        return self._indices[key]

    def _taken_by(self, step: BpsStep) -> list[SkyExposure]:
        """Return what a step takes: of its own query, or, over visits and tracts, what reaches it."""
        if effective_scope(step) == "exposure":
            return self._rows_taken_by[step.name]
        with_visit = {
            name: {row.exposure for row in rows if row.visits} for name, rows in self._rows_taken_by.items()
        }
        ids = reaching(self._spec, with_visit, step.name)
        return [row for row in self.rows if row.exposure in ids]

    @cached_property
    def _rows_taken_by(self) -> Mapping[str, list[SkyExposure]]:
        found: dict[str, list[SkyExposure]] = defaultdict(list)
        for row in self.rows:
            for name in row.steps if self._is_usable(row) else ():
                found[name].append(row)
        return found

    def _is_usable(self, row: SkyExposure) -> bool:
        return row.tracts is not None or not defines_visits(self._spec)

    def tracts_of(self, group: GroupView, exposures: frozenset[int]) -> frozenset[int] | None:
        """Return the tracts that a group has to do with; `None` for all."""
        if group.selection.dimension == "tract":
            return frozenset(group.selection.values)
        if not group.selection.dimension:
            return None
        return frozenset(tract for exposure in exposures for tract in self._tracts.get(exposure, ()))

    @cached_property
    def _tracts(self) -> Mapping[int, tuple[int, ...]]:
        return {row.exposure: row.tracts for row in self.rows if row.tracts}

    def lacks_data(self, group: GroupView) -> bool:
        """Say whether a group selects nothing of what there is, and waits for it."""
        if group.id not in self._lacking:
            self._lacking[group.id] = self._lacks_data(group)
        return self._lacking[group.id]

    def _lacks_data(self, group: GroupView) -> bool:
        step = self._spec.step(group.step)
        if not isinstance(step, BpsStep) or self.exposures(group) != frozenset():
            return False
        if self._is_thin(group):
            return True
        if not group.selection.dimension and comes_from_elsewhere(self._spec):
            return False  # its tasks may not be about exposures at all: the graph tells
        return step.if_empty not in {"done", "needs_review"} or self._is_coming(group)

    def _is_coming(self, group: GroupView) -> bool:
        """Say whether there are exposures of a group of which nothing can be made yet."""
        values, dimension = frozenset(group.selection.values or (0,)), group.selection.dimension
        if dimension == "day_obs" and values & self._incomplete:
            return True
        if dimension not in self._unusable:
            waiting = (row for row in self._seen if not self._is_usable(row))
            self._unusable[dimension] = {value for row in waiting for value in _values(dimension, row)}
        return not values.isdisjoint(self._unusable[dimension])

    def is_withdrawn(self, group: GroupView) -> bool:
        """Say whether there is nothing to make a group from, and nothing on its way."""
        return self.lacks_data(group) and not self._is_coming(group)

    def why_no_data(self, group: GroupView) -> str:
        """Say what a group waits for that `lacks_data`."""
        early = sorted(self._incomplete.intersection(group.selection.values))
        if group.selection.dimension == "day_obs" and early:
            return f"waits for night {early[0]} to be complete"
        if self._is_coming(group):
            return "waits for the visits of its exposures to be defined"
        if self._is_thin(group):
            return "waits for data: fewer visits overlap it than `tracts.min_visits` asks for"
        return "waits for data: the repository has none that it selects"


def _values(dimension: str, row: SkyExposure) -> tuple[int, ...]:
    if dimension == "tract":
        return row.tracts or ()
    return OF_EXPOSURES[dimension].values(row) if dimension in OF_EXPOSURES else (0,)
