"""Completeness of tracts by step and band: for the terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from merian_campaign.domain.report.lines import CompletenessLine, TractLine
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


_TRACTS: Final = 10
"""Tracts of which it is said why they may not be released."""

_KINDS: Final = (
    ("no_work", "no work found"),
    ("upstream", "no work for a failure upstream"),
    ("unprocessable", "unprocessable data"),
    ("partial", "partial outputs"),
)


def completeness_json(
    campaign: str, lines: Sequence[CompletenessLine], tracts: Sequence[TractLine]
) -> dict[str, Any]:
    """Return completeness for machines."""
    return {
        "campaign": campaign,
        "tracts": [
            {"tract": one.tract, "releasable": one.releasable, "why": one.why, "state": one.state}
            for one in tracts
        ],
        "completeness": [{**asdict(one), "fraction": one.fraction} for one in lines],
    }


def completeness_view(
    lines: Sequence[CompletenessLine], tracts: Sequence[TractLine], *, everything: bool, width: int
) -> RenderableType:
    """Return a line a tract, step and band; of what is complete, a number.

    Those come first of which most failed, then those that miss most. Below it stand which tracts may be
    released, and why others may not.
    """
    left = [one for one in lines if everything or one.succeeded < one.expected or one.caveats]
    complete = len(lines) - len(left)
    ranked = left if everything else sorted(left, key=_rank)
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
    caveats = [f"{sum(getattr(one, name) for one in lines)} {words}" for name, words in _KINDS]
    caveats = [words for words in caveats if not words.startswith("0 ")]
    if caveats:
        said.append(line(f"caveats: {', '.join(caveats)}", "dim"))
    estimated = sum(one.estimated for one in lines)
    if estimated:
        said.append(line(f"~ with {estimated} estimated: no graph has them yet", "dim"))
    return Group(*said, *_verdicts(tracts, everything=everything or width >= UNBOUNDED))


def _rank(one: CompletenessLine) -> tuple[int, float, int]:
    """Return the place of a line: what failed goes before what is only still to come."""
    return -one.failed - one.blocked, one.fraction, one.tract


def _verdicts(tracts: Sequence[TractLine], *, everything: bool) -> list[RenderableType]:
    """Return which tracts may be released, and what is in the way of those that come nearest to it."""
    kept = [one for one in tracts if not one.releasable]
    said: list[RenderableType] = [
        line(f"{len(tracts) - len(kept)} of {len(tracts)} tracts may be released", "bold")
    ]
    if everything:
        ready = [one for one in tracts if one.releasable]
        return (
            said
            + [line(f"tract {one.tract}: releasable: {one.why}", "green") for one in ready]
            + [line(f"tract {one.tract}: not releasable: {one.why}") for one in kept]
        )
    ranked = sorted(kept, key=lambda one: (one.state != "needs_review", one.reached - one.steps, one.tract))
    said += [line(f"tract {one.tract}: not releasable: {one.why}") for one in ranked[:_TRACTS]]
    if len(kept) > _TRACTS:
        said.append(line(f"and {len(kept) - _TRACTS} more that are not", "dim"))
    return said


def _cells(one: CompletenessLine, columns: Sequence[str]) -> list[str]:
    numbers = [getattr(one, name) for name in columns]
    done = (
        f"{one.succeeded}/{'~' if one.estimated else ''}{one.expected}",
        f"{100 * one.succeeded // max(1, one.expected)}%",
    )
    return [str(one.tract), one.step, one.band, *done, *(str(number) if number else "" for number in numbers)]
