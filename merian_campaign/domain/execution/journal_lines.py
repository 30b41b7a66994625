"""A whole journal in memory: few lines as they are, a million as columns of what they have in common."""

from array import array
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from math import isnan, nan
from types import MappingProxyType
from typing import Any

from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord, records_of

__all__ = ["JournalLines"]

_TIME = len("2026-11-22T15:04:05.123456Z")
_UUID = len("01930000-0000-0000-0000-000000000000")
_LARGEST = 2**63 - 1
_NOBODY = -1
_NOTHING: MappingProxyType[str, object] = MappingProxyType({})
_FEW = 60_000
"""Lines that are kept as records, some forty megabytes; a harvest looks at them ten times."""


class _Shared:
    """What many lines have in common: each once, by its place."""

    def __init__(self) -> None:
        self.entries: list[tuple[Any, ...]] = []
        self._places: dict[tuple[Any, ...], int] = {}

    def place(self, entry: tuple[Any, ...], *, alone: bool = False) -> int:
        """Return where an entry stands, which stands there for one line if it is to be ``alone``."""
        place = len(self.entries) if alone else self._places.setdefault(entry, len(self.entries))
        if place == len(self.entries):
            self.entries.append(entry)
        return place


class JournalLines(Collection[JournalRecord]):
    """Lines of a journal, read part by part.

    In the order of the file. That a job was handed over tells nothing once it is seen starting, ending, or
    held, and is left out; those that wait come last.

    Parameters
    ----------
    few : `int`, optional
        Of how many lines the records are kept; of more they are made again for each who looks at them.
    """

    def __init__(self, *, few: int = _FEW) -> None:
        self._few = few
        self._read: list[JournalRecord] = []
        self._told: Sequence[JournalRecord] | None = None
        self._columns: _Columns | None = None

    def add(self, text: str) -> None:
        """Read a part; see `~merian_campaign.domain.execution.journal.parse_lines`."""
        records = records_of(text)
        if self._columns is None:
            self._told = None
            self._read += islice(records, self._few + 1 - len(self._read))
            if len(self._read) <= self._few:
                return
            self._columns = _Columns()
            for record in self._read:
                self._columns.add(record)
            self._read = []
        for record in records:
            self._columns.add(record)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._records())

    def __contains__(self, record: object) -> bool:
        """Whether this is one of them."""
        return any(record == line for line in self)

    def __iter__(self) -> Iterator[JournalRecord]:
        """Yield them."""
        return iter(self._records())

    def in_full(self) -> Iterator[JournalRecord]:
        """Yield all lines, in the order of the file: also when each job was handed over."""
        return iter(self._read) if self._columns is None else self._columns.in_full()

    def _records(self) -> Collection[JournalRecord]:
        if self._columns is not None:
            return self._columns
        if self._told is None:
            last = {record.job: at for at, record in enumerate(self._read)}
            waiting = [at for at in last.values() if self._read[at].event == JournalEvent.LAUNCHED]
            told = [record for record in self._read if record.event != JournalEvent.LAUNCHED]
            self._told = told + [self._read[at] for at in sorted(waiting)]
        return self._told


