"""Attempts of a quantum that was harvested: the provenance graph joined with the journal, and each judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from merian_campaign.domain.execution import journal
from merian_campaign.domain.execution.guard_words import guard_words, refused
from merian_campaign.domain.execution.provenance import Predicted, RawQuantum, moment_after
from merian_campaign.domain.execution.quanta import Attempt, Judgement, changed_attempt
from merian_campaign.domain.execution.quantum_progress import JournalState, QuantumProgress
from merian_campaign.domain.failures.block_verdict import EarlierExecution, blame, of_block
from merian_campaign.domain.failures.certainty import Certainty, certainty
from merian_campaign.domain.failures.failure_rules import FailureRule
from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.failures.rules import Evidence, judge
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.slurm.slurm_jobs import SlurmJob
from merian_campaign.domain.spec.tolerance import Tolerance
from merian_campaign.domain.states import QuantumState, Verdict

OVER = frozenset({journal.JournalEvent.ENDED, journal.JournalEvent.HELD})
"""Events after which an execution is over."""

_CLOCK_STEP = timedelta(seconds=2)
"""How far apart the graph and the journal may have the start of one process, which both its clock told."""


@dataclass(frozen=True, kw_only=True)
class HarvestContext:
    """What is known of the submission as a whole.

    Parameters
    ----------
    rules : `tuple` [`FailureRule`, ...]
        The campaign's failure rules.
    requests : `RequestTable`
        Memory requests of the step before any remedy.
    remedy : `Remedy`
        What the submission asked for.
    driver_lost : `bool`
        Whether its driver died.
    blocks : `~collections.abc.Mapping`
        Its blocks by Slurm job id, as far as they are known.
    bases : `~collections.abc.Mapping`
        What is known of exceptions by class: names of bases by the type's name; `conclude` adds what the
        journal has.
    cores : `~collections.abc.Mapping`
        Cores that a quantum asks for by task; one where it does not say.
    tolerate : `tuple` [`Tolerance`, ...]
        Losses that the step takes.
    release : `str`
        The release of the LSST stack that it ran under, in words; empty when that is not known.
    """

    rules: tuple[FailureRule, ...]
    requests: RequestTable
    remedy: Remedy
    driver_lost: bool
    blocks: Mapping[str, SlurmJob] = field(default_factory=dict)
    bases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cores: Mapping[str, int] = field(default_factory=dict)
    tolerate: tuple[Tolerance, ...] = ()
    release: str = ""


class Seen(NamedTuple):
    """What the journal has of one quantum: last state, last start, and what came before that."""

    progress: QuantumProgress | None = None
    start: journal.JournalRecord | None = None
    earlier: tuple[EarlierExecution, ...] = ()


def judged_attempts(
    entry: Predicted,
    raw: RawQuantum | None,
    seen: Seen,
    *,
    state: QuantumState,
    context: HarvestContext,
) -> tuple[Attempt, ...]:
    """Join the provenance's attempts with the journal's executions: each is one attempt.

    Those that were killed have left nothing for the graph.
    """
    known = list(raw.attempts if raw is not None else ())
    log = None if raw is None else raw.log
    inputs = None if raw is None else raw.inputs
    if state is QuantumState.SUCCEEDED and len(known) == 1 and not seen.earlier:  # of nearly all
        facts = {"try_number": 1, "state": state, "log_path": log, "inputs": inputs}
        return (_attempt(entry, known[0], seen, became=facts, context=context),)
    last = known.pop() if known and not _is_of_earlier(known[-1], seen) else _EMPTY
    made: list[Attempt] = []

    def add(found: Attempt, seen_of: Seen, became: QuantumState) -> None:
        facts = {"try_number": len(made) + 1, "state": became, "log_path": log, "inputs": inputs}
        made.append(_attempt(entry, found, seen_of, became=facts, context=context))

    after = [*(each.start.time for each in seen.earlier[1:]), None if seen.start is None else seen.start.time]
    for execution, until in zip(seen.earlier, after, strict=False):
        while known and _precedes(known[0], execution):
            add(known.pop(0), Seen(), QuantumState.FAILED)
        if not execution.failed:
            # What it may have ended with before its block went down is of no attempt besides.
            known = known[bool(known) and _is_before(known[0].started, until) :]
            made.append(_lost(entry, execution, number=len(made) + 1, log=log, context=context))
            continue
        found = known.pop(0) if known and _is_of(known[0], execution) else _EMPTY
        add(found, _seen_of(execution, uuid=entry.uuid), QuantumState.FAILED)
    for found in known:
        add(found, Seen(), found.state)
    add(last, seen._replace(earlier=()), state)
    if raw is not None and state is QuantumState.FAILED:
        # The log is of the last execution.
        made[-1] = replace(made[-1], log_tail=raw.log_tail)
    return tuple(each if each.inputs == inputs else replace(each, inputs=inputs) for each in made)


def _is_of(attempt: Attempt, execution: EarlierExecution) -> bool:
    """Say whether an attempt of the graph is an execution of the journal; one that was killed wrote none."""
    return execution.last.exit is not None and not _is_before(execution.last.time, attempt.started)


def _precedes(attempt: Attempt, execution: EarlierExecution) -> bool:
    return _is_before(attempt.started, execution.start.time)


def _is_of_earlier(attempt: Attempt, seen: Seen) -> bool:
    """Say whether the graph's last attempt is not the journal's last execution, which left nothing for it."""
    return bool(seen.earlier) and seen.start is not None and _is_before(attempt.started, seen.start.time)


def _is_before(first: datetime | None, second: datetime | None) -> bool:
    return first is not None and second is not None and first + _CLOCK_STEP < second


def _seen_of(execution: EarlierExecution, *, uuid: str) -> Seen:
    progress = QuantumProgress(
        quantum=uuid, state=JournalState.FAILED, starts=1, shared=False, record=execution.last
    )
    return Seen(progress=progress, start=execution.start)


_EMPTY = Attempt(try_number=1, state=QuantumState.UNKNOWN)
"""Of a quantum of which the provenance graph has no attempt."""


def _attempt(
    entry: Predicted, known: Attempt, seen: Seen, *, became: Mapping[str, Any], context: HarvestContext
) -> Attempt:
    """Add to an attempt as the provenance graph has it what the journal knows, and the verdict on it."""
    record = None if seen.progress is None else seen.progress.record
    over = record is not None and record.event in OVER
    started, ended = known.started, known.ended
    if record is not None and ended is None and over:
        ended = record.time
        started = started or moment_after(ended, None if record.wall_s is None else -record.wall_s)
    attempt = changed_attempt(
        known,
        exit_code=None if record is None else record.exit,
        signal=None if record is None else record.signal,
        peak_mb=_peak(known, record),
        requested_mb=_requested(entry.task, record, context),
        started=started,
        ended=ended,
        host=None if record is None or not record.host else record.host,
        uuid=entry.uuid,
        cpu_seconds=known.cpu_seconds if record is None or record.cpu_s is None else record.cpu_s,
        cores=_cores(entry.task, context),
        slurm_job=(record and record.slurm_job) or (seen.start and seen.start.slurm_job) or None,
        # The word of the process that raised it comes first.
        exception_bases=context.bases.get(known.exception_type or "", known.exception_bases),
        **became,
    )
    if attempt.state is not QuantumState.FAILED:
        return attempt
    block = blame(seen.progress, start=seen.start, blocks=context.blocks)
    evidence = _evidence(entry, attempt, seen.progress, context=context, ended=over, block=block)
    found = judge(evidence, rules=context.rules)
    sure = certainty(attempt, found, guard=evidence.journal_verdict, block=block)
    return replace(
        attempt,
        verdict=found.verdict,
        evidence=found.evidence,
        charged=found.charged,
        certainty=sure.value,
        rule=found.rule,
        remedy=found.remedy,
    )


def _cores(task: str, context: HarvestContext) -> int | None:
    cores = context.cores.get(task, 1)
    return cores if cores > 1 else None


def _lost(
    entry: Predicted, gone: EarlierExecution, *, number: int, log: str | None, context: HarvestContext
) -> Attempt:
    """Return the attempt of an execution that went down with its block and was made up for afterwards."""
    start = gone.start
    job = context.blocks.get(start.slurm_job or "")
    found = None if job is None or not job.over else of_block(job, record=gone.last, start=start)
    return Attempt(
        try_number=number,
        state=QuantumState.FAILED,
        verdict=Verdict.NODE_LOST if found is None else found.verdict,
        evidence=f"it was started in Slurm job {start.slurm_job} and never ended there"
        if found is None
        else found.evidence,
        requested_mb=_requested(entry.task, start, context),
        peak_mb=None if gone.last.peak_mb is None else round(gone.last.peak_mb),
        started=start.time,
        ended=None if gone.last is start else gone.last.time,
        host=start.host or None,
        log_path=log,
        uuid=entry.uuid,
        cores=_cores(entry.task, context),
        slurm_job=start.slurm_job or None,
        certainty=Certainty.INFERRED if found is None else Certainty.MEASURED,
        charged=False if found is None else found.charged,
    )


def _peak(known: Attempt, record: journal.JournalRecord | None) -> int | None:
    if record is not None and record.peak_mb is not None:
        return round(record.peak_mb)
    return known.peak_mb


def _requested(task: str, record: journal.JournalRecord | None, context: HarvestContext) -> int:
    if record is not None and record.requested_mb:
        return round(record.requested_mb)
    return context.requests.request(task, context.remedy)


def _evidence(
    entry: Predicted,
    attempt: Attempt,
    seen: QuantumProgress | None,
    *,
    context: HarvestContext,
    ended: bool,
    block: Judgement | None,
) -> Evidence:
    record = None if seen is None else seen.record
    guard = record.verdict if record is not None and record.verdict not in {"ok", "failed"} else None
    if refused(record):
        guard = "refused"
    words = guard_words(record) if guard is not None and record is not None else ""
    return Evidence(
        task=entry.task,
        attempt=attempt,
        journal_verdict=guard,
        journal_evidence=words,
        started=seen is not None and seen.starts > 0,
        ended=ended,
        driver_lost=context.driver_lost,
        block=block,
        release=context.release,
    )
