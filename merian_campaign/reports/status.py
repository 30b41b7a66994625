"""The status of a campaign: as JSON for machines, as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from merian_campaign.domain.quanta import Counts
from merian_campaign.domain.records import BoardRow
from merian_campaign.domain.states import CampaignState, GroupState
from merian_campaign.domain.text import one_line
from merian_campaign.reports.cells import UNBOUNDED, joined, line
from merian_campaign.reports.state_marks import MARKS, STYLES, shown_state
from merian_campaign.reports.steps_table import step_lines, steps_table, total

_BLOCKED_SHOWN = 5
"""Blocked groups that are listed: what blocks them needs a person, they themselves do not."""

_MARKS_ALONE, _NUMBERS, _WORDS = range(3)
"""How much a cell of the table of the tracts says."""

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
        (status.state, STYLES.get(status.state, "bold")),
    )
    parts: list[RenderableType] = [
        headline,
        steps_table(step_lines(status.rows), rows=status.rows, width=width),
    ]
    if any(row.tract is not None for row in status.rows):
        parts.append(tracts_table(status.rows, width=width))
    attention = attention_list(status.rows, width=width)
    if attention is not None:
        parts.append(attention)
    return Group(*parts)


def tracts_table(rows: Sequence[BoardRow], *, width: int) -> Table:
    """Return one line a tract, one column a step that goes by tract: succeeded of expected quanta.

    Where it is too wide, the cells say less: without the words of the states, then by their marks alone,
    which the table of the steps explains.
    """
    by_tract = {(row.tract, row.step): row for row in rows if row.tract is not None}
    steps = list(dict.fromkeys(step for _, step in by_tract))
    tracts = sorted({tract for tract, _ in by_tract})
    first = max(len(str(tract)) for tract in ("tract", *tracts))
    # Headings go downwards where there are marks alone.
    detail, gap = _MARKS_ALONE, 3 if first + len(steps) * (3 + 1) + 2 <= width else 1
    for more, apart in ((_NUMBERS, 1), (_NUMBERS, 3), (_WORDS, 3)):
        if first + sum(apart + _wide(step, by_tract, detail=more) for step in steps) + 2 <= width:
            detail, gap = more, apart
    tight = gap == 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, (gap - 1) // 2), show_edge=not tight)
    table.add_column("tract", justify="right", no_wrap=True, min_width=first)
    for step in steps:
        if detail == _MARKS_ALONE:
            apart = max(1, (width - first - 2) // len(steps) - gap)
            table.add_column(line(step), overflow="fold", width=min(apart, line(step).cell_len))
        else:
            table.add_column(line(step), no_wrap=True)
    for tract in tracts:
        cells: list[RenderableType] = []
        for step in steps:
            row = by_tract.get((tract, step))
            cells.append("" if row is None else line(_cell(row, detail=detail), STYLES[shown_state(row)]))
        table.add_row(str(tract), *cells)
    return table


def _wide(step: str, rows: Mapping[tuple[int, str], BoardRow], *, detail: int) -> int:
    """Return how many columns of a terminal a step takes in the table of the tracts."""
    cells = (len(_cell(row, detail=detail)) for (_, name), row in rows.items() if name == step)
    return max(line(step).cell_len, *cells)


def _cell(row: BoardRow, *, detail: int) -> str:
    counts = row.counts
    numbers = f" {counts.succeeded}/{counts.expected}" if counts.expected and detail >= _NUMBERS else ""
    words = f" {shown_state(row).replace('_', ' ')}" if detail >= _WORDS else ""
    return f"{MARKS[shown_state(row)]}{words}{numbers}"


def attention_list(rows: Sequence[BoardRow], *, width: int) -> RenderableType | None:
    """Return the groups that wait for a person, with their reasons in words."""
    asking = [row for row in rows if row.state == GroupState.NEEDS_REVIEW.value]
    blocked = [row for row in rows if row.state == GroupState.BLOCKED.value]
    if not asking and not blocked:
        return None
    table = Table(box=None, pad_edge=False, show_header=False, width=width if width < UNBOUNDED else None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in (*asking, *blocked[:_BLOCKED_SHOWN]):
        name = line(f"{MARKS[shown_state(row)]} {row.step}/{row.group}", STYLES[shown_state(row)])
        table.add_row(name, line(one_line(row.reason)))  # `show` has all of it
    if len(blocked) > _BLOCKED_SHOWN:
        table.add_row("", f"and {len(blocked) - _BLOCKED_SHOWN} more blocked groups")
    return table
