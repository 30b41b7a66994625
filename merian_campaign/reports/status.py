"""The status of a campaign: as JSON for machines, as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from merian_campaign.domain.quanta import Counts
from merian_campaign.domain.records import BoardRow
from merian_campaign.domain.states import CampaignState, GroupState
from merian_campaign.domain.text import one_line
from merian_campaign.reports.cells import joined, line

_STYLES = {
    "waiting": "dim",
    "ready": "cyan",
    "running": "bold blue",
    "done": "green",
    "empty": "cyan",
    "needs_review": "bold red",
    "blocked": "yellow",
    "cancelled": "magenta",
}
_MARKS = {
    "waiting": "·",
    "ready": "○",
    "running": "▶",
    "done": "✔",
    "empty": "∅",
    "needs_review": "✘",
    "blocked": "◼",
    "cancelled": "-",
}
_EMPTY = "empty"
"""Shown instead of done: nothing was made, because there was nothing to do."""

_BLOCKED_SHOWN = 5
"""Blocked groups that are listed: what blocks them needs a person, they themselves do not."""

_MARKS_ALONE, _NUMBERS, _WORDS = range(3)
"""How much a cell of the table of the tracts says."""

_PADDING = 3
"""Columns between two columns of a table."""

_COUNTED = ("expected", "succeeded", "failed", "blocked", "unknown", "pending")


@dataclass(frozen=True, kw_only=True)
class Status:
    """A campaign's board with its derived state."""

    campaign: str
    campaign_state: str
    rows: tuple[BoardRow, ...]

    @property
    def state(self) -> str:
        """The state of the whole, derived from its groups."""
        if self.campaign_state != CampaignState.ACTIVE:
            return self.campaign_state
        states = {row.state for row in self.rows}
        if states <= {GroupState.DONE.value}:
            return "done"
        if states & {GroupState.RUNNING.value, GroupState.READY.value}:
            return "running"
        return "needs_review" if GroupState.NEEDS_REVIEW.value in states else "waiting"

    def selected(self, *, step: str | None, tract: int | None) -> Status:
        """Return the part that is about a step, a tract, or both."""
        rows = tuple(
            row
            for row in self.rows
            if (step is None or row.step == step) and (tract is None or row.tract == tract)
        )
        return Status(campaign=self.campaign, campaign_state=self.campaign_state, rows=rows)


def _quanta(counts: Counts) -> dict[str, int]:
    # To those who read the status, a quantum that runs is one that has not ended: pending.
    values = {name: int(getattr(counts, name)) for name in _COUNTED}
    values["pending"] += counts.running
    return values


def _shown(row: BoardRow) -> str:
    return _EMPTY if row.empty else row.state


def total(rows: Iterable[BoardRow]) -> Counts:
    """Return the sum of the quanta of some groups."""
    return sum((row.counts for row in rows), Counts())


def status_json(status: Status) -> dict[str, Any]:
    """Return the documented JSON form of a status."""
    return {
        "campaign": status.campaign,
        "state": status.state,
        "groups": [
            {
                "step": row.step,
                "group": row.group,
                "tract": row.tract,
                "state": row.state,
                "empty": row.empty,
                "reason": row.reason,
                "submissions": row.submissions,
                "stack": row.stack,
                "quanta": _quanta(row.counts),
            }
            for row in status.rows
        ],
        "empty_groups": sum(row.empty for row in status.rows),
        "quanta": _quanta(total(status.rows)),
    }


def status_view(status: Status, *, width: int) -> RenderableType:
    """Return the board: steps with their quanta, tracts by step, and what needs a person."""
    headline = joined(
        ("campaign ", "dim"),
        (status.campaign, "bold"),
        ("  state ", "dim"),
        (status.state, _STYLES.get(status.state, "bold")),
    )
    parts: list[RenderableType] = [headline, steps_table(status.rows)]
    if any(row.tract is not None for row in status.rows):
        parts.append(tracts_table(status.rows, width=width))
    attention = attention_list(status.rows, width=width)
    if attention is not None:
        parts.append(attention)
    return Group(*parts)


