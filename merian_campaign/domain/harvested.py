"""What a submission left behind, as values: quanta of the predicted graph and of the provenance graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from merian_campaign.domain import json_values
from merian_campaign.domain.json_values import WrongValueError
from merian_campaign.domain.lines import moment_of
from merian_campaign.domain.quanta import DataIdValue


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """A quantum of a predicted graph; ``after`` are the UUIDs of the quanta it needs."""

    uuid: str
    task: str
    data_id: str
    dimensions: Mapping[str, DataIdValue]
    after: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RawAttempt:
    """An attempt as the provenance graph has it; memory in MiB, times UTC, seconds of run time."""

    status: str
    exception_type: str | None
    exception_message: str | None
    peak_mb: int | None
    started: datetime | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class RawQuantum:
    """A quantum as the provenance graph has it."""

    uuid: str
    task: str
    data_id: str
    dimensions: Mapping[str, DataIdValue]
    status: str
    caveats: str
    attempts: tuple[RawAttempt, ...]
    log: str | None


def parse_predicted(lines: Iterable[str]) -> tuple[Predicted, ...]:
    """Read the JSON lines of a predicted graph; empty lines are none.

    Raises
    ------
    WrongValueError
        Raised if a line is not what `Predicted` is made of; the message begins with its number.
    """
    return tuple(_each(lines, _predicted))


def parse_harvest(lines: Iterable[str]) -> tuple[RawQuantum, ...]:
    """Read the JSON lines of a provenance graph; empty lines are none.

    Raises
    ------
    WrongValueError
        Raised if a line is not what `RawQuantum` is made of; the message begins with its number.
    """
    return tuple(_each(lines, _raw_quantum))


def _each[T](lines: Iterable[str], make: Callable[[Mapping[str, object]], T]) -> Iterator[T]:
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            yield make(_object(json_values.loads(line)))
        except WrongValueError as error:
            raise WrongValueError(f"line {number}: {error}") from None


def _predicted(entry: Mapping[str, object]) -> Predicted:
    return Predicted(
        uuid=json_values.text(entry, "uuid"),
        task=json_values.text(entry, "task"),
        data_id=json_values.text(entry, "data_id"),
        dimensions=_dimensions(entry),
        after=tuple(_text(item, of="after") for item in _list(entry, "after")),
    )


def _raw_quantum(entry: Mapping[str, object]) -> RawQuantum:
    return RawQuantum(
        uuid=json_values.text(entry, "uuid"),
        task=json_values.text(entry, "task"),
        data_id=json_values.text(entry, "data_id"),
        dimensions=_dimensions(entry),
        status=json_values.text(entry, "status"),
        caveats=json_values.text(entry, "caveats"),
        attempts=tuple(_raw_attempt(_object(item)) for item in _list(entry, "attempts")),
        log=_text_or_none(entry, "log"),
    )


def _raw_attempt(entry: Mapping[str, object]) -> RawAttempt:
    return RawAttempt(
        status=json_values.text(entry, "status"),
        exception_type=_text_or_none(entry, "exception_type"),
        exception_message=_text_or_none(entry, "exception_message"),
        peak_mb=json_values.whole(entry, "peak_mb"),
        started=_moment(entry, "started"),
        seconds=json_values.number(entry, "seconds"),
    )


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise WrongValueError(f"expected an object, found {type(value).__name__}")
    return value


def _list(entry: Mapping[str, object], key: str) -> list[object]:
    found = entry.get(key)
    if not isinstance(found, list):
        raise WrongValueError(f"{key}: expected a list, found {type(found).__name__}")
    return found


def _text(value: object, *, of: str) -> str:
    if not isinstance(value, str):
        raise WrongValueError(f"{of}: expected text, found {type(value).__name__}")
    return value


def _text_or_none(entry: Mapping[str, object], key: str) -> str | None:
    return None if entry.get(key) is None else json_values.text(entry, key)


def _dimensions(entry: Mapping[str, object]) -> Mapping[str, DataIdValue]:
    found: dict[str, DataIdValue] = {}
    for name, value in _object(entry.get("dimensions")).items():
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise WrongValueError(
                f"dimensions: {name}: expected a number or text, found {type(value).__name__}"
            )
        found[name] = value
    return found


def _moment(entry: Mapping[str, object], key: str) -> datetime | None:
    """Return a moment, UTC where it does not say."""
    text = _text_or_none(entry, key)
    if text is None:
        return None
    moment = moment_of(text)
    if moment is None:
        raise WrongValueError(f"{key}: {text!r} is no moment")
    return moment
