"""What a submission is expected to cost, from what the groups of its step have cost so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import mean, median
from typing import Final

from merian_campaign.domain.record.snapshot import GroupView, SubmissionView
from merian_campaign.domain.resources.block_shape import BlockShape
from merian_campaign.domain.resources.core_hours import Price
from merian_campaign.domain.states import GroupState, SubmissionOutcome

__all__ = ["Expected", "expected_cost", "likes"]

MOST_LIKES: Final = 5
"""Groups of a step that tell what others cost, the latest."""

_RAN: Final = frozenset({SubmissionOutcome.SUCCEEDED, SubmissionOutcome.PARTIAL})


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a submission is expected to come to.

    Parameters
    ----------
    quanta : `int` or `None`
        How many it has to run; `None` where no group of its step has a graph.
    core_hours, gb_hours : `float` or `None`
        What they cost, at what quanta of the step have cost; `None` where none has ended.
    hours : `float` or `None`
        From its preparation to its harvest, the median of its step's; `None` where none has ended.
    estimated : `bool`
        Whether the number of quanta is that of other groups.
    block_cores : `int` or `None`
        Cores of its one block, where that takes no more of a node than is left to run.
    """

    quanta: int | None
    core_hours: float | None
    gb_hours: float | None
    hours: float | None
    estimated: bool
    block_cores: int | None = None

    @property
    def block_core_hours(self) -> float | None:
        """What such a block costs for as long as it is expected to be there."""
        return self.block_cores * self.hours if self.block_cores and self.hours is not None else None

    def in_words(self) -> str:
        """Return it for people; empty when nothing is known."""
        some = "some " if self.estimated else ""
        said = (
            f"{some}{self.quanta:,} {'quantum' if self.quanta == 1 else 'quanta'}" if self.quanta else "",
            f"{self.core_hours:.2f} core-hours" if self.core_hours is not None else "",
            f"{self.gb_hours:.2f} GB-hours" if self.gb_hours is not None else "",
            f"about {_span(self.hours)}" if self.hours is not None else "",
            self._block(),
        )
        return ", ".join(words for words in said if words)

    def _block(self) -> str:
        if self.block_cores is None:
            return ""
        block = f"in a block of {self.block_cores} core{'s' if self.block_cores > 1 else ''}"
        hours = self.block_core_hours
        return block if hours is None else f"{block} ({hours:.2f} core-hours)"

    def to_json(self) -> dict[str, float | bool | None]:
        """Return it for machines."""
        costs = {
            "core_hours": self.core_hours,
            "gb_hours": self.gb_hours,
            "hours": self.hours,
            "block_core_hours": self.block_core_hours,
        }
        rounded = {name: None if value is None else round(value, 4) for name, value in costs.items()}
        return {
            "quanta": self.quanta,
            **rounded,
            "block_cores": self.block_cores,
            "estimated": self.estimated,
        }


def _span(hours: float) -> str:
    minutes = max(1, round(60 * hours))
    return f"{minutes} min" if minutes < 100 else f"{hours:.1f} h"  # noqa: PLR2004 - reads better in hours


def likes(groups: Iterable[GroupView], *, steps: Iterable[str]) -> list[str]:
    """Return as ``STEP/GROUP`` those groups by which the costs of others are told: the latest done ones."""
    found = []
    for step in dict.fromkeys(steps):
        done = [
            group
            for group in groups
            if group.step == step and group.state is GroupState.DONE and group.counts.expected
        ]
        latest = sorted(done, key=lambda group: group.submissions[-1].id if group.submissions else 0)
        found += [f"{group.step}/{group.key}" for group in latest[-MOST_LIKES:]]
    return found


def expected_cost(
    group: GroupView,
    *,
    groups: Sequence[GroupView],
    costs: Mapping[str, Price],
    anew: bool = False,
    shape: BlockShape | None = None,
) -> Expected:
    """Return what the next submission of a group is expected to cost.

    Parameters
    ----------
    group : `GroupView`
        The group.
    groups : sequence of `GroupView`
        Of the campaign.
    costs : `~collections.abc.Mapping` [`str`, `Price`]
        What some of them have cost, by ``STEP/GROUP``.
    anew : `bool`, optional
        Whether it makes all of its quanta again.
    shape : `BlockShape`, optional
        What its blocks ask for, where it has any.
    """
    mine = [other for other in groups if other.step == group.step]
    sizes = [other.counts.expected for other in mine if other.counts.expected]
    quanta: int | None = None
    if group.counts.expected:
        quanta = group.counts.expected if anew else group.counts.open
    elif sizes:
        quanta = round(mean(sizes))
    paid = sum((price for name, price in costs.items() if name.startswith(f"{group.step}/")), start=Price())
    share = quanta / paid.quanta if quanta is not None and paid.quanta else None
    first = anew or not any(entry.generation == group.generation for entry in group.submissions)
    return Expected(
        quanta=quanta,
        core_hours=None if share is None else share * paid.core_hours,
        gb_hours=None if share is None else share * paid.gb_hours,
        hours=_hours(mine, first=first),
        estimated=quanta is not None and not group.counts.expected,
        block_cores=shape.cores if shape is not None and shape.small else None,
    )


def _hours(groups: Iterable[GroupView], *, first: bool) -> float | None:
    """Return the median length of submissions that ran: the first of their generations, or the others."""
    lengths = []
    for group in groups:
        begun: set[int] = set()
        for entry in group.submissions:
            if (entry.generation not in begun) == first and (length := _length(entry)) is not None:
                lengths.append(length)
            begun.add(entry.generation)
    return median(lengths) if lengths else None


def _length(entry: SubmissionView) -> float | None:
    if entry.outcome not in _RAN or entry.finished_at is None:
        return None
    return (entry.finished_at - (entry.launched_at or entry.created_at)) / timedelta(hours=1)
