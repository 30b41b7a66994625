"""The LSST environment: what would be on record of it, and what can be imported in it."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from merian_campaign.domain import versions
from merian_campaign.domain.importing import StackReport

_STYLES = {"ok": "green", "untested": "yellow", "optional": "dim", "missing": "bold red", "unfit": "bold red"}
_MEANINGS = (
    "untested: another version than merian-campaign was tested with; optional: only for the embedded database"
)


def stack_json(report: StackReport) -> dict[str, Any]:
    """Return the documented JSON form of a report."""
    return {
        "python": report.python,
        "versions": versions.to_json(report.versions),
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
    """Return one line a requirement and a program."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("package", "wanted", "there", ""):
        table.add_column(name, overflow="fold")
    table.add_column("from", overflow="fold", ratio=1)
    for entry in report.found:
        verdict = Text(entry.verdict, style=_STYLES[entry.verdict])
        where = entry.where or entry.error
        table.add_row(entry.wanted.name, entry.wanted.versions, entry.version, verdict, where)
    for name, path in report.programs:
        verdict = Text("ok" if path else "missing", style=_STYLES["ok" if path else "missing"])
        table.add_row(name, "", "program", verdict, path)
    head = Text.assemble(("stack ", "dim"), (report.short, "bold"), ("\npython ", "dim"), report.python)
    shown = {entry.verdict for entry in report.found} & {"untested", "optional"}
    return Group(head, table, *([Text(_MEANINGS, style="dim")] if shown else []))
