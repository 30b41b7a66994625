"""One line a step with its groups and quanta, in the width and height there are; no number is ever cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.record.board_row import BoardRow
from merian_campaign.domain.states import GroupState
from merian_campaign.reports.cells import joined, line
from merian_campaign.reports.state_marks import legend, state_parts

_NUMBERS: Final = ("groups", "quanta", "failed", "blocked", "open", "subm.")
_STYLES: Final = {"failed": "red", "blocked": "yellow"}
_NEEDED: Final = 2
"""Columns of numbers that stay however narrow it is."""

_WANTED_NAME: Final = 8
_SHORTEST_NAME: Final = 3
_SHORTEST_STATES: Final = len("✔99999")
_EDGES: Final = 2
_LOOSE, _TIGHT = 3, 1
"""Columns of the terminal between two of the table."""


@dataclass(frozen=True, kw_only=True)
class StepLine:
    """A line of the table: a step, or several that are summed up."""

    name: str
    rows: tuple[BoardRow, ...]

    @property
    def numbers(self) -> dict[str, str]:
        """The cells of the columns of numbers."""
        counts = total(self.rows)
        done = sum(1 for row in self.rows if row.state == GroupState.DONE.value)
        return {
            "groups": f"{done}/{len(self.rows)}",
            "quanta": f"{counts.succeeded}/{counts.expected}" if counts.expected else "",
            "failed": _number(counts.failed),
            "blocked": _number(counts.blocked),
            "open": _number(counts.pending + counts.running + counts.unknown),
            "subm.": str(sum(row.submissions for row in self.rows)),
        }


def total(rows: Iterable[BoardRow]) -> Counts:
    """Return the sum of the quanta of some groups."""
    return sum((row.counts for row in rows), Counts())


def _number(value: int) -> str:
    return str(value) if value else ""


def step_lines(rows: Sequence[BoardRow], *, at_most: int | None = None) -> list[StepLine]:
    """Return the steps in their order, at most so many lines.

    Where there are more, those stay that run or want a person, then the next ones; the last line sums up the
    rest.
    """
    steps = {
        name: tuple(row for row in rows if row.step == name)
        for name in dict.fromkeys(row.step for row in rows)
    }
    lines = [StepLine(name=name, rows=here) for name, here in steps.items()]
    if at_most is None or len(lines) <= at_most:
        return lines
    places = sorted(range(len(lines)), key=lambda place: (_rank(lines[place].rows), place))
    kept = sorted(places[: max(0, at_most - 1)])
    rest = [lines[place] for place in range(len(lines)) if place not in kept]
    summed = tuple(row for found in rest for row in found.rows)
    return [*(lines[place] for place in kept), StepLine(name=f"{len(rest)} more", rows=summed)]


def urgent(rows: Sequence[BoardRow]) -> int:
    """Return how many steps run or want a person."""
    return sum(1 for found in step_lines(rows) if _rank(found.rows) == 0)


def _rank(rows: Sequence[BoardRow]) -> int:
    states = {row.state for row in rows}
    for rank, some in enumerate(
        ({"running", "needs_review"}, {"ready"}, {"blocked", "cancelled"}, {"waiting"})
    ):
        if states & some:
            return rank
    return len(GroupState)


def steps_table(
    lines: Sequence[StepLine], *, rows: Sequence[BoardRow], width: int, edges: bool = True
) -> RenderableType:
    """Return the table of the steps, with the totals.

    In words as long as they fit, then by marks, which are explained below it; then with less between the
    columns, names of steps shortened, and states over several lines.

    Parameters
    ----------
    lines : `~collections.abc.Sequence` [`StepLine`]
        What to show.
    rows : `~collections.abc.Sequence` [`BoardRow`]
        All groups, for the totals.
    width : `int`
        Columns that there are.
    edges : `bool`, optional
        Whether it stands between empty lines.
    """
    everything = StepLine(name="total", rows=tuple(rows))
    cells = [found.numbers for found in (*lines, everything)]
    taken = {name: max(len(name), *(len(row[name]) for row in cells)) for name in _NUMBERS}
    names = max(len("step"), *(line(found.name).cell_len for found in (*lines, everything)))
    for words, gap in ((True, _LOOSE), (False, _LOOSE), (False, _TIGHT)):
        states = max([len("state"), *(_states_width(found, words=words) for found in lines)])
        room = width - _around(taken, gap=gap)
        if names + states <= room:
            break
    columns = list(_NUMBERS)
    while room < _SHORTEST_NAME + _SHORTEST_STATES and len(columns) > _NEEDED:
        # No terminal has so few columns in earnest: rather one number less than half of one.
        del taken[columns.pop()]
        room = width - _around(taken, gap=gap)
    names = max(1, min(names, max(_WANTED_NAME, room - states), room - _SHORTEST_STATES))
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, (gap - 1) // 2),
        show_edge=edges and gap == _LOOSE,
        show_footer=True,
    )
    table.add_column("step", footer="total", no_wrap=True, overflow="ellipsis", width=names)
    for name in columns:
        table.add_column(name, footer=cells[-1][name], justify="right", no_wrap=True, min_width=taken[name])
        if name == "groups":
            table.add_column("state", width=max(_SHORTEST_STATES, min(states, room - names)))
    for found, numbers in zip(lines, cells, strict=False):
        groups, *others = (line(numbers[name], _STYLES.get(name, "")) for name in columns)
        states_cell = joined(*state_parts(found.rows, words=words))
        table.add_row(line(found.name), groups, states_cell, *others)
    return table if words else Group(table, joined(*legend(rows)))


def _states_width(found: StepLine, *, words: bool) -> int:
    return sum(len(text) for text, _ in state_parts(found.rows, words=words))


def _around(taken: dict[str, int], *, gap: int) -> int:
    """Return what the columns of numbers take, and what lies between all columns."""
    return sum(taken.values()) + gap * (len(taken) + 1) + (_EDGES if gap == _LOOSE else 0)
