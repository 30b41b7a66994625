"""Whether a group is done for what there is now: what is new since, and what becomes of it.

A group is done for a basis: the exposures that it selected, and the generations of what it read. New data,
data that were withdrawn, or a new generation of something upstream make another basis. Then it is extended,
where only quanta are added; or it is stale, and its policy says whether it is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from merian_campaign.domain.readiness.complete_nights import Arrivals, incomplete_nights, usable
from merian_campaign.domain.readiness.data_change import (
    Change,
    FirstLooks,
    Freshness,
    change_of_action,
    in_words,
    inferred,
    newer_release,
    older_read,
    reads_stale,
    redo_when,
)
from merian_campaign.domain.readiness.gates import Gates, Need, Needs, Standing, by_state
from merian_campaign.domain.readiness.generations import night_by_exposure
from merian_campaign.domain.readiness.overlap_refresh import brought_in, last_success
from merian_campaign.domain.readiness.parts_read import parts_read, steps_with_parts, those_before
from merian_campaign.domain.readiness.selected_data import SelectedData
from merian_campaign.domain.readiness.unseen_terms import digest_of_arguments, digest_of_unseen_terms
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.snapshot import GroupView, Snapshot
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.spec.new_data import OnNewData
from merian_campaign.domain.states import GroupState


class NewData:
    """What is new for the groups of a campaign at one moment.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    snapshot : `Snapshot`
        Its groups in force.
    arrivals : `Arrivals`
        What was seen of files.
    now : `datetime.datetime`
        UTC.

    Attributes
    ----------
    snapshot : `Snapshot`
        The same, with the exposures that are `usable`.
    gates : `Gates`
        Who waits for whom.
    selected : `SelectedData`
        What groups select of what there is.
    """

    def __init__(self, *, spec: CampaignSpec, snapshot: Snapshot, arrivals: Arrivals, now: datetime) -> None:
        self._spec = spec
        self._arrivals = arrivals
        self._now = now
        self._nights = night_by_exposure(snapshot)  # also of what was withdrawn
        self._incomplete = incomplete_nights(spec, snapshot.overlaps, arrivals=arrivals, now=now)
        self._seen = () if snapshot.overlaps is None else snapshot.overlaps.exposures
        self.snapshot = usable(spec, snapshot, without=self._incomplete)
        self.gates = Gates(spec=spec, snapshot=self.snapshot)
        self.selected = SelectedData(spec=spec, snapshot=self.snapshot, incomplete=self._incomplete)
        self._redone = any(group.generation > 1 for group in snapshot.groups)
        self._changes: dict[int, Change] = {}
        self._standings: dict[int, Standing] = {}
        self._needed: dict[int, Needs] = {}
        self._read: dict[int, tuple[str, ...]] = {}
        self._terms: dict[str, str] = {}
        self._once: dict[int, tuple[tuple[Need, ...], Any]] = {}

    def basis(self, group: GroupView) -> Basis | None:
        """Return what a submission of a group would be made from now; `None` when that is not known."""
        step = self._spec.step(group.step)
        if isinstance(step, ActionStep):
            return self._basis_of_action(group, step)
        exposures = self.selected.exposures(group)
        if exposures is None:
            return None
        raws = sum(map(self._raws.__getitem__, self._raws.keys() & exposures))
        if step.name not in self._terms:
            self._terms[step.name] = digest_of_unseen_terms(self._spec, step)
        terms = self._terms[step.name]
        parts = self._parts(group, tracts=self.selected.tracts_of(group, exposures))
        return Basis(exposures=exposures, raws=raws, upstream=self._upstream(group), terms=terms, parts=parts)

    @cached_property
    def _looks(self) -> FirstLooks:
        return FirstLooks.of(self.selected.rows)

    @cached_property
    def _raws(self) -> Mapping[int, int]:
        return {row.exposure: row.raws for row in self.selected.rows if row.raws}

    @cached_property
    def _all_raws(self) -> Mapping[int, int]:
        return {row.exposure: row.raws for row in self._seen}

    def _basis_of_action(self, group: GroupView, step: ActionStep) -> Basis:
        waiting: frozenset[int] = frozenset()
        if step.action == "define-visits":
            waiting = frozenset(row.exposure for row in self.selected.rows if row.tracts is None)
        return Basis(
            exposures=waiting,
            files=self._arrivals.files.get(step.name, ""),
            upstream=self._upstream(group),
            terms=digest_of_arguments(step),
        )

    def _upstream(self, group: GroupView) -> Mapping[str, int]:
        if not self._redone:
            return {}
        return {
            f"{one.step}/{one.key}": one.generation
            for one in (need.group for need in self._needs(group).groups)
            if one.generation > 1 and self._reads(group, one)
        }

    def _reads(self, group: GroupView, other: GroupView) -> bool:
        """Say whether a group reads another one: what is waited for because it is not known is not read.

        Between tracts, nights and visits, they have exposures in common then.
        """
        cuts = {group.selection.dimension, other.selection.dimension}
        if "" in cuts or len(cuts) == 1:
            return True
        mine, theirs = self.selected.exposures(group), self.selected.exposures(other)
        return mine is None or theirs is None or not mine.isdisjoint(theirs)

    def _needs(self, group: GroupView) -> Needs:
        if group.id not in self._needed:
            self._needed[group.id] = self.gates.needs(group)
        return self._needed[group.id]

    def _parts(self, group: GroupView, *, tracts: frozenset[int] | None) -> frozenset[str]:
        """Return the groups by tract that a group reads of some tracts; `None` for all."""
        if group.step not in self._with_parts:
            return frozenset()
        return parts_read(self._needs(group), own=tracts, lacks_data=self.selected.lacks_data)

    @cached_property
    def _with_parts(self) -> frozenset[str]:
        return steps_with_parts(self._spec)

    def why_not(self, group: GroupView) -> str:
        """Say why a group that is done does not count as such for another one."""
        if group.published != group.generation:
            return "its new outputs are being put in the place of the old ones"
        return f"done, but for {self.change(group).reason}"

    # -- what is different --------------------------------------------------------------------------
    def change(self, group: GroupView) -> Change:
        """Return what is different from what a group was made from, and what becomes of it.

        What is done with nothing of its own to be different, and has read something stale, is stale as well.
        """
        own = self._own_change(group)
        step = self._spec.step(group.step)
        if own.reason or group.state is not GroupState.DONE or not isinstance(step, BpsStep):
            return own
        if not self._stale or self._spec.on_new_data_of(step).action == "ignore":
            return own
        read = self._stale_read(group)
        return replace(own, freshness=Freshness.STALE, reason=reads_stale(read)) if read else own

    def _own_change(self, group: GroupView) -> Change:
        if group.id not in self._changes:
            self._changes[group.id] = self._change(group)
        return self._changes[group.id]

    @cached_property
    def _stale(self) -> frozenset[int]:
        groups = (group for group in self.snapshot.groups if group.state is GroupState.DONE)
        return frozenset(group.id for group in groups if self._own_change(group).freshness is Freshness.STALE)

    def _stale_read(self, group: GroupView) -> tuple[str, ...]:
        """Return the groups that a group reads and that are stale, or have read what is."""
        if group.id not in self._read:
            needs = (need.group for need in self._needs(group).groups)
            self._read[group.id] = tuple(
                f"{one.step}/{one.key}"
                for one in needs
                if (one.id in self._stale or self._stale_read(one)) and self._reads(group, one)
            )
        return self._read[group.id]

    def _change(self, group: GroupView) -> Change:
        now = self.basis(group)
        begun = any(one.generation == group.generation for one in group.submissions)
        if now is None or group.live is not None or not begun:
            return Change()
        step = self._spec.step(group.step)
        made = group.basis if group.basis is not None else inferred(group, now, looks=self._looks)
        if isinstance(step, ActionStep):
            curated = step.action == "write-curated-calibrations"
            release = newer_release(group, self.snapshot.groups) if curated else ""
            return change_of_action(step, made=made, now=now, release=release)
        older = older_read(made, now)
        added, removed = now.exposures - made.exposures, made.exposures - now.exposures
        late = self._late_raws(made, now)
        # Of which of its exposures there are more raws now is not known.
        with_more = now.exposures if late else frozenset[int]()
        found = Change(
            added=added | with_more, removed=removed, upstream=older, raws=late,
            edited=made.asks_otherwise(now), parts=self._new_parts(group, made=made, now=now),
            lost=frozenset() if now.parts is None else (made.parts or frozenset()) - now.parts,
        )  # fmt: skip
        if not (found.is_of_data or found.edited or late):
            return Change()
        words = in_words(found, new=added, nights=self._nights)
        share = f"; made from {len(made.exposures & now.exposures)} of {len(now.exposures)} exposures"
        policy = self._spec.on_new_data_of(step)
        if policy.action == "ignore":
            return replace(found, reason=f"{words}{share if added else ''}")
        changes = group.combines is True or (group.gathers is True and late > 0) or found.edited
        if not changes and not (found.is_of_groups and now.exposures):
            # Nothing that exists would change; of what was withdrawn nothing is read downstream.
            return replace(found, freshness=Freshness.EXTEND, reason=words) if found.added else Change()
        fresh, when = self._redo_or_not(policy, found, now)
        return replace(found, freshness=fresh, reason=f"{words}{share if added else ''}{when}")

    def _late_raws(self, made: Basis, now: Basis) -> int:
        """Return how many more raws there are of what a group was made from; none while a night waits."""
        if not made.raws or (
            self._incomplete and any(self._nights.get(one) in self._incomplete for one in made.exposures)
        ):
            return 0
        if made.exposures == now.exposures:
            return max(0, now.raws - made.raws)
        # Those of an exposure that was withdrawn were counted too.
        return max(0, sum(self._all_raws.get(one, 0) for one in made.exposures) - made.raws)

    def _new_parts(self, group: GroupView, *, made: Basis, now: Basis) -> frozenset[str]:
        if not now.parts:
            return frozenset()
        then = made.parts if made.parts is not None else those_before(self._needs(group), group)
        return now.parts - then

    def _redo_or_not(self, policy: OnNewData, found: Change, now: Basis) -> tuple[Freshness, str]:
        """Return whether what is stale is made anew, and in words what for it would be."""
        if policy.action != "redo":
            return Freshness.STALE, ""
        changed = found.added | found.removed
        nights = {self._nights.get(exposure) for exposure in changed}
        whatever = found.edited or found.is_of_groups
        when = redo_when(
            policy,
            exposures=None if whatever else len(changed),
            nights=len(nights),
            of=len(now.exposures),
            today=self._now.astimezone(UTC).date(),
        )
        return (Freshness.STALE, f"; made anew {when}") if when else (Freshness.REDO, "")

    # -- what others may rely on ----------------------------------------------------------------------
    def satisfies(self, need: Need, *, of: GroupView) -> bool:
        """Say whether a group that is done is so for all that another one would read of it."""
        group = need.group
        step = self._spec.step(group.step)
        if isinstance(step, ActionStep):
            return self.change(group).freshness is not Freshness.REDO
        if group.published != group.generation:
            return False
        change = self.change(group)
        if change.freshness in {Freshness.EXTEND, Freshness.REDO}:
            return False
        mine = self.selected.exposures(of)
        if mine is None or change.added & mine:
            return mine is None
        tracts = self.selected.tracts_of(of, mine)
        return not (change.parts and change.parts & self._parts(group, tracts=tracts))

    def once[T](self, needs: tuple[Need, ...], make: Callable[[tuple[Need, ...]], T]) -> T:
        """Return what is made of needs, once for all groups that have the very same: whole steps, mostly."""
        if id(needs) not in self._once:
            self._once[id(needs)] = needs, make(needs)  # kept, so that no others have their id
        made: T = self._once[id(needs)][1]
        return made

    def standing(self, group: GroupView) -> Standing:
        """Return what a group means to all that wait for it: asked once, for hundreds may."""
        if group.id not in self._standings:
            self._standings[group.id] = self._standing(group)
        return self._standings[group.id]

    def _standing(self, group: GroupView) -> Standing:
        if self.selected.lacks_data(group) and group.live is None:
            return Standing.ABSENT
        found = Standing.DONE if self._counts_as_done(group) else by_state(group)
        return Standing.FRESH if found is Standing.DONE and self._is_fresh(group) else found

    def _is_fresh(self, group: GroupView) -> bool:
        """Say whether a group that is done is so for everybody; see `satisfies`."""
        if isinstance(self._spec.step(group.step), ActionStep) or group.published != group.generation:
            return False
        change = self.change(group)
        made = change.freshness not in {Freshness.EXTEND, Freshness.REDO}
        return made and not change.added and not change.parts

    def _counts_as_done(self, group: GroupView) -> bool:
        """Say whether an action that is run again for new data has done what it did before."""
        step = self._spec.step(group.step)
        if not isinstance(step, ActionStep) or group.state is GroupState.CANCELLED:
            return False
        done = [one for one in group.submissions if brought_in(one)]
        return bool(done) and last_success(group) is not None and done[-1].generation == group.generation
