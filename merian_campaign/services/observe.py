"""What one tick knows besides the database, and what it decides on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial

from merian_campaign.domain.execution.liveness import Liveness
from merian_campaign.domain.failures.fault_attribution import Broken, alone
from merian_campaign.domain.readiness.complete_nights import Arrivals
from merian_campaign.domain.record.snapshot import Snapshot, SubmissionView
from merian_campaign.domain.resources.cluster import Cluster, ResourceRequest, test_options
from merian_campaign.domain.resources.core_hours import CoreHours, core_hours
from merian_campaign.domain.resources.memory_model import MemoryBin, MemoryForecast
from merian_campaign.domain.resources.throttle import counts_hours, last_noon
from merian_campaign.domain.states import GroupState
from merian_campaign.domain.tick import decisions as core
from merian_campaign.domain.tick.decide import decide
from merian_campaign.domain.tick.decisions import Decision, Situation
from merian_campaign.domain.tick.driver_jobs import DriverStatus, look
from merian_campaign.files.raw_files import look_for_arrivals
from merian_campaign.services.memory_forecasts import step_forecasts
from merian_campaign.services.tick_context import TickContext, TickPart


class Observer(TickPart):
    """What one tick knows besides the database, and what it decides on it.

    Parameters
    ----------
    context : `TickContext`
        The campaign and the world.

    Attributes
    ----------
    asked : `bool`
        Whether the cluster was asked for its limits.
    waits : `str`
        Why it did not say, in words.
    no_jobs : `str`
        Why Slurm took no more drivers' jobs for now, in words.
    held : `tuple` [`str`, ...]
        Why groups that are ready were not submitted when it last decided.
    """

    def __init__(self, context: TickContext) -> None:
        super().__init__(context)
        self.asked = False
        self.waits = ""
        self.no_jobs = ""
        self.held: tuple[str, ...] = ()
        self._cluster: Cluster | None = None
        self._answers: dict[tuple[str, ...], bool] = {}
        self._arrivals: Arrivals | None = None
        self._used: CoreHours | None = None
        self._found: str | None = None
        self._measured: Mapping[str, Mapping[str, tuple[MemoryBin, ...]]] | None = None
        self._forecasts: dict[str, tuple[MemoryForecast, ...]] = {}

    def arrivals(self, snapshot: Snapshot) -> Arrivals:
        """Return what of new data lies on the file system; it is looked for once a tick."""
        if self._arrivals is None:
            self._arrivals = look_for_arrivals(self._spec, snapshot.overlaps)
        return self._arrivals

    @property
    def unreachable(self) -> str:
        """Why Slurm did not answer, if it did not."""
        return self._slurm_view.unreachable or self.waits

    def decide(self, snapshot: Snapshot) -> tuple[Decision, ...]:
        """Return what to do now; the cluster is asked for its limits once, when something is to start."""
        decisions = self._decide(snapshot)
        submits = any(isinstance(decision, core.Submit) for decision in decisions)
        if self.asked:
            return self._as_slurm_says(decisions, snapshot)
        if not submits or not self._settings.site.on_slurm:
            return decisions
        self.asked = True
        found = self._slurm_view.unreachable or self._scheduler.cluster()
        if isinstance(found, str):
            self.waits = found
        else:
            self._cluster = found
        return self._as_slurm_says(self._decide(snapshot), snapshot)

    def _as_slurm_says(self, decisions: tuple[Decision, ...], snapshot: Snapshot) -> tuple[Decision, ...]:
        """Decide again about jobs that the partitions refuse by our arithmetic, if Slurm would take them."""
        refused = {
            test_options(entry.misfit): entry.misfit
            for entry in decisions
            if isinstance(entry, core.MoveGroup) and entry.misfit is not None
        }
        taken = {options for options, asked in refused.items() if self._takes(options, asked)}
        if not taken or self._cluster is None:
            return decisions
        self._cluster = replace(self._cluster, taken=self._cluster.taken | taken)
        return self._as_slurm_says(self._decide(snapshot), snapshot)

    def _takes(self, options: tuple[str, ...], asked: ResourceRequest) -> bool:
        if options not in self._answers:
            self._answers[options] = self._scheduler.would_take(asked)
        return self._answers[options]

    def _decide(self, snapshot: Snapshot) -> tuple[Decision, ...]:
        self.no_jobs = self.no_jobs or self._scheduler.full(fresh_seconds=self._settings.site.status_seconds)
        decisions = decide(self._spec, snapshot, self._situation(snapshot))
        waiting = [decision.reason for decision in decisions if isinstance(decision, core.Wait)]
        self.held = tuple(dict.fromkeys(waiting))
        return decisions

    def _situation(self, snapshot: Snapshot) -> Situation:
        now = self._runtime.clock()
        live = [group.live for group in snapshot.groups if group.live is not None]
        found = {submission.id: alone(partial(self._look, submission, now=now)) for submission in live}
        seen = {key: value for key, value in found.items() if not isinstance(value, Broken)}
        damaged = {key: value.reason for key, value in found.items() if isinstance(value, Broken)}
        return Situation(
            drivers={key: value.liveness for key, value in seen.items()},
            words={key: value.words for key, value in seen.items() if value.words},
            damaged={**self._slurm_view.damaged, **damaged},
            requests=self._settings.requests,
            workers=self._settings.site.workers,
            now=now,
            site=self._settings.site,
            cluster=self._cluster,
            no_submission=f"Slurm does not answer: {self.waits}" if self.waits else "",
            no_jobs=f"Slurm takes no driver's job for now: {self.no_jobs}" if self.no_jobs else "",
            others=None if self._spec.limits.jobs is None else self._slurm_view.others(live),
            arrivals=self.arrivals(snapshot),
            core_hours=self._core_hours(now),
            release=self._release(),
            learned=self.learned(snapshot),
            grace=core.STACK_GRACE if self._settings.stack.sets_up else core.LAUNCH_GRACE,
        )

    def learned(self, snapshot: Snapshot) -> Mapping[str, tuple[MemoryForecast, ...]]:
        """Return the requests that steps get by what was measured, of which a group may be submitted now."""
        if not self._spec.learn_memory:
            return {}
        ready = {one.step for one in snapshot.groups if one.state is GroupState.READY and not one.live}
        new = ready - {*self._forecasts}
        if new and self._measured is None:
            self._measured = self._store.memory_use(campaign_id=self._campaign_id)
        if new:
            self._forecasts |= step_forecasts(self._spec, self._settings, self._measured or {}, steps=new)
        return self._forecasts

    def _core_hours(self, now: datetime) -> CoreHours | None:
        """Return the core-hours that were used, asked once a tick and only where they are limited."""
        if self._used is None and counts_hours(self._spec):
            since = last_noon(self._spec, now=now)
            times = self._store.run_times(campaign_id=self._campaign_id, since=since)
            self._used = core_hours(self._spec, times)
        return self._used

    def _release(self) -> str:
        """Return the digest of the LSST stack that drivers would find, where a canary depends on it."""
        if self._found is None and self._spec.limits.canary is not None:
            self._found = self._drivers.release(stack=self._settings.stack)
        return self._found or ""

    def _look(self, submission: SubmissionView, *, now: datetime) -> DriverStatus:
        self._drivers.require_own(submission.directory)
        ended = self._drivers.outcome(submission.directory) is not None
        if ended and submission.id not in self._slurm_view.ended and self._has_jobs(submission):
            # What became of its jobs is not known: Slurm was asked before. The next tick takes it in.
            return DriverStatus(liveness=Liveness.ALIVE)
        if ended or not submission.driver_job:
            return DriverStatus(liveness=self._drivers.liveness(submission, now=now))
        sight = self._slurm_view.sight
        if sight is None:  # its job was submitted in this very tick
            return DriverStatus(liveness=Liveness.UNSEEN)
        return look(submission, sight=sight, now=now)

    def _has_jobs(self, submission: SubmissionView) -> bool:
        return bool(submission.driver_job or self._drivers.block_lines(submission.directory))
