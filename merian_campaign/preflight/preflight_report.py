"""The findings of a preflight, for people and for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table

from merian_campaign.domain.preflight import Finding
from merian_campaign.reports.cells import UNBOUNDED, Either, joined, line, paragraph


def preflight_json(found: Sequence[Finding]) -> dict[str, Any]:
    """Return findings for machines."""
    return {"findings": [asdict(finding) for finding in found]}


def preflight_view(found: Sequence[Finding], *, width: int = 80) -> RenderableType:
    """Return a table of findings: how grave, where, what, and what to do."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    table.add_column("where", overflow="fold", max_width=26 if width < UNBOUNDED else None)
    table.add_column("what, and what to do", ratio=1, overflow="fold")
    for finding in found:
        grave = line("error", "bold red") if finding.fatal else line("note", "yellow")
        said = [paragraph(finding.message), *([paragraph(f"-> {finding.fix}", "dim")] if finding.fix else [])]
        flat = joined(finding.message, f" -> {finding.fix}" if finding.fix else "")
        table.add_row(grave, line(finding.place), Either(*said, flat=flat))
    return table


def summary(campaign: str, found: Sequence[Finding]) -> str:
    """Return the last line."""
    fatal = sum(1 for finding in found if finding.fatal)
    notes = len(found) - fatal
    counted = f"{fatal} error{'' if fatal == 1 else 's'}, {notes} note{'' if notes == 1 else 's'}"
    return f"campaign {campaign}: {counted}"
