"""Putting a campaign on record again whose tracking database is lost, from what its submissions left.

Everything goes through the doors that ticks and drivers use, at the moments at which it happened. The
campaign is paused: orders of people are lost, so one of them looks before anything new is started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from merian_campaign.domain.campaign.plan import discovered_groups, in_force, plan_groups
from merian_campaign.domain.errors import BadInputError, UnavailableError
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.execution.runs import RunEnd
from merian_campaign.domain.readiness.overlap_refresh import OverlapRefreshFailed
from merian_campaign.domain.rebuild_plan import RebuildPlan, Rebuilt, plan_rebuild
from merian_campaign.domain.record.records import Event, NewGroup
from merian_campaign.domain.record.snapshot import GroupView, Snapshot
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.states import CampaignState, GroupState
from merian_campaign.domain.tick.decisions import Situation
from merian_campaign.domain.tick.group_outcome import group_outcome
from merian_campaign.services.apply import apply_locked
from merian_campaign.services.driver_loop import LEASE_SECONDS
from merian_campaign.services.record import Recorder
from merian_campaign.services.refresh_overlaps import refresh_overlaps
from merian_campaign.services.tick import Tick
from merian_campaign.services.tick_context import TickContext

__all__ = ["Rebuild", "RebuildReport"]

UNDER_WAY = "it is being rebuilt"
"""Why a campaign is paused of which not all is on record yet."""

_LOST_DRIVER = ProcessIdentity(host="unknown", pid=0, pid_start=0)
"""Of a driver that only the lost database knew: it counts as dead, and the next one ends what it left."""


@dataclass(frozen=True, kw_only=True)
class RebuildReport:
    """What was put on record.

    Parameters
    ----------
    snapshot : `Snapshot`
        The campaign afterwards.
    submissions : `int`
        How many.
    notes : `tuple` [`str`, ...]
        What is damaged, gone or of somebody else, and what came of it.
    """

    snapshot: Snapshot
    submissions: int
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Rebuild:
    """Rebuilds one campaign.

    Parameters
    ----------
    tick : `Tick`
        What it works with.
    tell : callable
        Takes a line on how far it is.
    """

    tick: Tick
    tell: Callable[[str], None] = lambda _: None

    def run(self, *, spec: CampaignSpec, file: str, text: str, resolved: Mapping[str, Any]) -> RebuildReport:
        """Put a campaign on record, all of it or nothing.

        Raises
        ------
        BadInputError
            Raised if the database knows the campaign, or nothing is left of it.
        UnavailableError
            Raised if the butler does not answer.
        """
        store, name = self.tick.store, spec.campaign
        with store.campaign_lock(name):
            known = store.campaign(name)
            if known is not None and known.reason != UNDER_WAY:
                raise BadInputError(
                    f"{file}: campaign {name} is in this database; a lost one is rebuilt into a database "
                    "that does not know the campaign"
                )
            if known is not None:  # of a rebuild that was killed
                store.forget(name)
            plan = self._plan(spec, file=file)
            try:
                apply_locked(
                    store=store, runtime=self.tick.runtime, spec=spec, file=file, text=text, resolved=resolved
                )
                if plan.identity:  # what lies and runs in its directories is this campaign's own
                    store.adopt(name=name, uuid=plan.identity)
                self._pause(spec, UNDER_WAY)
                notes = self._replay(spec, plan)
                self._pause(spec, "rebuilt from what its submissions left; look at it, then resume it")
            except BaseException:
                if store.campaign(name) is not None:
                    store.forget(name)
                raise
            return RebuildReport(
                snapshot=store.snapshot(name),
                submissions=sum(map(len, plan.rounds)),
                notes=(*plan.notes, *notes),
            )

    def _plan(self, spec: CampaignSpec, *, file: str) -> RebuildPlan:
        tick = self.tick
        settings = tick.settings_of(spec)
        root = spec.work_dir or tick.runtime.root
        tick.drivers.settle_in(
            trusted=settings.site.trusted_groups, repository=spec.butler, shared=spec.group_writable
        )
        remains = tick.drivers.remains(f"{root}/{spec.campaign}")
        outputs = [spec.output_of(step) for step in spec.steps if isinstance(step, BpsStep)]
        runs = tick.registry.runs(
            outputs, repository=spec.butler, environment=spec.environment, stack=settings.stack
        )
        if isinstance(runs, OverlapRefreshFailed):
            raise UnavailableError(
                f"{file}: what the butler has of the campaign cannot be seen: {runs.reason}"
            )
        if not remains and not runs:
            raise BadInputError(
                f"{file}: nothing is left of campaign {spec.campaign} in {root}, nor in the butler; "
                "`apply` the file"
            )
        known = frozenset((group.step, group.key) for group in plan_groups(spec).wanted)
        return plan_rebuild(spec, remains, runs=runs, known=known, root=root)

    def _pause(self, spec: CampaignSpec, reason: str) -> None:
        event = Event(
            kind="rebuild",
            actor=self.tick.runtime.actor,
            reason=reason,
            from_state=CampaignState.ACTIVE,
            to_state=CampaignState.PAUSED,
        )
        self.tick.store.set_campaign_state(
            name=spec.campaign, state=CampaignState.PAUSED, event=event, now=self.tick.runtime.clock()
        )

    def _replay(self, spec: CampaignSpec, plan: RebuildPlan) -> list[str]:
        notes = self._find_groups(spec, plan)
        if plan.highest:
            self.tick.store.skip_submission_ids(above=plan.highest)
        for number, entries in enumerate(plan.rounds, 1):
            self.tell(f"round {number} of {len(plan.rounds)}: {len(entries)} submissions")
            notes += self._round(spec, entries)
        return notes

    def _find_groups(self, spec: CampaignSpec, plan: RebuildPlan) -> list[str]:
        """Create the groups that the file does not name: those that new data asked for."""
        store, runtime = self.tick.store, self.tick.runtime
        snapshot = store.snapshot(spec.campaign)
        stack = self.tick.settings_of(spec).stack
        seen = refresh_overlaps(
            snapshot, spec, store=store, registry=self.tick.registry, runtime=runtime, stack=stack, asked=True
        )
        ordinals = {step.name: place for place, step in enumerate(spec.steps)}
        found = {
            (group.step, group.key): group
            for group in discovered_groups(
                spec, replace(seen.snapshot, groups=in_force(spec, seen.snapshot).groups)
            )
        }
        for (step, key), selection in plan.selections.items():
            group = NewGroup(step=step, key=key, selection=selection, ordinal=ordinals[step])
            found.setdefault((step, key), group)
        store.add_groups(
            campaign_id=snapshot.campaign.id,
            groups=tuple(found.values()),
            reason="found again",
            actor=runtime.actor,
            now=runtime.clock(),
        )
        return [seen.note] if seen.note else []

    def _round(self, spec: CampaignSpec, entries: Sequence[Rebuilt]) -> list[str]:
        """Put one submission of each group on record, and judge what became of the group."""
        store = self.tick.store
        before = _by_name(store.snapshot(spec.campaign))
        ids = {(entry.step, entry.group): self._prepare(spec, before, entry) for entry in entries}
        notes = self._salvage(spec, [entry for entry in entries if entry.salvage])
        snapshot = store.snapshot(spec.campaign)
        context = self.tick.context(snapshot, spec, self.tick.settings_of(spec))
        over = [entry for entry in entries if entry.result is not None]
        for entry in over:
            self._finish(_at(context, entry.ended_at), snapshot.group(ids[entry.step, entry.group]), entry)
        after = store.snapshot(spec.campaign)
        for entry in over:
            at = _at(context, entry.ended_at)
            self._judge(at, after.group(ids[entry.step, entry.group]))
        return notes

    def _prepare(
        self, spec: CampaignSpec, groups: Mapping[tuple[str, str], GroupView], entry: Rebuilt
    ) -> int:
        """Put on record that a submission was made and claimed; return the id of its group."""
        store, actor = self.tick.store, self.tick.runtime.actor
        group = groups[entry.step, entry.group]
        state, generation = group.state, group.generation
        again = {GroupState.NEEDS_REVIEW, GroupState.DONE, GroupState.CANCELLED}
        while state in again or generation < entry.generation:
            redo = generation < entry.generation
            store.again(
                group_id=group.id, redo=redo, reason="it has gone on since", actor=actor, now=entry.at
            )
            state, generation = GroupState.WAITING, generation + redo
        if state is not GroupState.READY:
            store.move_group(
                group_id=group.id, state=GroupState.READY, reason=entry.reason, actor=actor, now=entry.at
            )
        made = store.prepare_submission(
            group_id=group.id,
            number=entry.number,
            run_collection=entry.run,
            repository=spec.butler,
            directory=entry.directory,
            remedy=entry.remedy,
            reason=entry.reason,
            actor=actor,
            now=entry.at,
            basis=entry.basis,
        )
        self._claim(entry, made.id, job=entry.driver_job(spec.campaign))
        if entry.versions is not None and entry.drivers:
            store.record_versions(
                submission_id=made.id, epoch=entry.drivers, versions=entry.versions, ran=entry.ran
            )
        return group.id

    def _claim(self, entry: Rebuilt, submission_id: int, *, job: str) -> None:
        """Put on record the drivers that have claimed a submission, and the Slurm job of the last, if any."""
        store = self.tick.store
        for epoch in range(entry.drivers + 1):
            if job and epoch == min(entry.job_epoch or 0, entry.drivers):
                store.launching(submission_id=submission_id, now=entry.at, driver_job=job)
            if epoch == entry.drivers:
                break
            store.claim(
                submission_id=submission_id,
                driver=_LOST_DRIVER,
                lease_seconds=LEASE_SECONDS,
                now=entry.at,
                expected_epoch=epoch,
            )

    def _salvage(self, spec: CampaignSpec, entries: Sequence[Rebuilt]) -> list[str]:
        if not entries:
            return []
        found = self.tick.registry.salvage(
            [(entry.directory, entry.run) for entry in entries],
            repository=spec.butler,
            environment=spec.environment,
            stack=self.tick.settings_of(spec).stack,
        )
        return [f"{entry.directory}: {left.in_words()}" for entry, left in zip(entries, found, strict=True)]

    def _finish(self, context: TickContext, group: GroupView, entry: Rebuilt) -> None:
        assert group.live is not None
        assert entry.result is not None
        result = entry.result
        if entry.salvage and result.end is RunEnd.FAILED:
            result = replace(result, reason=f"{result.reason}; its outputs are in {entry.run}")
        Recorder(context).finish(group, group.live, result)

    def _judge(self, context: TickContext, group: GroupView) -> None:
        settings = context.settings
        situation = Situation(
            drivers={},
            requests=settings.requests,
            workers=settings.site.workers,
            now=context.runtime.clock(),
            site=settings.site,
        )
        move = group_outcome(context.spec, group, situation)
        Recorder(context).move(group, move.state, move.reason)


def _at(context: TickContext, moment: datetime) -> TickContext:
    """Return a tick's context at another moment."""
    return replace(context, runtime=replace(context.runtime, clock=lambda: moment))


def _by_name(snapshot: Snapshot) -> dict[tuple[str, str], GroupView]:
    return {(group.step, group.key): group for group in snapshot.groups}
