"""How long the blocks of a submission worked and how long they only waited, from its journal alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord
from merian_campaign.domain.record.records import JobRow
from merian_campaign.domain.slurm.slurm_jobs import SlurmJob

_SLURMS_SECOND = timedelta(seconds=1)


def runs_by_block(
    records: Iterable[JournalRecord],
) -> Mapping[str, tuple[tuple[datetime, datetime | None], ...]]:
    """Return when jobs of the journal ran, by Slurm job id; the end is `None` where none was seen."""
    began: dict[tuple[str, str], datetime] = {}
    found: dict[str, list[tuple[datetime, datetime | None]]] = defaultdict(list)
    for record in records:
        when = record.time
        if when is None:
            continue
        if record.event == JournalEvent.STARTED and record.slurm_job:
            key = (record.slurm_job, record.job)
            if key in began:
                found[record.slurm_job].append((began[key], None))
            began[key] = when
        elif record.event == JournalEvent.ENDED:
            block = record.slurm_job or next((where for where, job in began if job == record.job), "")
            start = began.pop((block, record.job), None)
            if start is not None:
                found[block].append((start, when))
    for (block, _), start in began.items():
        found[block].append((start, None))
    return {block: tuple(sorted(runs, key=lambda run: run[0])) for block, runs in found.items()}


def busy_seconds(
    job: SlurmJob, runs: Iterable[tuple[datetime, datetime | None]], *, now: datetime
) -> float | None:
    """Return for how many seconds of its life at least one quantum ran in a block; `None` before it began.

    Parameters
    ----------
    job : `SlurmJob`
        The block.
    runs : iterable
        When jobs ran in it, as `runs_by_block` has them; without an end, until the block's.
    now : `datetime.datetime`
        UTC; the end of what still runs.
    """
    if job.started is None:
        return None
    over = job.ended or now
    # Slurm tells whole seconds: what ended within the last one was still in the block.
    latest = now if job.ended is None else job.ended + _SLURMS_SECOND
    total, until = 0.0, job.started
    for start, end in sorted(runs, key=lambda run: run[0]):
        first = max(start, until)
        last = over if end is None else min(end, latest)
        if last > first:
            total += (last - first).total_seconds()
            until = last
    return total


@dataclass(frozen=True, kw_only=True)
class BlockUsage:
    """Seconds that a Slurm job waited in the queue, ran, and ran without any quantum; `None`: not known."""

    queued: float | None
    ran: float | None
    idle: float | None


def usage(row: JobRow, *, now: datetime) -> BlockUsage:
    """Return how a stored job spent its time."""
    over = row.ended or (now if row.fate in {"alive", "unsure"} else None)
    # A job that never ran has, in the accounting, a start that is its end.
    ran = None if row.started is None or over is None else max(0.0, (over - row.started).total_seconds())
    until = row.started or over
    queued = (
        None if row.submitted is None or until is None else max(0.0, (until - row.submitted).total_seconds())
    )
    idle = (
        max(0.0, ran - row.busy_seconds)
        if row.role == "block" and ran is not None and row.busy_seconds is not None
        else None
    )
    return BlockUsage(queued=queued, ran=ran, idle=idle)
