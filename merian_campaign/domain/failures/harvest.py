"""From what a submission left behind to quanta with attempts and verdicts.

Three sources, in order of trust: the provenance graph (what became of each quantum), the journal
(exit status, signal, peak memory, host of each process), the predicted graph (what there was to do).
«Unknown» is a legal answer; blocked is not failed; a success with a caveat is a success.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from merian_campaign.domain.execution import journal
from merian_campaign.domain.execution.blocking import blockers, mark_blocked
from merian_campaign.domain.execution.guard_words import refused
from merian_campaign.domain.execution.provenance import SUCCESSFUL, Predicted, RawQuantum
from merian_campaign.domain.execution.quanta import Attempt, Quantum
from merian_campaign.domain.execution.quantum_progress import JournalState, QuantumProgress, fold
from merian_campaign.domain.failures.block_verdict import earlier_executions, last_starts
from merian_campaign.domain.failures.judged_attempts import OVER, HarvestContext, Seen, judged_attempts
from merian_campaign.domain.spec.tolerance import named
from merian_campaign.domain.states import QuantumState


def progress(predicted: Iterable[Predicted], seen: Mapping[str, QuantumProgress]) -> tuple[Quantum, ...]:
    """Return live states while a submission runs, from what its journal says of each quantum.

    A quantum of a job that held several is not called failed before the harvest: the job's status
    does not tell which of them it was.
    """
    return tuple(
        Quantum(
            task=entry.task,
            data_id=entry.data_id,
            dimensions=entry.dimensions,
            state=_live_state(seen.get(entry.uuid)),
        )
        for entry in predicted
    )


def _live_state(seen: QuantumProgress | None) -> QuantumState:
    if seen is None:
        return QuantumState.PENDING
    match seen.state:
        case JournalState.RUNNING:
            return QuantumState.RUNNING
        case JournalState.OK:
            return QuantumState.SUCCEEDED
        case JournalState.FAILED | JournalState.HELD:
            return QuantumState.UNKNOWN if seen.shared else QuantumState.FAILED
        case JournalState.LOST:
            return QuantumState.UNKNOWN
        case _:
            return QuantumState.PENDING


def conclude(
    raw: Iterable[RawQuantum],
    *,
    predicted: Iterable[Predicted],
    records: Collection[journal.JournalRecord],
    context: HarvestContext,
) -> tuple[Quantum, ...]:
    """Return the final state of every predicted quantum of a submission.

    Parameters
    ----------
    raw : iterable of `RawQuantum`
        From the provenance graph; may lack quanta, or be empty when there is none.
    predicted : iterable of `Predicted`
        From the predicted graph.
    records : collection of `journal.Record`
        The whole journal.
    context : `HarvestContext`
        The submission.
    """
    context = replace(context, bases={**context.bases, **journal.exception_bases(records)})
    seen = fold(records)
    journalled = bool(seen)
    found = {entry.uuid: entry for entry in raw}
    plan = {entry.uuid: entry for entry in predicted}
    for uuid, entry in found.items():
        plan.setdefault(
            uuid,
            Predicted(
                uuid=uuid, task=entry.task, data_id=entry.data_id, dimensions=entry.dimensions, after=()
            ),
        )
    states = {uuid: _state(found.get(uuid), seen.get(uuid), journalled=journalled) for uuid in plan}
    mark_blocked(states, plan)
    behind = blockers(states, plan)
    # A quantum that was held back had no attempt here: what is known of it stays as it was.
    held = {uuid for uuid, entry in seen.items() if entry.state is JournalState.HELD}
    starts, earlier = last_starts(records), earlier_executions(records)
    return tuple(
        _quantum(
            entry,
            found.get(uuid),
            Seen(progress=seen.get(uuid), start=starts.get(uuid), earlier=earlier.get(uuid, ())),
            state=states[uuid],
            blocked_by=plan.get(behind.get(uuid, "")),
            context=context,
        )
        for uuid, entry in plan.items()
        if uuid not in held
    )


def unjournalled(raw: Iterable[RawQuantum], records: Iterable[journal.JournalRecord]) -> int:
    """Return how many quanta have run by the provenance graph, and have no end in the journal: it was cut."""
    told = {quantum for record in records if record.event in OVER for quantum in record.quanta}
    return sum(
        entry.uuid not in told
        for entry in raw
        if entry.status in SUCCESSFUL or any(attempt.started for attempt in entry.attempts)
    )


def _state(raw: RawQuantum | None, seen: QuantumProgress | None, *, journalled: bool) -> QuantumState:
    """Return a quantum's state before blocking is derived from the graph."""
    if raw is not None and raw.status in SUCCESSFUL:
        return QuantumState.SUCCEEDED
    if raw is not None and raw.status == "BLOCKED":
        return QuantumState.BLOCKED
    has_log = raw is not None and any(entry.exception_type or entry.started for entry in raw.attempts)
    if has_log or _process_failed(raw, seen):
        return QuantumState.FAILED
    if not journalled and raw is not None and raw.status == "FAILED" and raw.log is not None:
        # A run without a journal: that its job wrote a log is all there is to show that it ran. The graph
        # calls failed too what never began: its workflow was not built, its initialization failed.
        return QuantumState.FAILED
    return QuantumState.UNKNOWN


def _process_failed(raw: RawQuantum | None, seen: QuantumProgress | None) -> bool:
    """Say whether the journal shows that this very quantum did not succeed.

    In a job of several quanta it does not: the one that was running when it died is not named. A
    process that ended well failed only if the provenance graph says so; without one it is unknown.
    """
    if seen is None:
        return False
    if refused(seen.record):
        return True
    if seen.shared:
        return False
    if seen.state is JournalState.OK:
        return raw is not None and raw.status == "FAILED"
    return seen.starts > 0 or seen.state is JournalState.HELD


def _quantum(
    entry: Predicted,
    raw: RawQuantum | None,
    seen: Seen,
    *,
    state: QuantumState,
    blocked_by: Predicted | None,
    context: HarvestContext,
) -> Quantum:
    attempts: tuple[Attempt, ...] = ()
    if state in {QuantumState.SUCCEEDED, QuantumState.FAILED}:
        attempts = judged_attempts(entry, raw, seen, state=state, context=context)
    dimensions = entry.dimensions
    if raw is not None and raw.dimensions != dimensions:
        dimensions = {**dimensions, **raw.dimensions}
    verdict = attempts[-1].verdict if attempts else None
    return Quantum(
        task=entry.task,
        data_id=entry.data_id,
        dimensions=dimensions,
        state=state,
        caveats="" if raw is None else raw.caveats,
        attempts=attempts,
        blocked_by=None if blocked_by is None else (blocked_by.task, blocked_by.data_id),
        tolerated=state is QuantumState.FAILED
        and named(context.tolerate, task=entry.task, verdict=verdict, dimensions=dimensions),
    )
