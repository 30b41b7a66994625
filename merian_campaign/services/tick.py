"""One pass of the reconciler: observe, decide, act, record.

A tick may be killed anywhere: every side effect comes after the committed intention to have it, and
the next tick finds out what became of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from merian_campaign.domain import decide as core
from merian_campaign.domain import harvest, render, runs
from merian_campaign.domain.decide import Decision, Situation
from merian_campaign.domain.naming import RunName, SubmissionPaths, run_collection, submission_directory
from merian_campaign.domain.quanta import Quantum
from merian_campaign.domain.runs import RunEnd, RunResult
from merian_campaign.domain.snapshot import GroupView, Remedy, Snapshot, SubmissionView
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.states import QuantumState
from merian_campaign.services.hold import hold_file
from merian_campaign.services.ports import Drivers, Store
from merian_campaign.services.settings import CampaignSettings, Surroundings

MAX_PASSES = 50
"""Rounds of deciding within one tick; each settles what the one before made possible."""


@dataclass(frozen=True, kw_only=True)
class TickReport:
    """What a tick did.

    Parameters
    ----------
    actions : `tuple` [`str`, ...]
        In words, in order; progress taken in is not among them.
    live : `int`
        Unfinished submissions when it ended.
    progressed : `int`
        Quantum rows that live progress changed.
    """

    actions: tuple[str, ...]
    live: int
    progressed: int

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and nothing was done: only a person can move it on."""
        return not self.actions and self.live == 0


@dataclass(frozen=True, kw_only=True)
class Tick:
    """The reconciler of one campaign.

    Parameters
    ----------
    store : `Store`
        The tracking database.
    drivers : `Drivers`
        Driver processes.
    around : `Surroundings`
        Where things lie, who asks, what time it is.
    settings_of : callable
        Reads what a campaign's files say besides its own.
    """

    store: Store
    drivers: Drivers
    around: Surroundings
    settings_of: Callable[[CampaignSpec], CampaignSettings]

    def plan(self, name: str) -> tuple[tuple[Decision, ...], Snapshot]:
        """Return what the next tick would do first, without doing anything."""
        snapshot = self.store.snapshot(name)
        spec = CampaignSpec.model_validate(snapshot.campaign.spec)
        return core.decide(spec, snapshot, self._situation(spec, snapshot)), snapshot

    def run(self, name: str) -> TickReport:
        """Do one tick under the campaign's lock.

        Raises
        ------
        BusyError
            Raised if another tick holds the lock.
        """
        with self.store.campaign_lock(name):
            return self._run(name)

    def _run(self, name: str) -> TickReport:
        snapshot = self.store.snapshot(name)
        spec = CampaignSpec.model_validate(snapshot.campaign.spec)
        settings = self.settings_of(spec)
        tick_id = self.store.tick_started(
            campaign_id=snapshot.campaign.id,
            host=self.around.host,
            pid=self.around.pid,
            now=self.around.clock(),
        )
        done: list[str] = []
        progressed = 0
        error: str | None = None
        try:
            for _ in range(MAX_PASSES):
                decisions = core.decide(spec, snapshot, self._situation(spec, snapshot, settings))
                hand = _Hand(tick=self, spec=spec, settings=settings, snapshot=snapshot)
                words = [hand.act(decision) for decision in decisions]
                progressed += hand.progressed
                acted = [word for word in words if word]
                done += acted
                if not acted:
                    break
                snapshot = self.store.snapshot(name)
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
            raise
        finally:
            self.store.tick_finished(tick_id=tick_id, now=self.around.clock(), actions=len(done), error=error)
        live = sum(1 for group in snapshot.groups if group.live is not None)
        return TickReport(actions=tuple(done), live=live, progressed=progressed)

    def _situation(
        self, spec: CampaignSpec, snapshot: Snapshot, settings: CampaignSettings | None = None
    ) -> Situation:
        known = settings or self.settings_of(spec)
        now = self.around.clock()
        live = [group.live for group in snapshot.groups if group.live is not None]
        return Situation(
            drivers={submission.id: self.drivers.liveness(submission, now=now) for submission in live},
            requests=known.requests,
            workers=known.site.workers,
            now=now,
        )


