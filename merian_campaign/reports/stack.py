"""The LSST environment: what would be on record of it, and what can be imported in it."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from merian_campaign.domain.stack import stack_versions
from merian_campaign.domain.stack.requirements import StackReport
from merian_campaign.reports.cells import joined, line

_STYLES = {"ok": "green", "untested": "yellow", "optional": "dim", "missing": "bold red", "unfit": "bold red"}
_MEANINGS = (
    "untested: another version than merian-campaign was tested with; optional: only for the embedded database"
)


def stack_json(report: StackReport) -> dict[str, Any]:
    """Return the documented JSON form of a report."""
    return {
        "python": report.python,
        "versions": stack_versions.to_json(report.versions),
        "requirements": [
            {
                "name": entry.wanted.name,
                "wanted": entry.wanted.versions,
                "version": entry.version,
                "verdict": entry.verdict,
                "where": entry.where,
                "error": entry.error,
            }
            for entry in report.found
        ],
        "programs": dict(report.programs),
        "advice": list(report.advice),
    }


def stack_view(report: StackReport) -> RenderableType:
    """Return one line a requirement of ours and a program, and what else is not as it should be."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("package", "wanted", "there", "", "from"):
        table.add_column(name, overflow="fold")
    shown = [entry for entry in report.found if entry.wanted.direct or entry.verdict != "ok"]
    places = list(dict.fromkeys(entry.where for entry in shown if entry.where))
    for entry in shown:
        verdict = line(entry.verdict, _STYLES[entry.verdict])
        where = f"({places.index(entry.where) + 1})" if entry.where else entry.error
        wanted = entry.wanted
        table.add_row(line(wanted.name), line(wanted.versions), line(entry.version), verdict, line(where))
    lines = [f"({number}) {place}" for number, place in enumerate(places, start=1)]
    lines += [f"{name}: {path}" for name, path in report.programs if path]
    head = joined(("stack ", "dim"), (report.short, "bold"))
    python = joined(("python ", "dim"), report.python)
    unusual = {entry.verdict for entry in shown} & {"untested", "optional"}
    words = [line(text, "dim") for text in (*lines, *([_MEANINGS] if unusual else []))]
    return Group(head, python, table, *words)
