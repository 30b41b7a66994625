"""What a submission left behind, as values: quanta of the predicted graph and of the provenance graph.

The files are written by processes that may die or run on a full disk, in folders that others may reach. A
line that is not what it should be costs the one quantum it is about: it is unknown, and that is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from merian_campaign.domain.execution.quanta import INTEGER_DIMENSIONS, Attempt, DataIdValue, changed_attempt
from merian_campaign.domain.safe_text import json_values
from merian_campaign.domain.safe_text.json_values import WrongValueError
from merian_campaign.domain.safe_text.jsonl import moment_of
from merian_campaign.domain.states import QuantumState

__all__ = [
    "SUCCESSFUL",
    "LineReport",
    "Predicted",
    "RawQuantum",
    "moment_after",
    "parse_harvest",
    "parse_predicted",
]

_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_DATA_ID: Final = re.compile(r"[a-z_][a-z_0-9]*=[^,=]+(?:,[a-z_][a-z_0-9]*=[^,=]+)*|")
_NAME: Final = re.compile(r"[a-z_][a-z_0-9]*")
SUCCESSFUL: Final = frozenset({"SUCCESSFUL", "ABORTED_SUCCESS"})
"""What the provenance graph calls a success, with or without a caveat."""

_LARGE: Final = frozenset({"visit", "exposure"})
"""Dimensions of 64 bits; the others have 32 in the database."""

_INT32: Final = 2**31 - 1
_LONGEST_NAME: Final = 250
_LONGEST_DATA_ID: Final = 1000
"""Of a task and a data ID that are stored: longer ones are no names of the middleware."""

_LONGEST_LINE: Final = 8 << 20
_MOST_ATTEMPTS: Final = 1000
_MOST_TOLD: Final = 3
_LONGEST_TAIL: Final = 4000


class Predicted(NamedTuple):
    """A quantum of a predicted graph; ``after`` are the UUIDs of the quanta it needs."""

    uuid: str
    task: str
    data_id: str
    dimensions: Mapping[str, DataIdValue]
    after: tuple[str, ...]


class RawQuantum(NamedTuple):
    """A quantum as the provenance graph has it, and of its attempts what that knows.

    The bases of their exceptions are not of the graph: whoever read it looked them up.
    """

    uuid: str
    task: str
    data_id: str
    dimensions: Mapping[str, DataIdValue]
    status: str
    caveats: str
    attempts: tuple[Attempt, ...]
    log: str | None
    log_tail: str | None = None
    inputs: int | None = None


class LineReport:
    """What is to be said of lines that could not be taken; counts all, keeps the words of a few."""

    def __init__(self) -> None:
        self.number = 0
        self._words: list[str] = []

    def add(self, words: str) -> None:
        """Note one line."""
        self.number += 1
        if len(self._words) < _MOST_TOLD:
            self._words.append(words)

    def join(self, other: LineReport) -> None:
        """Add what another report says."""
        self.number += other.number
        self._words += other._words[: _MOST_TOLD - len(self._words)]

    def __str__(self) -> str:
        more = self.number - len(self._words)
        return "; ".join([*self._words, *([f"and {more} lines more"] if more else [])])


def parse_predicted(
    lines: Iterable[str | bytes], *, file: str = "predicted.jsonl", wrong: LineReport | None = None
) -> tuple[Predicted, ...]:
    """Read the JSON lines of a predicted graph.

    Parameters
    ----------
    lines : iterable of `str`
        The file's.
    file : `str`
        How messages name it.
    wrong : `LineReport`, optional
        Where to say what is wrong with lines that are left out.

    Raises
    ------
    WrongValueError
        Raised for a line that is not as it should be, if there is no ``wrong``; names file, line and field.
    """
    return _parse(lines, _predicted, file=file, wrong=wrong)


def parse_harvest(
    lines: Iterable[str | bytes], *, file: str = "harvest.jsonl", wrong: LineReport | None = None
) -> tuple[RawQuantum, ...]:
    """Read the JSON lines of a provenance graph; parameters and errors as of `parse_predicted`."""
    return _parse(lines, _raw_quantum, file=file, wrong=wrong)


def _parse[Q](
    lines: Iterable[str | bytes],
    read: Callable[[Mapping[str, Any]], Q],
    *,
    file: str,
    wrong: LineReport | None,
) -> tuple[Q, ...]:
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            if len(line) > _LONGEST_LINE:
                raise WrongValueError(f"{len(line)} characters, more than one quantum has")
            found.append(read(_object(json_values.loads(line), "a quantum")))
        except WrongValueError as error:
            words = f"{file}, line {number}: {error}"
            if wrong is None:
                raise WrongValueError(words) from None
            wrong.add(words)
    return tuple(found)


def _predicted(entry: Mapping[str, Any]) -> Predicted:
    return Predicted(
        uuid=_uuid(entry.get("uuid"), "uuid"),
        task=_short(entry, "task"),
        data_id=_data_id(entry),
        dimensions=_dimensions(entry),
        after=tuple([_uuid(each, "after") for each in _list(entry, "after")]),
    )


def _raw_quantum(entry: Mapping[str, Any]) -> RawQuantum:
    attempts = _list(entry, "attempts")
    if len(attempts) > _MOST_ATTEMPTS:
        raise WrongValueError(f"attempts: {len(attempts)}, more than a quantum has")
    return RawQuantum(
        uuid=_uuid(entry.get("uuid"), "uuid"),
        task=_short(entry, "task"),
        data_id=_data_id(entry),
        dimensions=_dimensions(entry),
        status=_short(entry, "status"),
        caveats=_short(entry, "caveats"),
        attempts=tuple(
            _attempt(_object(each, "attempts"), try_number=number) for number, each in enumerate(attempts, 1)
        ),
        log=_text_or_none(entry, "log"),
        # What runs of earlier versions left has none of these.
        log_tail=(_text_or_none(entry, "log_tail") or "")[:_LONGEST_TAIL] or None,
        inputs=_whole32(entry, "inputs"),
    )


def _attempt(entry: Mapping[str, Any], *, try_number: int) -> Attempt:
    started = _text_or_none(entry, "started")
    moment = None if started is None else moment_of(started)
    if started is not None and moment is None:
        raise WrongValueError(f"started: {started[:60]!r} is no moment")
    bases = _list(entry, "exception_bases") if "exception_bases" in entry else []
    succeeded = _short(entry, "status") in SUCCESSFUL
    return changed_attempt(
        _BLANK,
        try_number=try_number,
        state=QuantumState.SUCCEEDED if succeeded else QuantumState.FAILED,
        exception_type=_text_or_none(entry, "exception_type"),
        exception_message=_text_or_none(entry, "exception_message"),
        peak_mb=_whole32(entry, "peak_mb"),
        started=moment,
        ended=moment_after(moment, json_values.number(entry, "seconds")),
        cpu_seconds=json_values.number(entry, "cpu_seconds"),
        exception_bases=tuple(str(base)[:_LONGEST_NAME] for base in bases[:_MOST_ATTEMPTS]),
    )


_BLANK: Final = Attempt(try_number=1, state=QuantumState.UNKNOWN)


def moment_after(moment: datetime | None, seconds: float | None) -> datetime | None:
    """Return a moment so many seconds later, if there is one."""
    if moment is None or seconds is None:
        return None
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return None


def _data_id(entry: Mapping[str, Any]) -> str:
    data_id = json_values.text(entry, "data_id")
    if len(data_id) > _LONGEST_DATA_ID or not _DATA_ID.fullmatch(data_id):
        raise WrongValueError(f"data_id: {data_id[:60]!r} is no data ID")
    return data_id


def _dimensions(entry: Mapping[str, Any]) -> dict[str, DataIdValue]:
    found = _object(entry.get("dimensions"), "dimensions")
    return {name: _dimension(name, value) for name, value in found.items()}


def _dimension(name: str, value: object) -> DataIdValue:
    if _NAME.fullmatch(name):
        if name not in INTEGER_DIMENSIONS and isinstance(value, str) and len(value) <= _LONGEST_NAME:
            return value
        most = json_values.LARGEST if name in _LARGE or name not in INTEGER_DIMENSIONS else _INT32
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= most:
            return value
    raise WrongValueError(f"dimensions: {name[:60]!r} cannot be {str(value)[:60]!r}")


def _uuid(value: object, field: str) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise WrongValueError(f"{field}: {str(value)[:60]!r} is no UUID")
    return value


def _object(value: object, field: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise WrongValueError(f"{field}: expected an object, found {type(value).__name__}")
    return value


def _list(entry: Mapping[str, Any], field: str) -> list[Any]:
    found = entry.get(field)
    if not isinstance(found, list):
        raise WrongValueError(f"{field}: expected a list, found {type(found).__name__}")
    return found


def _short(entry: Mapping[str, Any], field: str) -> str:
    found = json_values.text(entry, field)
    if len(found) > _LONGEST_NAME:
        raise WrongValueError(f"{field}: {len(found)} characters, more than {_LONGEST_NAME}")
    return found


def _text_or_none(entry: Mapping[str, Any], field: str) -> str | None:
    return None if entry.get(field) is None else json_values.text(entry, field)


def _whole32(entry: Mapping[str, Any], field: str) -> int | None:
    found = json_values.whole(entry, field)
    if found is not None and abs(found) > _INT32:
        raise WrongValueError(f"{field}: {found} is out of range")
    return found
