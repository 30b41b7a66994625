"""Putting on record what was seen of submissions: live progress, how each ended, where its group goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from merian_campaign.domain.execution import runs
from merian_campaign.domain.execution.busy_blocks import busy_after
from merian_campaign.domain.execution.journal import JournalRecord
from merian_campaign.domain.execution.journal_lines import JournalLines
from merian_campaign.domain.execution.provenance import LineReport, Predicted, RawQuantum
from merian_campaign.domain.execution.quanta import Quantum
from merian_campaign.domain.execution.quantum_progress import fold
from merian_campaign.domain.execution.queue_wait import TaskWait, queue_waits
from merian_campaign.domain.execution.runs import INFRASTRUCTURE_FAILED, RunEnd, RunResult
from merian_campaign.domain.failures import harvest
from merian_campaign.domain.failures.judged_attempts import HarvestContext
from merian_campaign.domain.record.snapshot import GroupView, SubmissionView
from merian_campaign.domain.record.wall_time import wall_time
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.spec import BpsStep
from merian_campaign.domain.states import GroupState, QuantumState, SubmissionOutcome
from merian_campaign.host.collector import no_collection
from merian_campaign.host.regular_files import DamagedFileError
from merian_campaign.services.slurm_view import refused_words
from merian_campaign.services.tick_context import TickContext, TickPart

type _Remains = tuple[tuple[RawQuantum, ...], tuple[Predicted, ...], LineReport, str]


@dataclass(frozen=True, kw_only=True)
class _Harvested:
    """How a submission ended, what is known of its quanta, and what of that was damaged or healed."""

    result: RunResult
    quanta: tuple[Quantum, ...] = ()
    waits: tuple[TaskWait, ...] = ()
    wrong: LineReport = field(default_factory=LineReport)
    healed: str = ""

    @property
    def outcome(self) -> SubmissionOutcome:
        """Succeeded only if all quanta are known, and did."""
        complete = all(one.state is QuantumState.SUCCEEDED for one in self.quanta) and not self.wrong.number
        return runs.outcome_of(self.result, all_succeeded=complete)

    @property
    def reason(self) -> str:
        """In words."""
        damaged = f"damaged: {self.wrong}" if self.wrong.number else ""
        return "; ".join((self.result.reason or _tally(self.quanta), *filter(None, (damaged, self.healed))))


class Recorder(TickPart):
    """Puts on record what was seen.

    Parameters
    ----------
    context : `TickContext`
        The campaign and the world.

    Attributes
    ----------
    progressed : `int`
        Quantum rows that live progress changed.
    """

    def __init__(self, context: TickContext) -> None:
        super().__init__(context)
        self.progressed = 0

    def move(self, group: GroupView, state: GroupState, reason: str) -> str:
        """Move a group; return that in words."""
        self._store.move_group(
            group_id=group.id,
            state=state,
            reason=reason,
            actor=self._runtime.actor,
            now=self._runtime.clock(),
        )
        return f"{name_of(group)}: {state} ({reason})"

    def follow(self, submission: SubmissionView) -> None:
        """Take in the live progress of a submission: what its journal says since this was done last."""
        directory = submission.directory
        on_slurm = bool(self._slurm_view.jobs(submission))
        busy = submission.busy
        part = self._drivers.appended(directory, start=submission.followed or 0)
        # What opens or closes a journal says something of all that ran.
        if part.start and (not part.alone or (on_slurm and busy is None)):
            part = self._drivers.appended(directory)
        news = submission.followed is None or part.end != submission.followed
        if not news and not on_slurm:
            return
        if not part.start:
            busy = busy_after({}, part.records)
        elif busy is not None:
            busy = busy_after(busy, part.records)
        quanta: tuple[Quantum, ...] = ()
        followed = submission.followed
        if news:
            seen = fold(part.records)
            predicted = self._drivers.predicted(directory, only=seen if part.alone else None)
            if not predicted and not part.alone and not on_slurm:
                return
            quanta = harvest.progress(predicted, seen)
            followed = part.end if predicted or part.alone else None
        now = self._runtime.clock()
        self.progressed += self._store.record_progress(
            submission_id=submission.id,
            quanta=quanta,
            now=now,
            jobs=self._slurm_view.records(submission, busy=busy or {}, now=now),
            followed=followed,
            busy=busy,
        )

    @no_collection()
    def finish(self, group: GroupView, submission: SubmissionView, result: RunResult) -> str:
        """Take in all that a submission left, and finish it; return how it ended in words."""
        now = self._runtime.clock()
        journal = self._drivers.records(submission.directory)
        found = self._harvested(group, submission, self._in_words(submission, result), journal)
        outcome, reason = found.outcome, found.reason
        busy = busy_after({}, journal) if self._slurm_view.jobs(submission) else {}
        jobs = self._slurm_view.records(submission, busy=busy, now=now, final=True)
        self._store.harvest(
            submission_id=submission.id,
            quanta=found.quanta,
            outcome=outcome,
            reason=reason,
            actor=self._runtime.actor,
            now=now,
            jobs=jobs,
            needs_person=found.result.needs_person,
            wall=wall_time(
                created=submission.created_at,
                driver=self._drivers.times(submission.directory),
                journal=journal,
                jobs=jobs,
                now=now,
            ),
            waits=found.waits,
        )
        return f"{name_of(group)}: submission {submission.number} {outcome} ({reason})"

    def _harvested(
        self, group: GroupView, submission: SubmissionView, result: RunResult, journal: JournalLines
    ) -> _Harvested:
        """Return what became of a submission's quanta, and how it ended by that; an action has none."""
        step = self._spec.step(group.step)
        if not isinstance(step, BpsStep):
            return _Harvested(result=result)
        if result.end is RunEnd.EMPTY:
            graph = self._drivers.predicted(submission.directory)
            result = runs.believed(result, quanta=len(graph or fold(journal)))
        if result.end is RunEnd.EMPTY:
            return _Harvested(result=result)
        raw, predicted, wrong, healed = self._remains(submission, result)
        quanta = harvest.conclude(
            raw,
            predicted=predicted,
            records=journal,
            context=HarvestContext(
                rules=self._settings.rules,
                requests=self._settings.requests[step.name],
                remedy=submission.remedy,
                driver_lost=result.end is RunEnd.LOST,
                blocks=self._slurm_view.blocks(submission),
                tolerate=step.tolerate,
                cores={task: found.cpus for task, found in step.resources.items() if found.cpus},
                release=submission.versions_short,
            ),
        )
        return _Harvested(
            result=runs.believed(result, quanta=len(quanta)),
            quanta=quanta,
            waits=queue_waits(journal.in_full(), predicted=predicted),
            wrong=wrong,
            healed=healed or _cut_words(submission, raw, journal),
        )

    def _remains(self, submission: SubmissionView, result: RunResult) -> _Remains:
        """Return a submission's quanta; what is damaged or missing of them is written anew and read again."""
        wrong, damage = LineReport(), ""
        try:
            raw, predicted = self._read(submission, wrong)
        except DamagedFileError as error:
            damage = str(error)
        else:
            ran = result.end is RunEnd.RAN
            if not wrong.number and not (ran and (not raw or len(raw) < len(predicted))):
                return raw, predicted, wrong, ""
        (left,) = self._registry.salvage(
            [(submission.directory, submission.run_collection)],
            repository=self._spec.butler,
            environment=self._spec.environment,
            stack=self._settings.stack,
        )
        still = LineReport()
        raw, predicted = self._read(submission, still)
        lost = damage or str(wrong) or "quanta are missing in its files"
        return raw, predicted, still, f"{lost}; {left.in_words()}"

    def _read(
        self, submission: SubmissionView, wrong: LineReport
    ) -> tuple[tuple[RawQuantum, ...], tuple[Predicted, ...]]:
        raw = self._drivers.harvested(submission.directory, wrong=wrong)
        return raw, self._drivers.predicted(submission.directory, wrong=wrong)

    def _in_words(self, submission: SubmissionView, result: RunResult) -> RunResult:
        """Add what Slurm did to a run; one that it gave no block has failed, whatever its driver says."""
        if result.end is RunEnd.CANCELLED:
            return result
        words = refused_words(self._drivers.block_lines(submission.directory))
        if words and result.exit_code == INFRASTRUCTURE_FAILED:
            return replace(result, end=RunEnd.FAILED, reason=f"Slurm refused its blocks: {words}")
        trouble = self._slurm_view.driver_trouble(submission)
        if trouble and result.end in {RunEnd.FAILED, RunEnd.LOST}:
            return replace(result, reason=f"{result.reason}; its driver's {trouble}")
        return result


def _cut_words(
    submission: SubmissionView, raw: Iterable[RawQuantum], records: Collection[JournalRecord]
) -> str:
    """Say that a journal lacks what it must have had; empty when it does not."""
    number = harvest.unjournalled(raw, records)
    if not number:
        return ""
    path = SubmissionPaths(directory=submission.directory).journal
    noun = "quantum" if number == 1 else "quanta"
    return f"{path}: is cut, the end of {number} {noun} is not in it but taken from the provenance graph"


def _tally(quanta: tuple[Quantum, ...]) -> str:
    found = Counter(quantum.state for quantum in quanta)
    return ", ".join(f"{number} {state}" for state, number in sorted(found.items())) or "no quanta"


def name_of(group: GroupView) -> str:
    """Return how a group is called: ``STEP/KEY``."""
    return f"{group.step}/{group.key}"
