"""Where the time of a submission went: waiting, building its graph, starting, running, ingest.

One stage follows the other, so the parts add up to the time from making the submission to its end on record.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime
from itertools import pairwise

from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord
from merian_campaign.domain.record.records import JobRecord, JobRole
from merian_campaign.domain.safe_text.jsonl import last_object, moment_of

__all__ = [
    "PARTS",
    "DriverTimes",
    "Gap",
    "StageTime",
    "StepWallTime",
    "WallTime",
    "parse_gaps",
    "parse_stage_times",
    "wall_time",
]

_START = '{"v":'


@dataclass(frozen=True, kw_only=True)
class StageTime:
    """When a stage of a submission asked for the repository's lock, got it, and ended; UTC."""

    asked: datetime
    began: datetime
    ended: datetime


@dataclass(frozen=True, kw_only=True)
class Gap:
    """When a driver gave its last sign of life, and when the next one took over; UTC."""

    left: datetime
    claimed: datetime


@dataclass(frozen=True, kw_only=True)
class DriverTimes:
    """When a driver began to work and when one left its outcome, and its stages; `None`: it left no trace.

    Between them may be ``gaps``, in which the submission had no driver.
    """

    began: datetime | None
    ended: datetime | None
    stages: tuple[StageTime, ...] = ()
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WallTime:
    """Seconds of a submission by what they were spent on.

    Parameters
    ----------
    tick : `float`
        Until a tick, or its driver, went on: before the work, after it, and in it where a driver died.
    slurm : `float`
        In Slurm's queue: the driver, and the first block.
    lock : `float`
        For the repository's lock.
    graph : `float`
        Building the quantum graph, all that BPS does before it runs included.
    startup : `float`
        Until the first quantum started.
    run : `float`
        From the first start to the last end.
    ingest : `float`
        Collecting outputs and provenance.
    """

    tick: float = 0.0
    slurm: float = 0.0
    lock: float = 0.0
    graph: float = 0.0
    startup: float = 0.0
    run: float = 0.0
    ingest: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StepWallTime:
    """Of all submissions of a step, as far as it was written down."""

    step: str
    submissions: int
    wall: WallTime

    def of_action(self) -> StepWallTime:
        """Return it of a butler action: that has no graph, and what it did between was to run."""
        return replace(self, wall=replace(self.wall, graph=0.0, run=self.wall.run + self.wall.graph))


PARTS = tuple(part.name for part in fields(WallTime))
"""What there is of it, in order of `WallTime`."""


def parse_stage_times(text: str) -> tuple[StageTime, ...]:
    """Return what stages wrote down of themselves; a line that is none is left out."""
    found = _moments(text, "asked", "began", "ended")
    return tuple(StageTime(asked=asked, began=began, ended=ended) for asked, began, ended in found)


def parse_gaps(text: str) -> tuple[Gap, ...]:
    """Return when a submission had no driver, by what those wrote down that took over."""
    return tuple(Gap(left=left, claimed=claimed) for left, claimed in _moments(text, "left", "claimed"))


def _moments(text: str, *names: str) -> Iterator[list[datetime]]:
    """Yield the moments of these names of each line that has all of them."""
    for line in text.splitlines():
        values = last_object(line, start=_START)
        if isinstance(values, dict):
            moments = [moment_of(str(values.get(name, ""))) for name in names]
            if None not in moments:
                yield [moment for moment in moments if moment is not None]


def wall_time(
    *,
    created: datetime,
    driver: DriverTimes,
    journal: Collection[JournalRecord],
    jobs: Iterable[JobRecord],
    now: datetime,
) -> WallTime | None:
    """Return where the time of a submission went; `None` where its driver left no trace of it.

    Parameters
    ----------
    created, now : `datetime.datetime`
        When it was put on record, and when it is being finished.
    driver : `DriverTimes`
        Of its last driver.
    journal : collection of `JournalRecord`
        What ran.
    jobs : iterable of `JobRecord`
        Its Slurm jobs.
    """
    if driver.began is None or driver.ended is None:
        return None
    opened = _first(journal, JournalEvent.OPENED)
    started = _first(journal, JournalEvent.STARTED)
    ended = _last(journal, JournalEvent.ENDED)
    if opened is None:  # it had no graph, or was no run of BPS: all that it did was to build
        opened = driver.ended
    # Each not before the one before it, whatever clocks say.
    marks = [created]
    for mark in (driver.began, opened, started, ended, driver.ended, now):
        marks.append(max(marks[-1], min(mark or marks[-1], now)))
    spans = list(pairwise(marks))
    dead = [_dead(driver.gaps, begin, end) for begin, end in spans]
    launch, build, start, run, collect, wait = (
        (later - earlier).total_seconds() - lost for (earlier, later), lost in zip(spans, dead, strict=True)
    )
    queued = list(jobs)
    driver_queue = _queue(queued, JobRole.DRIVER, within=launch)
    block_queue = _queue(queued, JobRole.BLOCK, within=start)
    middle = marks[2]
    before = _waited(driver.stages, until=middle, within=build)
    after = _waited(driver.stages, since=middle, within=collect)
    return WallTime(
        tick=launch - driver_queue + wait + sum(dead),
        slurm=driver_queue + block_queue,
        lock=before + after,
        graph=build - before,
        startup=start - block_queue,
        run=run,
        ingest=collect - after,
    )


def _dead(gaps: Iterable[Gap], begin: datetime, end: datetime) -> float:
    """Return for how long of a span, seconds, there was no driver."""
    lost = sum(
        max(0.0, (min(gap.claimed, end) - max(gap.left, begin)).total_seconds())
        for gap in gaps
        if gap.left < gap.claimed
    )
    return min(lost, (end - begin).total_seconds())


def _first(journal: Collection[JournalRecord], event: JournalEvent) -> datetime | None:
    return min(_times(journal, event), default=None)


def _last(journal: Collection[JournalRecord], event: JournalEvent) -> datetime | None:
    return max(_times(journal, event), default=None)


def _times(journal: Iterable[JournalRecord], event: JournalEvent) -> Iterator[datetime]:
    return (when for record in journal if record.event == event and (when := record.time) is not None)


def _queue(jobs: Iterable[JobRecord], role: JobRole, *, within: float) -> float:
    """Return how long the job that started first was queued, at most so long."""
    waits = [
        (job.job.started - job.job.submitted).total_seconds()
        for job in jobs
        if job.role == role and job.job.started is not None and job.job.submitted is not None
    ]
    return min(max(0.0, min(waits, default=0.0)), within)


def _waited(
    stages: Iterable[StageTime],
    *,
    within: float,
    since: datetime | None = None,
    until: datetime | None = None,
) -> float:
    """Return how long stages waited for a lock, those that ended before or after a moment."""
    waited = sum(
        (stage.began - stage.asked).total_seconds()
        for stage in stages
        if (since is None or stage.ended > since) and (until is None or stage.ended <= until)
    )
    return min(max(0.0, waited), within)