class _Columns(Collection[JournalRecord]):
    """Lines as columns; what comes out is as of `JournalLines`."""

    def __init__(self) -> None:
        self._times = bytearray()
        self._of_job, self._of_place, self._of_end, self._of_numbers = (array("I") for _ in range(4))
        self._places, self._ends = _Shared(), _Shared()
        self._processes, self._use = array("q", (_NOBODY, _NOBODY)), array("d", (nan, nan, nan))
        self._jobs: list[str] = []
        self._quanta: dict[int, tuple[str, ...]] = {}
        # What no column holds.
        self._odd: dict[int, JournalRecord] = {}
        self._under_way: dict[str, int] = {}
        # By job: the line that handed it over, counted from 1, while it waits.
        self._waiting = array("I")
        self._left_out = 0

    def add(self, record: JournalRecord) -> None:
        """Add a line."""
        if len(record.t) != _TIME or not record.t.isascii() or not _fits(record.pid, record.pid_start):
            self._odd[len(self._of_job)] = record
            self._append(JournalRecord(event=record.event, job=record.job, t="0" * _TIME))
        else:
            self._append(record)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._of_job) - self._left_out

    def __contains__(self, record: object) -> bool:
        """Whether this is one of them."""
        return any(record == line for line in self)

    def __iter__(self) -> Iterator[JournalRecord]:
        """Yield them."""
        handed_over = {
            place for place, entry in enumerate(self._ends.entries) if entry[0] == JournalEvent.LAUNCHED
        }
        waiting = []
        for at, end in enumerate(self._of_end):
            if end not in handed_over:
                yield self._line(at)
            elif self._waiting[self._of_job[at]] == at + 1:
                waiting.append(at)
        yield from map(self._line, waiting)

    def in_full(self) -> Iterator[JournalRecord]:
        """Yield all lines, in the order of the file: also when each job was handed over."""
        return map(self._line, range(len(self._of_job)))

    def _append(self, record: JournalRecord) -> None:
        self._times += record.t.encode()
        job = self._job(record)
        self._left_out += self._waiting[job] > 0
        self._of_job.append(job)
        self._waiting[job] = len(self._of_job) if record.event == JournalEvent.LAUNCHED else 0
        place = (
            record.v,
            record.label,
            record.host,
            record.requested_mb,
            record.slurm_job,
            record.slurm_node,
        )
        self._of_place.append(self._places.place(place))
        evidence = record.evidence or None
        end = (record.event, record.exit, record.signal, record.verdict, evidence)
        self._of_end.append(self._ends.place(end, alone=evidence is not None))
        self._of_numbers.append(self._numbers(record))

    def _job(self, record: JournalRecord) -> int:
        job = self._under_way.get(record.job)
        if job is None or record.quanta != self._quanta_of(job):
            self._waiting.append(0)
            if job is not None:
                self._waiting[-1], self._waiting[job] = self._waiting[job], 0
            job = self._under_way[record.job] = len(self._jobs)
            self._jobs.append(record.job)
            if record.quanta != (record.job[:_UUID],):
                self._quanta[job] = record.quanta
        if record.event == JournalEvent.ENDED:  # hardly any job has a line after it
            del self._under_way[record.job]
        return job

    def _quanta_of(self, job: int) -> tuple[str, ...]:
        """Return the quanta of a job: the one after which it is called, unless it has others."""
        known = self._quanta.get(job)
        return (self._jobs[job][:_UUID],) if known is None else known

    def _numbers(self, record: JournalRecord) -> int:
        pid, pid_start = record.pid, record.pid_start
        use = (record.peak_mb, record.cpu_s, record.wall_s)
        if pid is None and pid_start is None and use == (None, None, None):
            return 0
        self._processes.extend((_NOBODY if pid is None else pid, _NOBODY if pid_start is None else pid_start))
        self._use.extend([nan if value is None else value for value in use])
        return len(self._use) // 3 - 1

    def _line(self, at: int) -> JournalRecord:
        if at in self._odd:
            return self._odd[at]
        job, number = self._of_job[at], self._of_numbers[at]
        event, status, signal, verdict, evidence = self._ends.entries[self._of_end[at]]
        v, label, host, requested_mb, slurm_job, slurm_node = self._places.entries[self._of_place[at]]
        pid, pid_start = self._processes[2 * number : 2 * number + 2]
        peak_mb, cpu_s, wall_s = self._use[3 * number : 3 * number + 3]
        return JournalRecord(
            event,
            self._times[_TIME * at : _TIME * (at + 1)].decode(),
            v,
            self._jobs[job],
            label,
            self._quanta_of(job),
            host,
            None if pid == _NOBODY else pid,
            None if pid_start == _NOBODY else pid_start,
            status,
            signal,
            verdict,
            _NOTHING if evidence is None else evidence,
            None if isnan(peak_mb) else peak_mb,
            requested_mb,
            None if isnan(cpu_s) else cpu_s,
            None if isnan(wall_s) else wall_s,
            slurm_job,
            slurm_node,
        )


def _fits(*numbers: int | None) -> bool:
    return all(number is None or 0 <= number <= _LARGEST for number in numbers)
