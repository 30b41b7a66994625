"""The journal of one submission, version 1: what its lines mean, and how to read them.

``{submitPath}/journal.jsonl`` holds one JSON object a line, appended by several processes on several
hosts while the submission runs.  This module is the format: frozen records and a tolerant reader.  It
never opens a file and never reads a clock; writing belongs to the WMS service and to its shell wrapper.
What the lines say of each quantum is in `~merian_campaign.domain.execution.quantum_progress`.

Fields of a line (``null`` or absent when unknown):

========================  ==============================================================================
``v``                     format version, 1
``t``                     ISO 8601 UTC with microseconds, e.g. ``2026-11-22T15:04:05.123456Z``
``event``                 see `JournalEvent`
``job``, ``label``        BPS job name and job label
``quanta``                UUIDs of the quanta of the job, strings
``host``                  host of the process that the line is about
``pid``, ``pid_start``    that process, and its start time (field 22 of ``/proc/PID/stat``, clock ticks)
``exit``, ``signal``      ``ended`` and ``stage``: exit status, or the signal that ended it; the other is null
``verdict``               ``ended`` and ``stage``: see `JobVerdict`
``evidence``              object; what the verdict rests on
``peak_mb``               peak resident memory of the whole process tree, MiB
``requested_mb``          ``requestMemory``, MiB
``cpu_s``, ``wall_s``     seconds
``slurm_job``             Slurm job id of the block, when there is one
``slurm_node``            Slurm's name of the node, when there is one
========================  ==============================================================================
"""

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from sys import intern
from types import MappingProxyType
from typing import NamedTuple

from merian_campaign.domain.safe_text import json_values
from merian_campaign.domain.safe_text.json_values import WrongValueError
from merian_campaign.domain.safe_text.jsonl import last_object, moment_of
from merian_campaign.domain.safe_text.text import clean

__all__ = [
    "EXCEPTION_BASES",
    "VERSION",
    "JobVerdict",
    "JournalEvent",
    "JournalPart",
    "JournalRecord",
    "exception_bases",
    "format_line",
    "format_time",
    "parse_lines",
    "records_of",
]

VERSION = 1
"""Version written by this release; later versions may add fields and events but not change these."""

EXCEPTION_BASES = "exception_bases"
"""Key of the evidence under which the classes of exceptions are: names of bases by the name of the type."""

_START = '{"v":'
_INT32 = 2**31
_LONGEST_NAME = 1000
_LONGEST_EVIDENCE = 4000
_LONGEST_NESTED = 64_000
_MOST_EVIDENCE = 50


_NOTHING: Mapping[str, object] = MappingProxyType({})

_TEXT = r'"([ !#-\[\]-~]{0,250})"'
_WHOLE = r"(0|[1-9][0-9]{0,14}|null)"
_NUMBER = r"((?:0|[1-9][0-9]{0,7})(?:\.[0-9]{1,20})?)"
_USUAL = re.compile(
    r'\{"v":1,"t":"([-0-9T:.]{26}Z)","event":"(launched|started|ended)"'
    rf',"job":{_TEXT},"label":{_TEXT},"quanta":\[{_TEXT}\],"host":{_TEXT},"pid":{_WHOLE},"pid_start":{_WHOLE}'
    r'(?:,"exit":0,"signal":null,"verdict":"ok","evidence":(\{[^\\]*?\}))?'
    rf'(?:,"peak_mb":{_NUMBER})?(?:,"requested_mb":{_NUMBER})?(?:,"cpu_s":{_NUMBER})?(?:,"wall_s":{_NUMBER})?'
    rf'(?:,"slurm_job":{_TEXT})?(?:,"slurm_node":{_TEXT})?\}}'
)
"""Nearly all lines as `format_line` writes them: of jobs of one quantum, and if they ended, well."""
_LONGEST_USUAL = 4000


class JournalEvent(StrEnum):
    """What happened."""

    OPENED = "opened"
    """A driver began (or resumed) the submission; its own host, pid and start time are on the line."""

    LAUNCHED = "launched"
    """A job was handed to the engine; it may still wait for its parents or for a worker."""

    STARTED = "started"
    """A worker began to run the job."""

    ENDED = "ended"
    """The job's process is gone; exit, signal and verdict say how."""

    HELD = "held"
    """The job was not run because a quantum of it is on the hold list; counts as failed."""

    STAGE = "stage"
    """A part of the submission itself (initialization, ingest) began, or ended if there is a verdict; it has
    no quanta."""

    CLOSED = "closed"
    """The driver ended in good order.  Nothing of this submission runs any more."""


