"""Memory and run time by task: for the terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from merian_campaign.domain.record.wall_time import PARTS, StepWallTime
from merian_campaign.domain.report.rows import UsageRow
from merian_campaign.reports.cells import line

_CAPTION = "Memory in MB, times in seconds: median / 95% / largest; asked for: median."
_WAIT_CAPTION = "Queue: median time from when a quantum could start, all before it ended, until it did."


_WALL_CAPTION = "Hours of submissions from making to end on record, and what they were spent on."
_HOURS = 36_000
"""Seconds from which on hundredths of hours say nothing."""

_WALL_WORDS = {"slurm": "queue", "startup": "start"}


def usage_json(campaign: str, rows: Sequence[UsageRow], walls: Sequence[StepWallTime]) -> dict[str, Any]:
    """Return usage for machines; where the time of submissions went in seconds."""
    return {
        "campaign": campaign,
        "usage": [asdict(row) for row in rows],
        "submissions": [asdict(row) for row in walls],
    }


def wall_view(rows: Sequence[StepWallTime]) -> RenderableType:
    """Return where the time of submissions went, a line a step; 80 columns are enough."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("step", overflow="fold")
    for name in ("hours", *(_WALL_WORDS.get(part, part) for part in PARTS)):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        seconds = [getattr(row.wall, part) for part in PARTS]
        total = sum(seconds)
        shares = [f"{part / total:.0%}" if total else "" for part in seconds]
        table.add_row(line(row.step), f"{total / 3600:.{1 if total >= _HOURS else 2}f}", *shares)
    return Group(table, line(_WALL_CAPTION, "dim"))


def usage_view(rows: Sequence[UsageRow]) -> RenderableType:
    """Return a line a task, by step; 80 columns are enough."""
    waited = any(row.waited for row in rows)
    gap = 0 if waited else 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True, padding=(0, gap, 0, 0))
    table.add_column("task", overflow="fold", footer="total")
    table.add_column("runs", justify="right", no_wrap=True, footer=str(sum(row.executions for row in rows)))
    table.add_column("failed", justify="right", no_wrap=True, footer=_some(sum(row.failed for row in rows)))
    table.add_column("asked", justify="right", no_wrap=True)
    table.add_column("memory used", justify="right", no_wrap=True)
    if waited:
        table.add_column("queue", justify="right", no_wrap=True)
    table.add_column("run time", justify="right", no_wrap=True)
    table.add_column("hours", justify="right", no_wrap=True, footer=f"{sum(row.hours for row in rows):.1f}")
    step = ""
    for row in rows:
        if row.step != step:
            step = row.step
            table.add_row(line(step, "bold"))
        table.add_row(
            line(f"  {row.task}" if row.task else ""),
            str(row.executions),
            line(_some(row.failed), "red"),
            _some(row.requested_mb_median),
            _several(row.peak_mb_median, row.peak_mb_p95, row.peak_mb),
            *([_several(row.wait_seconds_median)] if waited else []),
            _several(row.seconds_median, row.seconds_p95, row.seconds_longest),
            f"{row.hours:.1f}",
        )
    captions = [_CAPTION, *([_WAIT_CAPTION] if waited else [])]
    return Group(table, *(line(caption, "dim") for caption in captions))


def _some(value: int | None) -> str:
    return str(value) if value else ""


def _several(*values: float | None) -> str:
    known = any(value is not None for value in values)
    return "/".join("-" if value is None else f"{value:.0f}" for value in values) if known else ""
