"""Looking at a campaign's collections, and removing what nothing needs any more."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from merian_campaign.domain.record.applied_spec import applied_spec
from merian_campaign.domain.record.snapshot import Snapshot
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.states import SubmissionState
from merian_campaign.housekeeping.cleaning import (
    REMOVED,
    REMOVING,
    CleaningFacts,
    CleaningPlan,
    Removal,
    RunFacts,
    RunKind,
)
from merian_campaign.housekeeping.cleaning_policy import (
    agreed,
    check,
    named_collections,
    own_runs,
    plan_cleaning,
)
from merian_campaign.housekeeping.inventory import CollectionRow, CollectionSummary, listing, origins
from merian_campaign.services.find import find_campaign
from merian_campaign.services.ports import Store
from merian_campaign.services.runtime import Runtime

Tell = Callable[[str], None]
"""Takes a line on how far something is."""


class ButlerCollections(Protocol):
    """The collections of a butler repository."""

    def runs(
        self, names: Sequence[str], *, files: bool, counted: Container[str] = (), tell: Tell
    ) -> Mapping[str, RunFacts]:
        """Return what there is of RUN collections."""

    def collections(
        self, names: Iterable[str], *, sizes: bool, tell: Tell
    ) -> Mapping[str, CollectionSummary]:
        """Return what there is of collections of any type."""

    def unchain(self, run: str) -> None:
        """Take a RUN out of every chain; repeatable."""

    def remove_run(self, run: str, *, again: bool) -> None:
        """Remove a RUN and its datasets; ``again`` when that was begun before."""

    def remove_files(self, run: str) -> int:
        """Remove the files in a RUN's folder that the registry does not know; repeatable."""


@dataclass(frozen=True, kw_only=True)
class Housekeeping:
    """What a person may ask about a campaign's collections, and have cleaned.

    Parameters
    ----------
    store : `Store`
        The tracking database.
    collections_of : callable
        Gives the collections of a butler repository.
    same_place : callable
        Says whether two texts name one repository.
    runtime : `Runtime`
        Who asks, and when.
    tell : callable
        Told how far it is.
    """

    store: Store
    collections_of: Callable[[str], ButlerCollections]
    same_place: Callable[[str, str], bool]
    runtime: Runtime
    tell: Tell

    def listing(self, name: str, *, sizes: bool) -> tuple[CollectionRow, ...]:
        """Return the collections of a campaign that exist.

        Parameters
        ----------
        name : `str`
            The campaign.
        sizes : `bool`
            Whether to look at every file.
        """
        spec = self._spec(name)
        snapshot = self.store.snapshot(name)
        found = origins(spec, snapshot)
        collections = self.collections_of(spec.butler)
        facts = collections.collections([entry.name for entry in found], sizes=sizes, tell=self.tell)
        plan, world = self._plan(spec, snapshot, files=sizes)
        return listing(found, facts, snapshot=snapshot, plan=plan, cleaning=world.cleaning)

    def plan(self, name: str) -> CleaningPlan:
        """Return what may be removed, without locks: `clean` looks again."""
        return self._plan(self._spec(name), self.store.snapshot(name), files=True)[0]

    def clean(self, name: str, *, shown: CleaningPlan) -> CleaningPlan:
        """Remove what was shown and said yes to; what was removed is returned.

        Under the campaign's lock, so that no tick submits meanwhile, and the repository's, so that no graph
        is built on what is going away. Killed at any moment and repeated, it finishes.

        Raises
        ------
        BusyError
            Raised if another process works on the campaign.
        ForbiddenError
            Raised, before anything is removed, if something of it must not be.
        """
        spec = self._spec(name)
        with self.store.campaign_lock(name), self.store.repository_lock(spec.butler):
            snapshot = self.store.snapshot(name)
            now, world = self._plan(spec, snapshot, files=True)
            plan = agreed(shown, now)
            check(plan, snapshot, world)
            collections = self.collections_of(spec.butler)
            for number, removal in enumerate(plan.removals, start=1):
                self.tell(f"removing {removal.facts.run} ({number} of {len(plan.removals)})")
                self._remove(removal, collections)
        return plan

    def _remove(self, removal: Removal, collections: ButlerCollections) -> None:
        run = removal.facts.run
        if removal.kind is RunKind.STRAY_FILES:
            self._record(removal, "tidying", f"{run}: stray files ({removal.facts.strays})")
            number = collections.remove_files(run)
            self._record(removal, "tidied", f"{run}: stray files removed ({number})")
            return
        self._record(
            removal, REMOVING, f"{run}: {removal.facts.datasets} datasets; {removal.kind}: {removal.reason}"
        )
        # The chains first: a RUN that a chain names cannot be removed, and must not be half there.
        collections.unchain(run)
        collections.remove_run(run, again=removal.kind is RunKind.UNFINISHED)
        collections.remove_files(run)
        self._record(removal, REMOVED, f"{run}: removed")

    def _record(self, removal: Removal, state: str, reason: str) -> None:
        self.store.record_cleaning(
            submission_id=removal.submission_id,
            state=state,
            reason=reason,
            actor=self.runtime.actor,
            now=self.runtime.clock(),
        )

    def _spec(self, name: str) -> CampaignSpec:
        return applied_spec(find_campaign(self.store, name))

    def _plan(
        self, spec: CampaignSpec, snapshot: Snapshot, *, files: bool
    ) -> tuple[CleaningPlan, CleaningFacts]:
        runs = [
            submission.run_collection
            for _, submission in own_runs(snapshot)
            if submission.state is SubmissionState.FINISHED
        ]
        old = {
            submission.run_collection
            for group, submission in own_runs(snapshot)
            if submission.generation < group.published
        }
        collections = self.collections_of(spec.butler)
        facts = collections.runs(runs, files=files, counted=old, tell=self.tell)
        world = self._world(spec, snapshot)
        return plan_cleaning(snapshot, facts, world), world

    def _world(self, spec: CampaignSpec, snapshot: Snapshot) -> CleaningFacts:
        """Return what all campaigns on the repository do and name."""
        inputs: set[str] = set()
        foreign: set[str] = set()
        live: list[str] = []
        for campaign in self.store.campaigns():
            if not self.same_place(str(campaign.spec.get("butler", "")), spec.butler):
                continue
            inputs |= named_collections(campaign.spec)
            own = campaign.name == snapshot.campaign.name
            other = snapshot if own else self.store.snapshot(campaign.name)
            live += [
                f"{campaign.name} {group.step}/{group.key}"
                for group in other.groups
                if group.live is not None
            ]
            if not own:
                foreign |= {submission.run_collection for _, submission in own_runs(other)}
        with_jobs = {entry.submission_id for entry in self.store.open_jobs(snapshot.campaign.name)}
        return CleaningFacts(
            inputs=frozenset(inputs),
            foreign=frozenset(foreign),
            live=tuple(live),
            with_jobs=frozenset(with_jobs),
            cleaning=self.store.cleaning(snapshot.campaign.name),
            now=self.runtime.clock(),
            keep=timedelta(days=spec.collections.keep_days),
        )