class JobVerdict(StrEnum):
    """How a job ended."""

    OK = "ok"
    """Exit status 0."""

    FAILED = "failed"
    """The payload failed: non-zero exit, or a signal nobody here sent."""

    OUT_OF_MEMORY = "out_of_memory"
    """Ended because it went past its memory request; the evidence holds requested, reached and when."""

    WALLTIME = "walltime"
    """Ended because it went past its time request."""

    NODE_LOST = "node_lost"
    """The worker or its node went away."""

    CANCELLED = "cancelled"
    """Ended because the submission was stopped."""


class JournalRecord(NamedTuple):
    """One line of a journal; the module docstring defines the fields.

    ``event`` and ``verdict`` are plain strings so that lines of a later version survive reading;
    compare them with `JournalEvent` and `JobVerdict`. A tuple, because there are a million of them, and
    `JournalLines` makes them again for each who looks.
    """

    event: str
    t: str = ""
    v: int = VERSION
    job: str = ""
    label: str = ""
    quanta: tuple[str, ...] = ()
    host: str = ""
    pid: int | None = None
    pid_start: int | None = None
    exit: int | None = None
    signal: int | None = None
    verdict: str | None = None
    evidence: Mapping[str, object] = _NOTHING
    peak_mb: float | None = None
    requested_mb: float | None = None
    cpu_s: float | None = None
    wall_s: float | None = None
    slurm_job: str | None = None
    slurm_node: str | None = None

    @property
    def time(self) -> datetime | None:
        """Moment of the event, timezone aware, or None when the line had no readable one."""
        return moment_of(self.t)


@dataclass(frozen=True, kw_only=True)
class JournalPart:
    """What was appended to a journal since somebody looked.

    Parameters
    ----------
    records : `~collections.abc.Collection` [`JournalRecord`]
        In the order of the file.
    start, end : `int`
        Bytes of the file between which they stand; ``start`` is 0 when it is another file than before.
    """

    records: Collection[JournalRecord]
    start: int
    end: int

    @property
    def alone(self) -> bool:
        """Whether it tells by itself what became of its quanta, whatever stood before it.

        What opens or closes a journal says something of all that ran.
        """
        whole = {JournalEvent.OPENED, JournalEvent.CLOSED}
        return self.start > 0 and not any(record.event in whole for record in self.records)


