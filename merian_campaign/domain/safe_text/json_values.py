"""JSON from outside, read with bounds: what comes back can be stored, counted with, walked, without harm."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from merian_campaign.domain.safe_text.text import LONGEST, clean

__all__ = ["DEEPEST", "LARGEST", "WrongValueError", "cleaned", "loads", "number", "text", "whole"]

DEEPEST: Final = 32
"""Levels of objects and lists that are read; ours have at most six."""

_LONGEST_KEY: Final = 200

_SHORT: Final = 4000
"""Characters of a line of which nothing can be too long."""

LARGEST: Final = 2**63 - 1
"""Integers beyond it fit neither PostgreSQL's ``bigint`` nor anything we count."""


_UNBOUNDED: Final = frozenset({str, bool, type(None)})


class WrongValueError(ValueError):
    """JSON that is not what it should be; the message says what was found."""


def loads(line: str | bytes) -> object:
    """Return a JSON value whose texts are clean and whose numbers are finite and below 2**63.

    Raises
    ------
    WrongValueError
        Raised for anything else: no JSON, ``NaN`` and infinities, huge numbers, more than `DEEPEST` levels.
    """
    try:
        if isinstance(line, str) and _is_plain(line):
            value, end = _decode(line)
            if end == len(line) and _is_bounded((value,), deep=DEEPEST):
                return value
    except (ValueError, RecursionError):
        pass  # said below, in words
    try:
        found: object = json.loads(line, parse_constant=_no_constant)
    except RecursionError:
        raise WrongValueError("more levels of brackets than can be read") from None
    except UnicodeDecodeError as error:
        raise WrongValueError(f"not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise WrongValueError(f"no JSON: {clean(str(error), limit=200)}") from None
    return cleaned(found)


def _is_plain(line: str) -> bool:
    """Say whether a line's texts are clean as they stand: of nearly all, and files have millions.

    JSON has no control characters in its texts.
    """
    return len(line) <= _SHORT and line.isascii() and "\\" not in line and "\x7f" not in line


def _is_bounded(values: Iterable[Any], *, deep: int) -> bool:
    """Say whether decoded values are finite, below 2**63, and of no more levels than ``deep``."""
    for value in values:
        kind = type(value)
        if kind in _UNBOUNDED:
            continue
        if kind is dict or kind is list:
            if deep <= 0 or not _is_bounded(value.values() if kind is dict else value, deep=deep - 1):
                return False
        elif not -LARGEST <= value <= LARGEST:
            return False
    return True


def cleaned(value: object, *, deep: int = DEEPEST) -> object:
    """Return a JSON value with all its texts clean, keys included.

    Raises
    ------
    WrongValueError
        Raised if it holds numbers that are not finite or too large, more levels than ``deep``, or what is
        no JSON.
    """
    match value:
        case str():
            # Most texts are short and plain, and files of ours have millions.
            return value if len(value) <= LONGEST and value.isprintable() else clean(value, limit=LONGEST)
        case bool() | None:
            return value
        case int() | float():
            if not -LARGEST <= value <= LARGEST:  # `nan` compares false
                raise WrongValueError("a number that is not finite or has more than 63 bits")
            return value
        case _ if deep <= 0:
            raise WrongValueError(f"more than {DEEPEST} levels of brackets")
        case dict() | Mapping():
            return {_key(key): cleaned(item, deep=deep - 1) for key, item in value.items()}
        case list() | tuple():
            return [cleaned(item, deep=deep - 1) for item in value]
    raise WrongValueError(f"a value of type {type(value).__name__}")


def _key(key: object) -> str:
    plain = isinstance(key, str) and len(key) <= _LONGEST_KEY and key.isprintable()
    return key if isinstance(key, str) and plain else clean(str(key), limit=_LONGEST_KEY)


def text(values: Mapping[str, object], key: str, *, default: str | None = None) -> str:
    """Return a text field.

    Raises
    ------
    WrongValueError
        Raised if it is not there (and there is no default) or is no text.
    """
    found = values.get(key, default)
    if not isinstance(found, str):
        raise WrongValueError(f"{key}: expected text, found {_kind(found)}")
    return found


def whole(values: Mapping[str, object], key: str) -> int | None:
    """Return a field that is a whole number or nothing.

    Raises
    ------
    WrongValueError
        Raised if it is something else.
    """
    found = values.get(key)
    if found is None or (isinstance(found, int) and not isinstance(found, bool)):
        return found
    raise WrongValueError(f"{key}: expected a whole number, found {_kind(found)}")


def number(values: Mapping[str, object], key: str) -> float | None:
    """Return a field that is a number or nothing.

    Raises
    ------
    WrongValueError
        Raised if it is something else.
    """
    found = values.get(key)
    if found is None:
        return None
    if isinstance(found, int | float) and not isinstance(found, bool):
        return float(found)
    raise WrongValueError(f"{key}: expected a number, found {_kind(found)}")


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__


def _no_constant(name: str) -> object:
    raise WrongValueError(f"{name} is no number")


_decode: Final = json.JSONDecoder(parse_constant=_no_constant).raw_decode
