"""What all models of the campaign file share: strictness, names, walltimes, integer ranges."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_]*(-[A-Za-z0-9_]+)*$"
"""Names of campaigns, steps and lists: letters, digits, ``_``, single inner ``-``.

They become parts of collection names, paths, Slurm job names and Python-style BPS variables.
"""

_NUMBER = re.compile(r"\s*([0-9]+)\s*")
_RANGE = re.compile(r"\s*([0-9]+)\s*-\s*([0-9]+)\s*")
_WALLTIME = re.compile(r"([0-9]+-)?[0-9]{1,3}:[0-5][0-9]:[0-5][0-9]")
_MAX_RANGE = 1_000_000


class Strict(BaseModel):
    """A model that refuses keys it does not know and values of the wrong type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _walltime(value: object) -> str:
    if isinstance(value, int):
        text = f"found the number {value}: YAML 1.1 reads an unquoted time such as 10:00:00 as base-60 digits"
        raise ValueError(f'{text}; put it in quotes, e.g. "10:00:00"')  # noqa: TRY004 - pydantic reports ValueError
    if not isinstance(value, str) or not _WALLTIME.fullmatch(value):
        raise ValueError(f'found {value!r}; write a quoted "HH:MM:SS" or "D-HH:MM:SS"')
    return value


def walltime_seconds(walltime: str) -> int:
    """Return the seconds in a ``[D-]HH:MM:SS`` walltime."""
    days, _, clock = walltime.rpartition("-")
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


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
    entries = value if isinstance(value, list | tuple) else [value]
    found: list[int] = []
    for entry in entries:
        if isinstance(entry, bool) or not isinstance(entry, int | str):
            raise ValueError(f'found {entry!r}; write integers and "first-last" ranges')  # noqa: TRY004
        if isinstance(entry, int):
            if entry < 0:
                raise ValueError(f"found {entry}; ids are never negative")
            found.append(entry)
            continue
        match = _RANGE.fullmatch(entry) or _NUMBER.fullmatch(entry)
        if match is None:
            raise ValueError(f'found {entry!r}; write integers and "first-last" ranges')
        first, last = int(match[1]), int(match[match.lastindex or 1])
        if last < first:
            raise ValueError(f"the range {entry!r} runs backwards")
        if last - first > _MAX_RANGE:
            raise ValueError(f"the range {entry!r} has more than {_MAX_RANGE} values")
        found.extend(range(first, last + 1))
    twice = sorted(number for number, times in Counter(found).items() if times > 1)
    if twice:
        raise ValueError(f"duplicate values: {', '.join(map(str, twice[:10]))}; name each once")
    return tuple(sorted(found))


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