def format_time(moment: datetime) -> str:
    """Return a moment as journals write it: UTC, microseconds, trailing ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def format_line(record: JournalRecord) -> str:
    """Return a record as one line, newline included; fields that say nothing are left out."""
    values: dict[str, object] = {"v": record.v, "t": record.t, "event": record.event}
    for name in ("job", "label"):
        values[name] = getattr(record, name)
    values["quanta"] = list(record.quanta)
    for name in ("host", "pid", "pid_start"):
        values[name] = getattr(record, name)
    if record.event == JournalEvent.ENDED or (
        record.event == JournalEvent.STAGE and record.verdict is not None
    ):
        values.update(
            exit=record.exit,
            signal=record.signal,
            verdict=record.verdict,
            evidence=_bounded(record.evidence),
        )
    elif record.evidence:
        values["evidence"] = _bounded(record.evidence)
    for name in ("peak_mb", "requested_mb", "cpu_s", "wall_s", "slurm_job", "slurm_node"):
        value = getattr(record, name)
        if value is not None and (isinstance(value, str) or math.isfinite(value)):
            values[name] = value
    return json.dumps(values, separators=(",", ":"), default=str) + "\n"


def parse_lines(text: str) -> tuple[JournalRecord, ...]:
    """Read the text of a journal, or the part of it that was appended since the last look.

    Parameters
    ----------
    text : `str`
        Whole lines, or anything: a last line that does not end yet is left out, a line torn by a
        writer that died is dropped (and the next writer's line, glued to it, is saved), unknown fields
        are ignored, unknown events are kept.

    Returns
    -------
    records : `tuple` [`JournalRecord`, ...]
        In the order of the file.
    """
    return tuple(records_of(text))


def records_of(text: str) -> Iterator[JournalRecord]:
    """Yield what `parse_lines` returns."""
    whole = text[: text.rfind("\n") + 1]
    for line in whole.split("\n"):
        record = _usual(line) or _to_record(
            last_object(line, start=_START), small=len(line) <= _LONGEST_NESTED
        )
        if record is not None:
            yield record


def _usual(line: str) -> JournalRecord | None:
    """Return the record of a line of the usual form, as `_to_record` does in three times the time."""
    found = _USUAL.fullmatch(line) if len(line) <= _LONGEST_USUAL else None
    if found is None:
        return None
    t, event, job, label, quantum, host, pid, pid_start, noted, peak, requested, cpu, wall, block, node = (
        found.groups()
    )
    evidence: object = None
    if noted is not None and noted != "{}":
        try:
            evidence = json_values.loads(noted)
        except WrongValueError:
            return None
    # By place: there are a million of them.
    return JournalRecord(
        intern(event),
        t,
        VERSION,
        job,
        intern(label),
        (quantum,),
        intern(host),
        None if pid == "null" else int(pid),
        None if pid_start == "null" else int(pid_start),
        None if noted is None else 0,
        None,
        None if noted is None else JobVerdict.OK.value,
        evidence if isinstance(evidence, dict) else _NOTHING,
        None if peak is None else float(peak),
        None if requested is None else float(requested),
        None if cpu is None else float(cpu),
        None if wall is None else float(wall),
        block and intern(block),
        node and intern(node),
    )


def _to_record(values: object, *, small: bool) -> JournalRecord | None:
    """Return a record from a decoded object; values of the wrong type or out of range read as unknown.

    What is in it is clean; the evidence of a ``small`` line needs no other bound.
    """
    if not isinstance(values, dict) or not isinstance(values.get("event"), str):
        return None
    get = values.get
    listed, evidence = get("quanta"), get("evidence")
    # By place: there are a million of them.
    return JournalRecord(
        intern(values["event"]),
        _text(get("t")) or "",
        _whole(get("v")) or VERSION,
        _text(get("job")) or "",
        intern(_text(get("label")) or ""),
        tuple([item for item in listed if type(item) is str]) if type(listed) is list else (),
        intern(_text(get("host")) or ""),
        _whole(get("pid")),
        _whole(get("pid_start")),
        _status(get("exit")),
        _status(get("signal")),
        _name(get("verdict")),
        (evidence if small else _bounded(evidence)) if isinstance(evidence, dict) and evidence else _NOTHING,
        _number(get("peak_mb")),
        _number(get("requested_mb")),
        _number(get("cpu_s")),
        _number(get("wall_s")),
        _name(get("slurm_job")),
        _name(get("slurm_node")),
    )


def _text(value: object) -> str | None:
    return value[:_LONGEST_NAME] if isinstance(value, str) else None


def _name(value: object) -> str | None:
    """Return a text of which many lines have the same."""
    return intern(value[:_LONGEST_NAME]) if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return value if type(value) is int else None


def _status(value: object) -> int | None:
    return value if type(value) is int and -_INT32 < value < _INT32 else None


def _number(value: object) -> float | None:
    if value is None or not (type(value) is float or type(value) is int):
        return None
    return float(value) if 0 <= value < _INT32 else None


def _bounded(evidence: Mapping[str, object]) -> dict[str, object]:
    """Return evidence of a size that does no harm, with numbers that JSON knows."""
    found: dict[str, object] = {}
    for name, value in list(evidence.items())[:_MOST_EVIDENCE]:
        if isinstance(value, str):
            found[name] = clean(value, limit=_LONGEST_EVIDENCE)
            continue
        try:
            checked = json_values.cleaned(value)
        except json_values.WrongValueError:
            checked = clean(str(value), limit=_LONGEST_EVIDENCE)
        found[name] = checked if _size(checked) <= _LONGEST_NESTED else "left out: too large"
    return found


def _size(value: object) -> int:
    match value:
        case dict():
            return sum(len(name) + _size(item) for name, item in value.items())
        case list():
            return sum(map(_size, value))
        case str():
            return len(value)
    return 8


def exception_bases(records: Iterable[JournalRecord]) -> dict[str, tuple[str, ...]]:
    """Return what exceptions are by class, as far as the processes that raised them noted it.

    Returns
    -------
    bases : `dict` [`str`, `tuple` [`str`, ...]]
        Full names of a class and its bases, nearest first, by the full name of the class.
    """
    found: dict[str, tuple[str, ...]] = {}
    for record in records:
        noted = record.evidence.get(EXCEPTION_BASES)
        if isinstance(noted, dict):
            for name, bases in noted.items():
                if isinstance(bases, list):
                    found.setdefault(name, tuple(base for base in bases if isinstance(base, str)))
    return found
