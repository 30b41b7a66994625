"""Core-hours that a campaign has used: how long its quanta ran, times the cores that each asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from merian_campaign.domain.spec import BpsStep, CampaignSpec

__all__ = ["CoreHours", "RunTime", "core_hours"]


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
    cpus = {
        (step.name, task): resources.cpus or 1
        for step in spec.steps
        if isinstance(step, BpsStep)
        for task, resources in step.resources.items()
    }
    used = [(cpus.get((entry.step, entry.task), 1), entry) for entry in times]
    return CoreHours(
        total=sum(number * entry.total for number, entry in used),
        tonight=sum(number * entry.tonight for number, entry in used),
    )
