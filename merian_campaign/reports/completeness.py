"""Completeness of tracts by step and band: for the terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from merian_campaign.domain.report.lines import CompletenessLine
from merian_campaign.reports.cells import UNBOUNDED, line

_MOST: Final = 40
"""Lines on a terminal; where the width has no bound, all are written."""

_COLUMNS: Final = ("expected", "done", "caveats", "failed", "blocked", "open", "accepted")


def completeness_json(campaign: str, lines: Sequence[CompletenessLine]) -> dict[str, Any]:
    """Return completeness for machines."""
    return {
        "campaign": campaign,
        "completeness": [{**asdict(one), "fraction": one.fraction} for one in lines],
    }


def completeness_view(lines: Sequence[CompletenessLine], *, everything: bool, width: int) -> RenderableType:
    """Return a line a tract, step and band, those first that miss most; of what is complete, a number."""
    left = [one for one in lines if everything or one.succeeded < one.expected or one.caveats]
    complete = len(lines) - len(left)
    ranked = left if everything else sorted(left, key=lambda one: (one.fraction, one.tract))
    shown = ranked if width >= UNBOUNDED else ranked[:_MOST]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("tract", justify="right", no_wrap=True)
    table.add_column("step", overflow="fold")
    table.add_column("band", overflow="fold")
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for one in shown:
        done = f"{one.succeeded} {100 * one.succeeded // max(1, one.expected)}%"
        numbers = (one.caveats, one.failed, one.blocked, one.open, one.accepted)
        table.add_row(
            str(one.tract),
            line(one.step),
            line(one.band),
            str(one.expected),
            done,
            *(str(number) if number else "" for number in numbers),
        )
    said: list[RenderableType] = [table] if shown else []
    if len(ranked) > len(shown):
        said.append(
            line(f"and {len(ranked) - len(shown)} more; --tract or --step say which, --json has all", "dim")
        )
    if complete:
        word = "entry is" if complete == 1 else "entries are"
        said.append(line(f"{complete} {word} complete and without caveats; --all shows them too", "dim"))
    return Group(*said)
