"""Learned memory requests, and what is to be expected of them: for the terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from merian_campaign.domain.resources.memory_model import MemoryForecast
from merian_campaign.reports.cells import line, share

_CAPTION = (
    "What each task asks for next; the part of its quanta that fits; second attempts in a hundred; "
    "GB-hours that a thousand ask for and do not use."
)


def memory_json(found: Mapping[str, Sequence[MemoryForecast]]) -> list[dict[str, Any]]:
    """Return learned requests for machines."""
    return [
        {
            "step": step,
            "task": one.task,
            "request_mb": one.request_mb,
            "request_mb_by_exposures": [list(pair) for pair in one.by_exposures],
            "request_mb_by_inputs": [list(pair) for pair in one.by_inputs],
            "learned": one.learned,
            "measured": one.measured,
            "fits": round(one.fits, 4),
            "retries_in_100": round(one.retries, 2),
            "wasted_gb_hours_in_1000": round(one.wasted, 3),
        }
        for step, tasks in found.items()
        for one in tasks
    ]


def memory_lines(found: Mapping[str, Sequence[MemoryForecast]]) -> Iterator[str]:
    """Yield a line a step, for the plan."""
    for step, tasks in found.items():
        number = sum(one.measured for one in tasks)
        if not number:
            continue
        fits = sum(one.fits * one.measured for one in tasks) / number
        wasted = sum(one.wasted * one.measured for one in tasks) / number
        learned = sum(one.learned for one in tasks)
        asked = "1 task asks" if learned == 1 else f"{learned} tasks ask"
        yield (
            f"memory of {step}: {asked} for what was measured; {share(fits, digits=1)} of the quanta "
            f"would fit, {100 * (1 - fits):.1f} second attempts in 100, {wasted:.1f} GB-hours unused in 1,000"
        )


def memory_view(found: Mapping[str, Sequence[MemoryForecast]]) -> RenderableType:
    """Return a line a task, by step."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("task", overflow="fold")
    for name in ("measured", "asks next", "fits", "retries", "unused"):
        table.add_column(name, justify="right", no_wrap=True)
    for step, tasks in found.items():
        table.add_row(line(step, "bold"))
        for one in tasks:
            table.add_row(
                line(f"  {one.task}"),
                f"{one.measured:,}",
                line(f"{_requests(one)} MB", "bold" if one.learned else ""),
                share(one.fits, digits=1),
                f"{one.retries:.1f}",
                f"{one.wasted:.1f}",
            )
    return Group(table, line(_CAPTION, "dim"))


def _requests(one: MemoryForecast) -> str:
    found = [request for _, request in (*one.by_exposures, *one.by_inputs)] or [one.request_mb]
    return str(found[0]) if min(found) == max(found) else f"{min(found)}-{max(found)}"
