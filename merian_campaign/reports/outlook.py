"""When a campaign and its steps are expected to end, for `status --eta`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from merian_campaign.domain.report.numbers import report_of
from merian_campaign.domain.report.rows import ReportRows
from merian_campaign.reports.cells import line


def outlook_json(rows: ReportRows) -> dict[str, Any]:
    """Return it for machines."""
    made = report_of(rows)
    head = made.headline
    return {
        "outlook": {
            "low": head.eta_low,
            "high": head.eta_high,
            "words": head.eta_words,
            "of_unknown_size": list(head.unsized),
            "estimated": head.foreseen,
            "quanta_per_hour": round(head.per_hour, 3),
            "steps": [
                {"step": step.step, "estimated": step.foreseen, "low": step.eta_low, "high": step.eta_high}
                for step in made.steps
            ],
        }
    }


def outlook_view(rows: ReportRows) -> RenderableType:
    """Return it for people."""
    made = report_of(rows)
    head = made.headline
    said = f"expected to end {_between(head.eta_low, head.eta_high)}" if head.eta_low else "no forecast"
    words = line(f"{said}{f' ({head.eta_words})' if head.eta_words else ''}", "bold")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("step", overflow="fold")
    for name in ("done", "expected", "estimated"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("ends (UTC)", no_wrap=True)
    for step in made.steps:
        if step.expected + step.foreseen > step.succeeded:
            numbers = (step.succeeded, step.expected + step.foreseen, step.foreseen)
            cells = [f"{number:,}" if number else "" for number in numbers]
            table.add_row(line(step.step), *cells, line(_between(step.eta_low, step.eta_high)))
    return Group(words, table) if table.row_count else words


def _between(low: datetime | None, high: datetime | None) -> str:
    """Return a range of moments; without an end when a step before it is of unknown size."""
    if low is None:
        return ""
    if high is None:
        return f"after {low:%Y-%m-%d %H:%M}"
    first, last = f"{low:%Y-%m-%d %H:%M}", f"{high:%Y-%m-%d %H:%M}"
    return f"about {first}" if first == last else f"{first} to {last}"
