"""What a group selects of a step's data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a group selects: one dimension and its values, or everything.

    Parameters
    ----------
    dimension : `str`
        ``tract``, ``day_obs``, ``exposure``, ``visit``, or another of integer ids; empty for everything.
    values : `tuple` [`int`, ...]
        Sorted, without duplicates.
    """

    dimension: str = ""
    values: tuple[int, ...] = ()
