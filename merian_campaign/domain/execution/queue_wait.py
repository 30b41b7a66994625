"""How long quanta waited for their turn: from when they could start until they did, from the journal."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord
from merian_campaign.domain.execution.provenance import Predicted

__all__ = ["TaskWait", "queue_waits"]

_BINS = 50
"""Of a factor of e: a bin says its values to within a hundredth. The database's summaries have the same."""

_SHORTEST = 0.001


@dataclass(frozen=True, kw_only=True)
class TaskWait:
    """Executions of a task in one submission, as far as it is known when they could have started.

    Parameters
    ----------
    task : `str`
        Task label.
    executions : `int`
        How many.
    seconds, longest : `float`
        How long they waited altogether, and the longest of them.
    bins : `~collections.abc.Mapping` [`int`, `int`]
        How many waited so long, by fifty times the natural logarithm of the seconds, a thousandth at least.
    """

    task: str
    executions: int
    seconds: float
    longest: float
    bins: Mapping[int, int]

    @classmethod
    def of(cls, task: str, waits: Sequence[float]) -> Self:
        """Return what executions of a task waited, from the seconds of each."""
        bins = Counter(round(_BINS * math.log(max(wait, _SHORTEST))) for wait in waits)
        return cls(
            task=task,
            executions=len(waits),
            seconds=math.fsum(waits),
            longest=max(waits),
            bins=dict(sorted(bins.items())),
        )


def queue_waits(records: Iterable[JournalRecord], *, predicted: Iterable[Predicted]) -> tuple[TaskWait, ...]:
    """Return how long executions waited, by task.

    A quantum could start when its job had been handed over and the last quantum before it had ended; one that
    was run again, when its job had ended before. What went down with its node says no such moment, and is
    left out.

    Parameters
    ----------
    records : iterable of `JournalRecord`
        The whole journal in the order of the file, hand-overs included.
    predicted : iterable of `Predicted`
        The submission's graph.
    """
    plan = {entry.uuid: entry for entry in predicted}
    launched: dict[str, datetime] = {}
    ended: dict[str, datetime] = {}
    going: set[str] = set()
    found: dict[str, list[float]] = defaultdict(list)
    for record in records:
        match record.event:
            case JournalEvent.OPENED | JournalEvent.CLOSED:
                going.clear()
            case JournalEvent.LAUNCHED if (when := record.time) is not None:
                launched[record.job] = when
            case JournalEvent.ENDED if (when := record.time) is not None:
                going.discard(record.job)
                ended.update(dict.fromkeys(record.quanta, when))
            case JournalEvent.STARTED if (when := record.time) is not None:
                since = launched.pop(record.job, None)
                ready = _ready(since, record.quanta, plan=plan, ended=ended)
                if ready is not None and record.job not in going:
                    waited = max(0.0, (when - ready).total_seconds())
                    for uuid in record.quanta:
                        if uuid in plan:
                            found[plan[uuid].task].append(waited)
                going.add(record.job)
    return tuple(TaskWait.of(task, waits) for task, waits in sorted(found.items()))


def _ready(
    launched: datetime | None,
    quanta: tuple[str, ...],
    *,
    plan: Mapping[str, Predicted],
    ended: Mapping[str, datetime],
) -> datetime | None:
    """Return when a job could start; `None` when it was neither handed over anew nor seen ending."""
    before = {uuid for quantum in quanta if quantum in plan for uuid in plan[quantum].after}
    own = [ended[quantum] for quantum in quanta if quantum in ended]
    known = own if launched is None else [*own, launched]
    # Quanta of the job itself run one after the other.
    return max([*known, *(ended[uuid] for uuid in before if uuid in ended)]) if known else None
