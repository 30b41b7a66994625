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

_WIDE_NAME: Final = 12
"""Of a step or band, what is shown in one line however narrow it is."""

_NAMES: Final = (1, 2)
"""Places of the columns of names."""

_LOOSE, _TIGHT = 3, 1
"""Columns of the terminal between two of the table."""

_COLUMNS: Final = ("caveats", "failed", "blocked", "open", "accepted")
"""Shown where there are any: all of them are more than 80 columns hold."""


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
    columns = [name for name in _COLUMNS if any(getattr(one, name) for one in shown)]
    headings = ("tract", "step", "band", "done", "", *columns)
    rows = [_cells(one, columns) for one in shown]
    widths = [max(line(text).cell_len for text in column) for column in zip(headings, *rows, strict=True)]
    gap = _LOOSE if sum(widths) + _LOOSE * len(widths) <= width else _TIGHT
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, gap - 1, 0, 0))
    for place, (name, wide) in enumerate(zip(headings, widths, strict=True)):
        if place in _NAMES:
            table.add_column(name, overflow="fold", min_width=min(_WIDE_NAME, wide))
        else:
            table.add_column(name, justify="right", no_wrap=True, min_width=wide)
    for row in rows:
        table.add_row(*(line(text) for text in row))
    said: list[RenderableType] = [table] if shown else []
    if len(ranked) > len(shown):
        said.append(
            line(f"and {len(ranked) - len(shown)} more; --tract or --step say which, --json has all", "dim")
        )
    if complete:
        word = "entry is" if complete == 1 else "entries are"
        said.append(line(f"{complete} {word} complete and without caveats; --all shows them too", "dim"))
    return Group(*said)


def _cells(one: CompletenessLine, columns: Sequence[str]) -> list[str]:
    numbers = [getattr(one, name) for name in columns]
    done = (f"{one.succeeded}/{one.expected}", f"{100 * one.succeeded // max(1, one.expected)}%")
    return [str(one.tract), one.step, one.band, *done, *(str(number) if number else "" for number in numbers)]
