"""One pass of the reconciler: observe, decide, act, record.

A tick may be killed anywhere: every side effect comes after the committed intention to have it, and
the next tick finds out what became of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from merian_campaign.domain.campaign.plan import in_force, reasons
from merian_campaign.domain.errors import CampaignError
from merian_campaign.domain.failures.backoff import next_try, successions
from merian_campaign.domain.failures.fault_attribution import failure_words, words_of
from merian_campaign.domain.readiness.overlap_refresh import refresh_due
from merian_campaign.domain.record.applied_spec import applied_spec
from merian_campaign.domain.record.board_row import STALE
from merian_campaign.domain.record.snapshot import Snapshot
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.resources.core_hours import prices
from merian_campaign.domain.resources.expected_cost import Expected, expected_cost, likes
from merian_campaign.domain.resources.resource_fit import submission_shape
from merian_campaign.domain.resources.throttle import closed
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.states import CampaignState, GroupState
from merian_campaign.domain.tick.decisions import AddGroups, Again, Decision, PauseCampaign, Submit
from merian_campaign.services.act import Executor
from merian_campaign.services.observe import Observer
from merian_campaign.services.ports import Drivers, Registry, Scheduler, Store
from merian_campaign.services.refresh_overlaps import RefreshResult, refresh_overlaps
from merian_campaign.services.runtime import CampaignSettings, Runtime
from merian_campaign.services.slurm_view import settle, view_slurm
from merian_campaign.services.tick_context import TickContext
from merian_campaign.services.tick_report import Plan, TickReport

MAX_PASSES = 50
"""Rounds of deciding within one tick; each settles what the one before made possible."""

_UNTIL_A_PERSON = ("limits.total", "limits.canary", "limits.core_hours:")
"""How the reasons begin of groups that wait for no time, and for nothing that is under way."""

_UNTIL_LATER = ("limits.window", "limits.per_night", "limits.core_hours_per_night")
"""How the reasons begin of groups that may start at another hour."""

_MOST_WORDS = 4000
"""Characters of what went wrong that are kept of a tick; the events of the groups have all of it."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """The reconciler of one campaign.

    Parameters
    ----------
    store : `Store`
        The tracking database.
    drivers : `Drivers`
        Driver processes.
    scheduler : `Scheduler`
        Slurm; never asked for a campaign that has nothing there.
    registry : `Registry`
        Butler registries; asked only when a campaign depends on overlaps and something is new.
    runtime : `Runtime`
        Where things lie, who asks, what time it is.
    settings_of : callable
        Reads what a campaign's files say besides its own.
    """

    store: Store
    drivers: Drivers
    scheduler: Scheduler
    registry: Registry
    runtime: Runtime
    settings_of: Callable[[CampaignSpec], CampaignSettings]

    def plan(self, name: str) -> Plan:
        """Return what the next tick would do first, without doing anything."""
        snapshot = self.store.snapshot(name)
        spec = applied_spec(snapshot.campaign)
        settings = self.settings_of(spec)
        observer = Observer(self.context(snapshot, spec, settings))
        arrivals = observer.arrivals(snapshot)
        decisions = observer.decide(snapshot)
        submits = {one.group.step for one in decisions if isinstance(one, Submit)}
        decided = {one.group.id for one in decisions if not isinstance(one, AddGroups | PauseCampaign)}
        now = self.runtime.clock()
        learned = observer.learned(snapshot)
        return Plan(
            decisions=decisions,
            snapshot=snapshot,
            memory={step: found for step, found in learned.items() if found and step in submits},
            prices=prices(spec, self.store.costs(name, groups=_made_anew(decisions, snapshot))),
            expected=self._expected(spec, snapshot, decisions, settings=settings),
            reasons={
                **reasons(spec, snapshot, now=now, arrivals=arrivals),
                **successions(snapshot, decided=decided, now=now),
            },
            looks=refresh_due(spec, in_force(spec, snapshot), now=now) is not None,
            closed=closed(spec, now=now),
        )

    def _expected(
        self,
        spec: CampaignSpec,
        snapshot: Snapshot,
        decisions: Sequence[Decision],
        *,
        settings: CampaignSettings,
    ) -> Mapping[int, Expected]:
        """Return what the submissions among some decisions are expected to cost, by group id."""
        asked = [
            entry
            for entry in decisions
            if isinstance(entry, Submit | Again) and isinstance(spec.step(entry.group.step), BpsStep)
        ]
        names = likes(snapshot.groups, steps=[entry.group.step for entry in asked])
        paid = prices(spec, self.store.costs(snapshot.campaign.name, groups=names))
        return {
            entry.group.id: expected_cost(
                entry.group,
                groups=snapshot.groups,
                costs=paid,
                anew=isinstance(entry, Again) and entry.redo,
                shape=submission_shape(
                    entry.group,
                    spec=spec,
                    remedy=entry.remedy,
                    requests=settings.requests.get(entry.group.step),
                    site=settings.site,
                    reason=entry.reason,
                )
                if isinstance(entry, Submit)
                else None,
            )
            for entry in asked
        }

    def run(self, name: str, *, look_anew: bool = False) -> TickReport:
        """Do one tick under the campaign's lock.

        Parameters
        ----------
        name : `str`
            Campaign.
        look_anew : `bool`, optional
            Ask the butler for overlaps even if nothing of the campaign's own is new.

        Raises
        ------
        BusyError
            Raised if another tick holds the lock.
        """
        with self.store.campaign_lock(name, patience=0):
            return self._run(name, look_anew=look_anew)

    def _run(self, name: str, *, look_anew: bool) -> TickReport:
        snapshot = self.store.snapshot(name)
        spec = applied_spec(snapshot.campaign)
        settings = self.settings_of(spec)
        tick_id = self.store.tick_started(
            campaign_id=snapshot.campaign.id,
            host=self.runtime.host,
            pid=self.runtime.pid,
            now=self.runtime.clock(),
        )
        done: list[str] = []
        try:
            report, aside = self._pass(snapshot, spec, settings, done, look_anew=look_anew)
        except Exception as failure:
            # Whatever it was, it is what has to be told, not that the database does not take a note of it.
            with contextlib.suppress(CampaignError):
                self._ended(tick_id, actions=len(done), error=failure_words(failure))
            raise
        told = [words_of(report.trouble)] if report.trouble is not None else []
        self._ended(tick_id, actions=len(done), error="; ".join([*told, *aside])[:_MOST_WORDS] or None)
        return report

    def _ended(self, tick_id: int, *, actions: int, error: str | None) -> None:
        self.registry.rest()
        self.store.tick_finished(tick_id=tick_id, now=self.runtime.clock(), actions=actions, error=error)

    def _pass(
        self,
        snapshot: Snapshot,
        spec: CampaignSpec,
        settings: CampaignSettings,
        done: list[str],
        *,
        look_anew: bool,
    ) -> tuple[TickReport, list[str]]:
        """Look, decide and act; return the report, and the groups that were set aside, with their reasons."""
        seen = self._refresh(snapshot, spec, settings, asked=look_anew)
        context = self.context(seen.snapshot, spec, settings)
        observer, executor = Observer(context), Executor(context)
        seen = self._passes(context, observer, executor, seen, done)
        snapshot = seen.snapshot
        left = settle(context.slurm_view, store=self.store, now=self.runtime.clock())
        trouble = self.scheduler.cancel(left.leaked)
        done += [f"cancelled what was left in Slurm: {', '.join(left.leaked)}"] if left.leaked else []
        self._note_scheduler(context, observer)
        live = [group.live for group in snapshot.groups if group.live is not None]
        number = len(executor.aside)
        were = "group was" if number == 1 else "groups were"
        aside = f"{number} {were} set aside for a person, the others go on" if number else ""
        report = TickReport(
            actions=tuple(done),
            live=len(live),
            outcomes=tuple(SubmissionPaths(directory=one.directory).outcome for one in live),
            progressed=executor.progressed,
            notes=(
                *filter(None, [seen.note, aside]),
                *dict.fromkeys(executor.notes),
                *left.trouble,
                *_notes(observer, context.slurm_view.deferred(snapshot), trouble=trouble),
            ),
            trouble=executor.trouble,
            resting=any(words.startswith(_UNTIL_LATER) for words in observer.held),
            waiting=left.alive > 0
            or bool(executor.unpublished)
            or bool(observer.waits or any(not words.startswith(_UNTIL_A_PERSON) for words in observer.held))
            or (seen.waits and _may_move(snapshot))
            or self._pauses(spec, snapshot),
        )
        return report, executor.aside

    def _pauses(self, spec: CampaignSpec, snapshot: Snapshot) -> bool:
        """Say whether a group waits for nothing but the time of its next try."""
        return next_try(spec, snapshot, now=self.runtime.clock()) is not None

    def _refresh(
        self, snapshot: Snapshot, spec: CampaignSpec, settings: CampaignSettings, *, asked: bool = False
    ) -> RefreshResult:
        return refresh_overlaps(
            snapshot,
            spec,
            store=self.store,
            registry=self.registry,
            runtime=self.runtime,
            stack=settings.stack,
            asked=asked,
        )

    def _passes(
        self,
        context: TickContext,
        observer: Observer,
        executor: Executor,
        seen: RefreshResult,
        done: list[str],
    ) -> RefreshResult:
        """Decide and act until nothing more follows; return the last snapshot, and how it was seen.

        What brought in data may be over in between: then it is looked what there is, before anything starts.
        """
        for _ in range(MAX_PASSES):
            done += [seen.action] if seen.action else []
            acted = [word for word in map(executor.act, observer.decide(seen.snapshot)) if word]
            observer.no_jobs = observer.no_jobs or executor.no_jobs
            done += acted
            if not acted:
                break
            snapshot = self.store.snapshot(seen.snapshot.campaign.name)
            note = seen.note
            seen = self._refresh(snapshot, context.spec, context.settings)
            seen = seen if seen.note else replace(seen, note=note)
        return seen

    def context(self, snapshot: Snapshot, spec: CampaignSpec, settings: CampaignSettings) -> TickContext:
        """Look at Slurm, and return what the parts of a tick share."""
        self.drivers.settle_in(
            trusted=settings.site.trusted_groups, repository=spec.butler, shared=spec.group_writable,
            campaign=snapshot.campaign.uuid,
        )  # fmt: skip
        slurm_view = view_slurm(
            snapshot,
            store=self.store,
            drivers=self.drivers,
            scheduler=self.scheduler,
            fresh_seconds=settings.site.status_seconds,
            on_slurm=settings.site.on_slurm,
            count=_counts_jobs(snapshot, spec, settings),
        )
        return TickContext(
            store=self.store,
            drivers=self.drivers,
            scheduler=self.scheduler,
            registry=self.registry,
            runtime=self.runtime,
            campaign_id=snapshot.campaign.id,
            campaign_uuid=snapshot.campaign.uuid,
            spec=spec,
            settings=settings,
            slurm_view=slurm_view,
        )

    def _note_scheduler(self, context: TickContext, observer: Observer) -> None:
        if context.slurm_view.sight is not None or observer.asked:
            self.store.note_scheduler(
                campaign_id=context.campaign_id,
                unreachable=observer.unreachable,
                actor=self.runtime.actor,
                now=self.runtime.clock(),
            )


def _notes(observer: Observer, deferred: tuple[str, ...], *, trouble: str) -> tuple[str, ...]:
    """Return what was seen besides: of Slurm, and of what it or a limit holds back."""
    notes = [f"Slurm jobs could not be cancelled: {trouble}"] if trouble else []
    if observer.unreachable:
        notes.append(f"Slurm does not answer: {observer.unreachable}; nothing was decided on it")
    elif observer.no_jobs:
        notes.append(f"Slurm takes no driver's job for now: {observer.no_jobs}; tried again later")
    notes += deferred
    # That the campaign starts no more at once than it says is no news.
    held = [words for words in observer.held if not words.startswith(("limits.submissions", "Slurm "))]
    return (*notes, *(f"ready groups wait for {words}" for words in held))


def _may_move(snapshot: Snapshot) -> bool:
    """Say whether a group may go on once the butler answers: what needs a person does not."""
    moving = {GroupState.WAITING, GroupState.READY, GroupState.RUNNING}
    return any(group.state in moving for group in snapshot.groups)


def _counts_jobs(snapshot: Snapshot, spec: CampaignSpec, settings: CampaignSettings) -> bool:
    """Say whether something may start for which the user's jobs in the queue have to be counted."""
    waits = {GroupState.READY, GroupState.WAITING, GroupState.RUNNING}
    limited = spec.limits.jobs is not None and settings.site.on_slurm
    active = snapshot.campaign.state is CampaignState.ACTIVE
    return limited and active and any(group.state in waits for group in snapshot.groups)


def _made_anew(decisions: Sequence[Decision], snapshot: Snapshot) -> list[str]:
    """Return the groups that have begun another generation, begin one now, or could."""
    begun = [group for group in snapshot.groups if group.generation > group.published and not group.live]
    stale = [
        group
        for group in snapshot.groups
        if group.state is GroupState.DONE and group.reason.startswith(STALE)
    ]
    now = [one.group for one in decisions if isinstance(one, Again) and one.redo]
    return sorted({f"{group.step}/{group.key}" for group in (*begun, *stale, *now)})
