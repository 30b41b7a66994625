"""What all models of the campaign file share: strictness, names, walltimes, integer ranges."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from merian_campaign.domain.safe_text.text import one_line

NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_]*(-[A-Za-z0-9_]+)*$"
"""Names of campaigns, steps and lists: letters, digits, ``_``, single inner ``-``.

They become parts of collection names, paths, Slurm job names and Python-style BPS variables.
"""

MOST_IDS: Final = 1_000_000
"""Ids, nights and tracts that the lists of a campaign hold together, each list counted by itself.

A survey of ten years has some two million visits, a campaign a part of them. Each id is a number in a data
query and in a row of the tracking database: a hundred million are a mistake, and no memory holds them."""

LARGEST_ID: Final = 2**63 - 1
"""Ids are 64-bit integers in the butler's registry and in the tracking database."""

MOST_MEMORY: Final = 1 << 30
"""MiB that may be asked for: a thousand terabytes, more than any node has."""

MOST_CORES: Final = 100_000
"""Cores, nodes, workers, blocks or submissions that may be asked for."""

_NUMBER = re.compile(r"\s*([0-9]+)\s*")
_RANGE = re.compile(r"\s*([0-9]+)\s*-\s*([0-9]+)\s*")
_WALLTIME = re.compile(r"([0-9]{1,4}-)?[0-9]{1,3}:[0-5][0-9]:[0-5][0-9]")
_LONGEST = 60
_ALLOWED = 'write integers and "first-last" ranges'


class Strict(BaseModel):
    """A model that refuses keys it does not know and values of the wrong type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def brief(value: object) -> str:
    """Return a value as it is shown in a complaint: quoted, inert, short."""
    return repr(one_line(value, limit=100)) if isinstance(value, str) else one_line(repr(value), limit=100)


def tuple_of(value: object) -> object:
    """Take a list for a tuple, which strict models do not."""
    return tuple(value) if isinstance(value, list) else value


def _walltime(value: object) -> str:
    if isinstance(value, int):
        text = f"found the number {value}: YAML 1.1 reads an unquoted time such as 10:00:00 as base-60 digits"
        raise ValueError(f'{text}; put it in quotes, e.g. "10:00:00"')  # noqa: TRY004 - pydantic reports ValueError
    if not isinstance(value, str) or not _WALLTIME.fullmatch(value):
        raise ValueError(f'found {brief(value)}; write a quoted "HH:MM:SS" or "D-HH:MM:SS"')
    return value


def walltime_seconds(walltime: str) -> int:
    """Return the seconds in a ``[D-]HH:MM:SS`` walltime."""
    days, _, clock = walltime.rpartition("-")
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


def read_walltime(text: str) -> int:
    """Return a walltime that a person wrote, in whole minutes, rounded up.

    Raises
    ------
    ValueError
        Raised if it is none.
    """
    return whole_minutes(_walltime(text))


def whole_minutes(walltime: str) -> int:
    """Return a walltime as BPS has it: whole minutes, rounded up."""
    return -(-walltime_seconds(walltime) // 60)


def expand_ranges(value: object) -> tuple[int, ...]:
    """Expand a list of integers and inclusive ``"A-B"`` ranges.

    Parameters
    ----------
    value : `object`
        An integer, a range, or a list of them.

    Returns
    -------
    values : `tuple` [`int`, ...]
        In ascending order.

    Raises
    ------
    ValueError
        Raised if something is neither, a range runs backwards, or a value occurs twice.
    """
    ranges = sorted(map(_bounds, value if isinstance(value, list | tuple) else [value]))
    if sum(last - first + 1 for first, last in ranges) > MOST_IDS:
        raise ValueError(f"more than {MOST_IDS} values in one list")
    twice = [max(first, second) for (first, last), (second, _) in pairwise(ranges) if second <= last]
    if twice:
        raise ValueError(f"duplicate values: {', '.join(map(str, twice[:10]))}; name each once")
    return tuple(number for first, last in ranges for number in range(first, last + 1))


def _bounds(entry: object) -> tuple[int, int]:
    """Return the first and the last id of an integer or a range."""
    if isinstance(entry, int) and not isinstance(entry, bool):
        first = last = entry
        if entry < 0:
            raise ValueError(f"found {brief(entry)}; ids are never negative")
    else:
        match = None
        if isinstance(entry, str) and len(entry) <= _LONGEST:
            match = _RANGE.fullmatch(entry) or _NUMBER.fullmatch(entry)
        if match is None:
            raise ValueError(f"found {brief(entry)}; {_ALLOWED}")
        first, last = int(match[1]), int(match[match.lastindex or 1])
    if last > LARGEST_ID:
        raise ValueError(f"found {brief(entry)}; the largest id is {LARGEST_ID}, that of 64 bits")
    if last < first:
        raise ValueError(f"the range {entry!r} runs backwards")
    return first, last


def count_ids(value: object) -> int:
    """Return how many ids a list of integers and ranges stands for, without expanding it.

    What is neither counts nothing or one: the model refuses it.
    """
    if isinstance(value, range):
        return len(value)
    number = 0
    for entry in value if isinstance(value, list | tuple) else [value]:
        match = _RANGE.fullmatch(entry) if isinstance(entry, str) and len(entry) <= _LONGEST else None
        if match is None:
            number += isinstance(entry, int | str)
        else:
            number += max(0, int(match[2]) - int(match[1]) + 1)
    return number


def as_ranges(values: Iterable[int]) -> tuple[str, ...]:
    """Write integers as `expand_ranges` reads them: ``"A-B"`` for runs of three and more.

    Parameters
    ----------
    values : iterable of `int`
        In any order.
    """
    runs: list[list[int]] = []
    for value in sorted(set(values)):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    found: list[str] = []
    for run in runs:
        found += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(value) for value in run]  # noqa: PLR2004
    return tuple(found)


Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=64)]
Walltime = Annotated[str, BeforeValidator(_walltime)]
Integers = Annotated[tuple[int, ...], BeforeValidator(expand_ranges)]
