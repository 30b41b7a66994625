"""Texts that quanta have in common, but for numbers: said once, with places for the numbers.

A data ID is its form with the numbers of the quantum in place, and so is the path of a log, which has a UUID
too. PostgreSQL's ``format`` puts them together again (the view ``quantum``). What has no form stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import itemgetter

__all__ = ["NUMBERED", "Numbers", "around", "called", "data_form", "digest", "is_uuid", "log_form"]

NUMBERED = ("visit", "exposure", "detector", "tract", "patch")
"""Dimensions whose numbers have a column; their place in a form is their place here, counted from 1."""

type Numbers = tuple[int | None, ...]
"""Numbers of `NUMBERED`, in order."""

_PLACE = {name: place for place, name in enumerate(NUMBERED)}
_BITS = {"visit": 63, "exposure": 63, "detector": 15, "tract": 31, "patch": 31}
_LARGEST = tuple(2 ** _BITS[name] - 1 for name in NUMBERED)
# The one text for it; what no column holds needs not be read as a number.
_NUMBER = re.compile(rf"(?<![^,])({'|'.join(NUMBERED)})=(0|[1-9][0-9]{{0,17}})(?![^,])")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PLACES = re.compile(r"%(?:%|([1-6])\$s)")
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
    first, *parts = _NUMBER.split(data_id)
    form = [_literal(first)]
    for name, value, rest in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        place, number = _PLACE[name], int(value)
        if numbers[place] is None and number <= _LARGEST[place]:
            numbers[place] = number
            form.append(f"{name}=%{place + 1}$s{_literal(rest)}")
        else:
            form.append(f"{name}={value}{_literal(rest)}")
    return "".join(form), tuple(numbers)


def _literal(text: str) -> str:
    return text.replace("%", "%%") if "%" in text else text


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


def called(form: str, *, within: str) -> Callable[[Numbers, str], str]:
    """Return what calls the logs of quanta by a form: their full paths, by their numbers and UUIDs.

    Parameters
    ----------
    form : `str`
        Of a log's path.
    within : `str`
        The directory for which a dot stands in it, with a slash; empty if none does.
    """
    places = [int(place) - 1 for place in _PLACES.findall(form) if place]
    pattern = _PLACES.sub(lambda found: "%s" if found[1] else "%%", form)
    if within:
        pattern = _literal(within) + pattern.removeprefix("./")
    chosen = itemgetter(*places)
    return lambda numbers, uuid: pattern % chosen((*numbers, uuid))


def is_uuid(text: str) -> bool:
    """Say whether a text is a UUID as PostgreSQL writes it."""
    return _UUID.fullmatch(text) is not None


def _escaped(path: str, uuid: str) -> str:
    return path.replace("%", "%%").replace(uuid, _UUID_PLACE)


@lru_cache(maxsize=4096)
def _common(form: str) -> bool:
    """Say whether others have this form too, as far as can be seen: no number in it counts them."""
    return _COUNTER.search(form) is None and _UUID.search(form) is None


def digest(*parts: object) -> str:
    """Return by what an entry of a dictionary is found; `None` is told apart from an empty text."""
    from hashlib import md5  # noqa: PLC0415 - `status` loads this module

    text = "\x1f".join(["" if part is None else f"={part}" for part in parts])
    return md5(text.encode(), usedforsecurity=False).hexdigest()
