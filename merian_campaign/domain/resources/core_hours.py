"""Core-hours: how long quanta ran, times the cores that each asks for; what was used, what a redo costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `failures` starts with the words of this module, and reads no campaign
    from merian_campaign.domain.spec import CampaignSpec

__all__ = ["CoreHours", "Price", "RunTime", "TaskCost", "core_hours", "prices"]


@dataclass(frozen=True, kw_only=True)
class RunTime:
    """How long the quanta of a task ran, all attempts together, hours.

    Parameters
    ----------
    step, task : `str`
        Whose.
    total : `float`
        In the campaign's life, of submissions that have ended.
    tonight : `float`
        Since the last noon.
    """

    step: str
    task: str
    total: float
    tonight: float


@dataclass(frozen=True, kw_only=True)
class CoreHours:
    """Core-hours in the campaign's life, and since the last noon."""

    total: float = 0.0
    tonight: float = 0.0


def core_hours(spec: CampaignSpec, times: Iterable[RunTime]) -> CoreHours:
    """Return what the run times come to; a task without ``resources: cpus`` has one core.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign; a step that it has no more counts with one core.
    times : iterable of `RunTime`
        By step and task.
    """
    cpus = _cpus(spec)
    used = [(cpus.get((entry.step, entry.task), 1), entry) for entry in times]
    return CoreHours(
        total=sum(number * entry.total for number, entry in used),
        tonight=sum(number * entry.tonight for number, entry in used),
    )


def _cpus(spec: CampaignSpec) -> Mapping[tuple[str, str], int]:
    from merian_campaign.domain.spec import BpsStep  # noqa: PLC0415 - with the campaign that is given

    return {
        (step.name, task): resources.cpus or 1
        for step in spec.steps
        if isinstance(step, BpsStep)
        for task, resources in step.resources.items()
    }


@dataclass(frozen=True, kw_only=True)
class TaskCost:
    """What the quanta of one task cost for the outputs of a group that readers see.

    Parameters
    ----------
    step, group, task : `str`
        Whose.
    quanta : `int`
        How many ran.
    hours : `float`
        How long, all attempts together.
    gb_hours : `float`
        The same times the memory that they asked for, GiB.
    """

    step: str
    group: str
    task: str
    quanta: int
    hours: float
    gb_hours: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Price:
    """What making something anew costs, if it costs what it did before."""

    quanta: int = 0
    core_hours: float = 0.0
    gb_hours: float = 0.0

    def __add__(self, other: Price) -> Price:
        """Return what both cost."""
        return Price(
            quanta=self.quanta + other.quanta,
            core_hours=self.core_hours + other.core_hours,
            gb_hours=self.gb_hours + other.gb_hours,
        )

    def in_words(self) -> str:
        """Return it for people."""
        quanta = "1 quantum" if self.quanta == 1 else f"{self.quanta} quanta"
        return f"{quanta}, {self.core_hours:.2f} core-hours and {self.gb_hours:.2f} GB-hours, as before"

    def to_json(self) -> dict[str, float]:
        """Return it for machines."""
        return {
            "quanta": self.quanta,
            "core_hours": round(self.core_hours, 4),
            "gb_hours": round(self.gb_hours, 4),
        }


def prices(spec: CampaignSpec, costs: Iterable[TaskCost]) -> Mapping[str, Price]:
    """Return by ``STEP/GROUP`` what it costs to make a group anew.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    costs : iterable of `TaskCost`
        What was paid for the generation that readers see, by task.
    """
    cpus = _cpus(spec)
    found: dict[str, Price] = {}
    for cost in costs:
        name = f"{cost.step}/{cost.group}"
        cores = cpus.get((cost.step, cost.task), 1)
        one = Price(quanta=cost.quanta, core_hours=cost.hours * cores, gb_hours=cost.gb_hours)
        found[name] = found.get(name, Price()) + one
    return found
