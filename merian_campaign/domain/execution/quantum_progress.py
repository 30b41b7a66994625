"""What a journal says of each quantum: its lines folded into the last known state."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from merian_campaign.domain.execution.journal import JobVerdict, JournalEvent, JournalRecord

__all__ = ["JournalState", "QuantumProgress", "fold"]


class JournalState(StrEnum):
    """Last known state of one quantum, as far as the journal tells."""

    LAUNCHED = "launched"
    """Handed to the engine, not seen starting."""

    RUNNING = "running"
    """Started and not seen ending."""

    OK = "ok"
    """Its job ended well."""

    FAILED = "failed"
    """Its job ended otherwise; the record's verdict says how."""

    HELD = "held"
    """Left out on purpose."""

    LOST = "lost"
    """Started, never seen ending, and the journal was closed or opened again after that."""


class QuantumProgress(NamedTuple):
    """What the journal knows about one quantum.

    Parameters
    ----------
    quantum : `str`
        UUID in this submission's graph.
    state : `JournalState`
        Last known state.
    starts : `int`
        How many times a job with this quantum was started.
    shared : `bool`
        The job held several quanta: a failure is the job's, and this quantum itself may have succeeded.
    record : `JournalRecord`
        The line that set ``state`` (for `JournalState.LOST`, the one that started it).
    """

    quantum: str
    state: JournalState
    starts: int
    shared: bool
    record: JournalRecord


_WHOLE = frozenset({JournalEvent.OPENED, JournalEvent.CLOSED})
_AFTER: Mapping[str, JournalState] = {
    JournalEvent.LAUNCHED: JournalState.LAUNCHED,
    JournalEvent.STARTED: JournalState.RUNNING,
    JournalEvent.ENDED: JournalState.OK,
    JournalEvent.HELD: JournalState.HELD,
}


def fold(records: Iterable[JournalRecord]) -> dict[str, QuantumProgress]:
    """Return the last known state of every quantum that a journal mentions.

    A success is final: a job that is started again after it (a resumed submission) only finds its
    outputs there.  An ``opened`` or ``closed`` line turns whatever was still running into
    `JournalState.LOST`, because a driver opens a journal only when no other driver of it is left.

    Parameters
    ----------
    records : iterable of `JournalRecord`
        In the order of the file.

    Returns
    -------
    progress : `dict` [`str`, `QuantumProgress`]
        By quantum UUID.
    """
    folded: dict[str, QuantumProgress] = {}
    for record in records:
        if record.event in _WHOLE:
            for quantum, progress in folded.items():
                if progress.state is JournalState.RUNNING:
                    folded[quantum] = progress._replace(state=JournalState.LOST)
            continue
        state = _state_after(record)
        if state is None:
            continue
        for quantum in record.quanta:
            folded[quantum] = _advance(folded.get(quantum), quantum=quantum, state=state, record=record)
    return folded


def _state_after(record: JournalRecord) -> JournalState | None:
    if record.event == JournalEvent.ENDED and record.verdict != JobVerdict.OK:
        return JournalState.FAILED
    return _AFTER.get(record.event)


def _advance(
    before: QuantumProgress | None, *, quantum: str, state: JournalState, record: JournalRecord
) -> QuantumProgress:
    starts = 0 if before is None else before.starts
    if state is JournalState.RUNNING:
        starts += 1
    if before is not None and before.state is JournalState.OK:
        state, told = JournalState.OK, before.record
    else:
        told = record
    return QuantumProgress(quantum, state, starts, len(record.quanta) > 1, told)