class _Hand:
    """Carries out decisions, one at a time."""

    def __init__(
        self, *, tick: Tick, spec: CampaignSpec, settings: CampaignSettings, snapshot: Snapshot
    ) -> None:
        self._store = tick.store
        self._drivers = tick.drivers
        self._around = tick.around
        self._spec = spec
        self._settings = settings
        self._snapshot = snapshot
        self.progressed = 0

    def act(self, decision: Decision) -> str:
        """Carry out a decision; return it in words, or nothing when it was only looking."""
        match decision:
            case core.MoveGroup(group=group, state=state, reason=reason):
                self._store.move_group(
                    group_id=group.id,
                    state=state,
                    reason=reason,
                    actor=self._around.actor,
                    now=self._around.clock(),
                )
                return f"{_name(group)}: {state} ({reason})"
            case core.Submit(group=group, number=number, remedy=remedy, reason=reason):
                return self._submit(group, number=number, remedy=remedy, reason=reason)
            case core.Launch(group=group, submission=submission, reason=reason):
                self._launch(group, submission)
                return f"{_name(group)}: driver started for submission {submission.number} ({reason})"
            case core.Follow(group=group, submission=submission):
                self._follow(submission)
                return ""
            case core.Harvest(group=group, submission=submission):
                return self._harvest(group, submission)
            case core.GiveUp(group=group, submission=submission, reason=reason):
                return self._finish(group, submission, RunResult(end=RunEnd.FAILED, reason=reason))

    def _request(
        self, group: GroupView, step: BpsStep, *, number: int, directory: str, remedy: Remedy
    ) -> render.RenderRequest:
        return render.RenderRequest(
            spec=self._spec,
            step=step,
            group=group.key,
            selection=group.selection,
            number=number,
            directory=directory,
            site=self._settings.site,
            remedy=remedy,
            quantum_wrapper=self._around.quantum_wrapper,
            hold=any(entry.number < number for entry in group.submissions),
        )

    def _submit(self, group: GroupView, *, number: int, remedy: Remedy, reason: str) -> str:
        step = self._spec.step(group.step)
        directory = submission_directory(
            root=self._spec.work_dir or self._around.root,
            campaign=self._spec.campaign,
            step=group.step,
            group=group.key,
            number=number,
        )
        run = ""
        if isinstance(step, BpsStep):
            run = run_collection(
                RunName(step_output=self._spec.output_of(step), group=group.key, number=number)
            )
        submission = self._store.prepare_submission(
            group_id=group.id,
            number=number,
            run_collection=run,
            repository=self._spec.butler,
            directory=directory,
            remedy=remedy,
            reason=reason,
            actor=self._around.actor,
            now=self._around.clock(),
        )
        self._launch(group, submission)
        kind = "submission" if number == 1 else "afterburner"
        return f"{_name(group)}: {kind} {number} started ({reason})"

    def _launch(self, group: GroupView, submission: SubmissionView) -> None:
        step = self._spec.step(group.step)
        if isinstance(step, BpsStep):
            request = self._request(
                group,
                step,
                number=submission.number,
                directory=submission.directory,
                remedy=submission.remedy,
            )
            paths = SubmissionPaths(directory=submission.directory)
            files = {paths.yaml: render.render(request)}
            if request.hold:
                files[paths.hold] = hold_file(self._store.held_quanta(group_id=group.id))
            self._drivers.prepare(directory=submission.directory, files=files)
        self._store.launching(submission_id=submission.id, now=self._around.clock())
        self._drivers.launch(submission=submission, environment=self._spec.environment)

    def _follow(self, submission: SubmissionView) -> None:
        predicted = self._drivers.predicted(submission.directory)
        if not predicted:
            return
        quanta = harvest.progress(predicted, self._drivers.records(submission.directory))
        self.progressed += self._store.record_progress(
            submission_id=submission.id, quanta=quanta, now=self._around.clock()
        )

    def _harvest(self, group: GroupView, submission: SubmissionView) -> str:
        outcome = self._drivers.outcome(submission.directory)
        assert outcome is not None
        return self._finish(group, submission, runs.from_json(outcome))

    def _finish(self, group: GroupView, submission: SubmissionView, result: RunResult) -> str:
        step = self._spec.step(group.step)
        quanta: tuple[Quantum, ...] = ()
        if isinstance(step, BpsStep) and result.end is not RunEnd.EMPTY:
            quanta = harvest.conclude(
                self._drivers.harvested(submission.directory),
                predicted=self._drivers.predicted(submission.directory),
                records=self._drivers.records(submission.directory),
                context=harvest.Context(
                    rules=self._settings.rules,
                    requests=self._settings.requests[step.name],
                    remedy=submission.remedy,
                    driver_lost=result.end is RunEnd.LOST,
                ),
            )
        complete = all(quantum.state is QuantumState.SUCCEEDED for quantum in quanta)
        outcome = runs.outcome_of(result, all_succeeded=complete)
        self._store.harvest(
            submission_id=submission.id,
            quanta=quanta,
            outcome=outcome,
            reason=result.reason or _tally(quanta),
            actor=self._around.actor,
            now=self._around.clock(),
        )
        return f"{_name(group)}: submission {submission.number} {outcome} ({result.reason or _tally(quanta)})"


def _tally(quanta: tuple[Quantum, ...]) -> str:
    found = Counter(quantum.state for quantum in quanta)
    return ", ".join(f"{number} {state}" for state, number in sorted(found.items())) or "no quanta"


def _name(group: GroupView) -> str:
    return f"{group.step}/{group.key}"
