"""When the blocks of a submission worked, by its journal, read piece by piece."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord
from merian_campaign.domain.safe_text.jsonl import moment_of

__all__ = ["BusyBlock", "busy_after", "busy_values", "stored_busy"]


@dataclass(frozen=True, kw_only=True)
class BusyBlock:
    """How long something ran in a block: in its last spell, and before.

    Parameters
    ----------
    before : `float`
        Seconds of earlier spells.
    since : `datetime.datetime`
        When the last spell began.
    until : `datetime.datetime` or `None`
        When it ended; `None` while something runs.
    running : `tuple` [`str`, ...]
        Jobs that run; one that was started again without an end twice, so that it runs to the block's end.
    """

    before: float
    since: datetime
    until: datetime | None = None
    running: tuple[str, ...] = ()


@dataclass(kw_only=True, slots=True)
class _Spell:
    """A `BusyBlock` in the making."""

    before: float = 0.0
    since: datetime
    until: datetime | None = None
    running: list[str] = field(default_factory=list)

    def start(self, job: str, when: datetime) -> None:
        if self.until is not None and when > self.until:
            self.before += (self.until - self.since).total_seconds()
            self.since = when
        self.since, self.until = min(self.since, when), None
        self.running.append(job)

    def end(self, job: str, when: datetime) -> None:
        self.running.remove(job)
        if not self.running:
            self.until = max(self.since, when)


def busy_after(blocks: Mapping[str, BusyBlock], records: Iterable[JournalRecord]) -> dict[str, BusyBlock]:
    """Return how long blocks worked, by Slurm job id, when more of the journal has been read.

    Parameters
    ----------
    blocks : `~collections.abc.Mapping` [`str`, `BusyBlock`]
        As the journal before has it.
    records : iterable of `JournalRecord`
        What comes after that.
    """
    spells: dict[str, _Spell] = {}
    places: dict[str, list[str]] = defaultdict(list)
    for block, known in blocks.items():
        spells[block] = _Spell(
            before=known.before, since=known.since, until=known.until, running=list(known.running)
        )
        for job in known.running:
            places[job].append(block)
    for record in records:
        starts = record.event == JournalEvent.STARTED and record.slurm_job
        if not starts and record.event != JournalEvent.ENDED:
            continue
        when = record.time
        if when is None:
            continue
        if starts and record.slurm_job:
            spells.setdefault(record.slurm_job, _Spell(since=when)).start(record.job, when)
            places[record.job].append(record.slurm_job)
        elif (ran_in := places.get(record.job)) and (not record.slurm_job or record.slurm_job in ran_in):
            block = record.slurm_job or ran_in[0]
            ran_in.remove(block)
            spells[block].end(record.job, when)
    return {
        block: BusyBlock(
            before=spell.before, since=spell.since, until=spell.until, running=tuple(spell.running)
        )
        for block, spell in spells.items()
    }


def busy_values(blocks: Mapping[str, BusyBlock]) -> dict[str, list[Any]]:
    """Return how long blocks worked as it is stored."""
    return {
        block: [
            busy.before,
            busy.since.isoformat(),
            None if busy.until is None else busy.until.isoformat(),
            list(busy.running),
        ]
        for block, busy in blocks.items()
    }


def stored_busy(values: Mapping[str, list[Any]] | None) -> dict[str, BusyBlock] | None:
    """Return how long blocks worked from what is stored; `None` where nothing is."""
    if values is None:
        return None
    found = {}
    for block, (before, since, until, running) in values.items():
        begin = moment_of(since)
        if begin is None:
            return None
        found[block] = BusyBlock(
            before=float(before),
            since=begin,
            until=None if until is None else moment_of(until),
            running=tuple(running),
        )
    return found
