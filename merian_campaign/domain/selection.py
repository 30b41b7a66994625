"""What a group selects of a step's data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


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


class SomeExposure(Protocol):
    """What is known of an exposure, whoever looked."""

    @property
    def exposure(self) -> int:
        """Its id."""

    @property
    def day_obs(self) -> int:
        """Its night."""

    @property
    def visits(self) -> tuple[int, ...]:
        """Visits it belongs to."""


@dataclass(frozen=True, kw_only=True)
class ExposureDimension:
    """A dimension of which every exposure has values, so that it is known which groups it belongs to.

    Parameters
    ----------
    values : callable
        Returns those of an exposure.
    within : `frozenset` [`str`]
        Dimensions of which a quantum has one if it lies within a group.
    column : `str`
        As data queries call it.
    """

    values: Callable[[SomeExposure], tuple[int, ...]]
    within: frozenset[str]
    column: str


OF_EXPOSURES: Mapping[str, ExposureDimension] = {
    "exposure": ExposureDimension(
        values=lambda one: (one.exposure,), within=frozenset({"exposure", "visit"}), column="exposure"
    ),
    "day_obs": ExposureDimension(
        values=lambda one: (one.day_obs,),
        within=frozenset({"day_obs", "group", "exposure", "visit"}),
        column="exposure.day_obs",
    ),
    "visit": ExposureDimension(
        values=lambda one: one.visits, within=frozenset({"exposure", "visit"}), column="visit"
    ),
}
"""All there are, by name. Others are tracts, or nobody knows what they have to do with exposures."""


def column_of(dimension: str) -> str:
    """Return a dimension as data queries call it."""
    return OF_EXPOSURES[dimension].column if dimension in OF_EXPOSURES else dimension