def steps_table(rows: Sequence[BoardRow]) -> Table:
    """Return one line a step, and the totals."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    everything = total(rows)
    done = sum(1 for row in rows if row.state == GroupState.DONE.value)
    table.add_column("step", footer="total", no_wrap=True)
    table.add_column("groups", footer=f"{done}/{len(rows)}", justify="right")
    table.add_column("state", footer="")
    table.add_column("quanta", footer=f"{everything.succeeded}/{everything.expected}", justify="right")
    for name in ("failed", "blocked"):
        table.add_column(name, footer=_number(getattr(everything, name)), justify="right")
    table.add_column("open", footer=_number(_not_ended(everything)), justify="right")
    table.add_column("subm.", footer=str(sum(row.submissions for row in rows)), justify="right")
    for step in dict.fromkeys(row.step for row in rows):
        here = [row for row in rows if row.step == step]
        counts = total(here)
        finished = sum(1 for row in here if row.state == GroupState.DONE.value)
        table.add_row(
            line(step),
            f"{finished}/{len(here)}",
            _states(here),
            f"{counts.succeeded}/{counts.expected}" if counts.expected else "",
            line(_number(counts.failed), "red"),
            line(_number(counts.blocked), "yellow"),
            _number(_not_ended(counts)),
            str(sum(row.submissions for row in here)),
        )
    return table


def _not_ended(counts: Counts) -> int:
    return counts.pending + counts.running + counts.unknown


def _number(value: int) -> str:
    return str(value) if value else ""


def _states(rows: Sequence[BoardRow]) -> RenderableType:
    parts: list[tuple[str, str]] = []
    for state in dict.fromkeys(sorted(map(_shown, rows), key=list(_STYLES).index)):
        number = sum(1 for row in rows if _shown(row) == state)
        if parts:
            parts.append(("  ", ""))
        label = state.replace("_", " ") if number == len(rows) else f"{number} {state.replace('_', ' ')}"
        parts.append((f"{_MARKS[state]} {label}", _STYLES[state]))
    return joined(*parts)


def tracts_table(rows: Sequence[BoardRow], *, width: int) -> Table:
    """Return one line a tract, one column a step that goes by tract: succeeded of expected quanta.

    Where it is too wide, the cells say less: without the words of the states, then by their marks alone,
    which the table of the steps explains.
    """
    by_tract = {(row.tract, row.step): row for row in rows if row.tract is not None}
    steps = list(dict.fromkeys(step for _, step in by_tract))
    detail = next(
        (
            detail
            for detail in (_WORDS, _NUMBERS)
            if _columns(steps, by_tract.values(), detail=detail) <= width
        ),
        _MARKS_ALONE,
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("tract", justify="right", no_wrap=True, min_width=5)
    for step in steps:
        table.add_column(line(step), justify="left", no_wrap=detail != _MARKS_ALONE, overflow="fold")
    for tract in sorted({tract for tract, _ in by_tract if tract is not None}):
        cells: list[RenderableType] = []
        for step in steps:
            row = by_tract.get((tract, step))
            cells.append("" if row is None else line(_cell(row, detail=detail), _STYLES[_shown(row)]))
        table.add_row(str(tract), *cells)
    return table


def _columns(steps: Sequence[str], rows: Iterable[BoardRow], *, detail: int) -> int:
    """Return how many columns of a terminal the table of the tracts takes."""
    widest = {step: len(step) for step in steps}
    for row in rows:
        widest[row.step] = max(widest[row.step], len(_cell(row, detail=detail)))
    return len("tract") + 1 + sum(_PADDING + found for found in widest.values())


def _cell(row: BoardRow, *, detail: int) -> str:
    counts = row.counts
    numbers = f" {counts.succeeded}/{counts.expected}" if counts.expected and detail >= _NUMBERS else ""
    words = f" {_shown(row).replace('_', ' ')}" if detail >= _WORDS else ""
    return f"{_MARKS[_shown(row)]}{words}{numbers}"


def attention_list(rows: Sequence[BoardRow], *, width: int) -> RenderableType | None:
    """Return the groups that wait for a person, with their reasons in words."""
    asking = [row for row in rows if row.state == GroupState.NEEDS_REVIEW.value]
    blocked = [row for row in rows if row.state == GroupState.BLOCKED.value]
    if not asking and not blocked:
        return None
    table = Table(box=None, pad_edge=False, show_header=False, width=width)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in (*asking, *blocked[:_BLOCKED_SHOWN]):
        name = line(f"{_MARKS[row.state]} {row.step}/{row.group}", _STYLES[row.state])
        table.add_row(name, line(one_line(row.reason)))  # `show` has all of it
    if len(blocked) > _BLOCKED_SHOWN:
        table.add_row("", f"and {len(blocked) - _BLOCKED_SHOWN} more blocked groups")
    return table
