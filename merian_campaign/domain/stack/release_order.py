"""Which of two releases of the LSST stack is the later one."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

__all__ = ["at_least", "release_key"]

# lsst_distrib 30.2026.4300 of PyPI is of the week w_2026_43.
_WEEK: Final = re.compile(r"\bw_?([0-9]{4})_?([0-9]{2})\b|\b[0-9]{1,3}\.([0-9]{4})\.([0-9]{2})[0-9]{2}\b")
_DAY: Final = re.compile(r"\bd_?([0-9]{4})_?([0-9]{2})_?([0-9]{2})\b")
_NUMBER: Final = re.compile(r"\bv?([0-9]{1,3})[._]([0-9]{1,3})(?:[._]([0-9]{1,3}))?\b")
_LONGEST: Final = 200


def release_key(text: str) -> tuple[str, tuple[int, ...]] | None:
    """Return a release as kind and numbers that can be compared within the kind; `None` for none.

    Parameters
    ----------
    text : `str`
        A tag such as ``w_2026_43``, ``d_2026_10_20``, ``v29_1_1``, or words that hold one.
    """
    text = text[:_LONGEST]
    if found := _WEEK.search(text):
        year, week = (found[1], found[2]) if found[1] else (found[3], found[4])
        return "week", (int(year), int(week))
    if found := _DAY.search(text):
        try:
            day = date(int(found[1]), int(found[2]), int(found[3])).isocalendar()
        except ValueError:
            return None
        return "week", (day.year, day.week)
    if found := _NUMBER.search(text):
        return "release", tuple(int(part or 0) for part in found.groups())
    return None


def at_least(release: str, wanted: str) -> bool:
    """Say whether a release is another one or later; `False` where nobody can tell."""
    one, other = release_key(release), release_key(wanted)
    return one is not None and other is not None and one[0] == other[0] and one[1] >= other[1]
