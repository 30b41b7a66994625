"""What is still to come of groups that have no graph yet: estimated from their likes, and so called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean, quantiles
from typing import Final

from merian_campaign.domain.states import GroupState

__all__ = ["Foreseen", "Sized", "foreseen"]

OVER: Final = frozenset({GroupState.DONE, GroupState.CANCELLED})
"""Groups in these states have nothing to come."""

_ENOUGH: Final = 4
"""From how many groups on quartiles say more than the smallest and the largest."""


@dataclass(frozen=True, kw_only=True)
class Sized:
    """A group of a step that runs quanta: its state, and how many its graphs have; 0 before there is one."""

    step: str
    state: str
    expected: int


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """Of one step, the groups to come that have no graph yet, and their quanta.

    Parameters
    ----------
    groups : `int`
        How many there are.
    quanta : `int` or `None`
        What they come to if each has the average of those with a graph; `None` where no group has one.
    least, most : `int`
        The same for the lower and the upper quartile of these groups.
    """

    groups: int
    quanta: int | None
    least: int
    most: int


def foreseen(groups: Iterable[Sized]) -> Mapping[str, Foreseen]:
    """Return by step what is to come of groups without a graph."""
    sizes: dict[str, list[int]] = {}
    without: dict[str, int] = {}
    for group in groups:
        sizes.setdefault(group.step, [])
        without.setdefault(group.step, 0)
        if group.expected:
            sizes[group.step].append(group.expected)
        elif group.state not in OVER:
            without[group.step] += 1
    return {step: _of_step(number, sizes[step]) for step, number in without.items()}


def _of_step(number: int, sizes: list[int]) -> Foreseen:
    if not sizes:
        return Foreseen(groups=number, quanta=None if number else 0, least=0, most=0)
    low, high = float(min(sizes)), float(max(sizes))
    if len(sizes) >= _ENOUGH:
        low, _, high = quantiles(sizes, n=4, method="inclusive")
    return Foreseen(
        groups=number,
        quanta=round(number * mean(sizes)),
        least=round(number * low),
        most=round(number * high),
    )
