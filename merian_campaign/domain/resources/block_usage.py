"""How long the blocks of a submission worked and how long they only waited, from its journal alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from merian_campaign.domain.execution.busy_blocks import BusyBlock
from merian_campaign.domain.record.records import JobRow
from merian_campaign.domain.slurm.slurm_jobs import SlurmJob

_SLURMS_SECOND = timedelta(seconds=1)


def busy_seconds(job: SlurmJob, busy: BusyBlock | None, *, now: datetime) -> float | None:
    """Return for how many seconds of its life at least one quantum ran in a block; `None` before it began.

    Parameters
    ----------
    job : `SlurmJob`
        The block.
    busy : `BusyBlock` or `None`
        When jobs ran in it by its journal; one without an end, until the block's. `None`: none ran.
    now : `datetime.datetime`
        UTC; the end of what still runs.
    """
    if job.started is None:
        return None
    if busy is None:
        return 0.0
    # Slurm tells whole seconds: what ended within the last one was still in the block.
    latest = now if job.ended is None else job.ended + _SLURMS_SECOND
    until = (job.ended or now) if busy.until is None else min(busy.until, latest)
    return busy.before + max(0.0, (until - max(busy.since, job.started)).total_seconds())


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
