"""Texts that quanta have in common, but for numbers: said once, with places for the numbers.

A data ID is its form with the numbers of the quantum in place, and so is the path of a log, which has a UUID
too. PostgreSQL's ``format`` puts them together again (the view ``quantum``). What has no form stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import md5

__all__ = ["NUMBERED", "Numbers", "around", "data_form", "digest", "log_form"]

NUMBERED = ("visit", "exposure", "detector", "tract", "patch")
"""Dimensions whose numbers have a column; their place in a form is their place here, counted from 1."""

type Numbers = tuple[int | None, ...]
"""Numbers of `NUMBERED`, in order."""

_PLACE = {name: place for place, name in enumerate(NUMBERED)}
_BITS = {"visit": 63, "exposure": 63, "detector": 15, "tract": 31, "patch": 31}
_LARGEST = tuple(2 ** _BITS[name] - 1 for name in NUMBERED)
_LONGEST = 18

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UUID_PLACE = f"%{len(NUMBERED) + 1}$s"
# Between these, a number in the name of a log stands for itself (`bpsConfig`'s ``templateDataId``).
_AROUND = (("/", "/"), ("_", "_"), ("_", "."))
# Such numbers would make a form of every log.
_COUNTER = re.compile(r"[0-9]{5}")


def data_form(data_id: str) -> tuple[str, Numbers]:
    """Return the form of a canonical data ID, and its numbers.

    Parameters
    ----------
    data_id : `str`
        See `canonical_data_id`. A number that its column cannot hold stays in the form.
    """
    numbers: list[int | None] = [None] * len(NUMBERED)
    parts = []
    for part in data_id.split(","):
        name, _, value = part.partition("=")
        place = _PLACE.get(name)
        if place is not None and numbers[place] is None and _plain(value, place):
            numbers[place] = int(value)
            parts.append(f"{name}=%{place + 1}$s")
        else:
            parts.append(part.replace("%", "%%") if "%" in part else part)
    return ",".join(parts), tuple(numbers)


def _plain(value: str, place: int) -> bool:
    """Say whether a text is a number that its column holds, and the one text for it."""
    if not (value.isascii() and value.isdecimal() and len(value) <= _LONGEST):
        return False
    return (value[0] != "0" or value == "0") and int(value) <= _LARGEST[place]


def around(numbers: Numbers) -> tuple[tuple[str, str], ...]:
    """Return what stands for each number in the path of a log, and its place."""
    return tuple(
        (f"{before}{number}{after}", f"{before}%{place}$s{after}")
        for place, number in enumerate(numbers, start=1)
        if number is not None
        for before, after in _AROUND
    )


def log_form(path: str | None, places: Iterable[tuple[str, str]]) -> tuple[str | None, str | None]:
    """Return the form of a log's path, and the UUID in it; neither where it is not one that BPS makes.

    Parameters
    ----------
    path : `str` or `None`
        Relative to the submission's directory.
    places : `~collections.abc.Iterable` [`tuple` [`str`, `str`]]
        `around` the numbers of its quantum.
    """
    found = None if path is None else _UUID.search(path)
    if path is None or found is None:
        return None, None
    begin, end = found.span()
    form = f"{path[:begin]}{_UUID_PLACE}{path[end:]}" if "%" not in path else _escaped(path, found[0])
    for text, place in places:
        if text in form:
            form = form.replace(text, place)
    return (form, found[0]) if _common(form) else (None, None)


def _escaped(path: str, uuid: str) -> str:
    return path.replace("%", "%%").replace(uuid, _UUID_PLACE)


@lru_cache(maxsize=4096)
def _common(form: str) -> bool:
    """Say whether others have this form too, as far as can be seen: no number in it counts them."""
    return _COUNTER.search(form) is None and _UUID.search(form) is None


def digest(*parts: object) -> str:
    """Return by what an entry of a dictionary is found; `None` is told apart from an empty text."""
    text = "\x1f".join(["" if part is None else f"={part}" for part in parts])
    return md5(text.encode(), usedforsecurity=False).hexdigest()
