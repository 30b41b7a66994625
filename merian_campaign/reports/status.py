"""The status of a campaign: as JSON for machines, as tables for people."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.record.board_row import BoardRow
from merian_campaign.domain.report.remaking import Remade, Remaking, remaking, stale_words
from merian_campaign.domain.resources.foreseen import Foreseen, Sized, foreseen
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.states import GroupState, derived_state
from merian_campaign.reports.cells import UNBOUNDED, height_of, joined, line
from merian_campaign.reports.state_marks import MARKS, STYLES, shown_state
from merian_campaign.reports.steps_table import step_lines, steps_table, total

if TYPE_CHECKING:
    from datetime import datetime

    from merian_campaign.domain.resources.core_hours import Price

_BLOCKED_SHOWN = 5
"""Blocked groups that are listed: what blocks them needs a person, they themselves do not."""

_ASKING_SHOWN = 6
"""Groups that need review, of those that are listed where not all lines fit."""

_FOLDED = 8
"""Lines of folded tracts."""

_FEW_TRACTS = 6
"""Tracts that keep their table, whatever else is folded."""

_LEAST = (2, 4, 1)
"""Lines of steps, of folded tracts and of groups that need review, on the smallest screen."""

_WORST_FIRST = ("needs_review", "blocked", "cancelled", "running", "ready", "waiting", "done")

_MARKS_ALONE, _NUMBERS, _WORDS = range(3)
"""How much a cell of the table of the tracts says."""

_COUNTED = ("expected", "succeeded", "failed", "blocked", "unknown", "pending")


@dataclass(frozen=True, kw_only=True)
class Status:
    """A campaign's board with its derived state."""

    campaign: str
    campaign_state: str
    rows: tuple[BoardRow, ...]
    prices: Mapping[str, Price] = field(default_factory=dict)
    """By ``STEP/GROUP``, what it would cost to make anew what is done for older data."""
    at: datetime | None = None
    """The moment, where that is an earlier one."""

    @property
    def ahead(self) -> Mapping[str, Foreseen]:
        """What is to come of groups that have no graph yet, by step; butler actions have none."""
        return foreseen(
            Sized(step=row.step, state=row.state, expected=row.counts.expected)
            for row in self.rows
            if not row.action
        )

    @property
    def estimated(self) -> int:
        """Quanta of groups that have no graph yet, as far as their likes tell."""
        return sum(found.quanta or 0 for found in self.ahead.values())

    @property
    def fraction(self) -> float | None:
        """How much of all quanta that are predicted or estimated is done.

        `None` without any, and while nobody knows the size of a step.
        """
        counts = total(self.rows)
        whole = counts.expected + self.estimated
        return counts.succeeded / whole if whole and not self.unsized else None

    @property
    def unsized(self) -> tuple[str, ...]:
        """Steps of which no group has a graph yet, and that are to come."""
        return tuple(step for step, found in self.ahead.items() if found.quanta is None)

    @property
    def redo_price(self) -> Price | None:
        """What it would cost to make all of that anew; `None` when there is nothing."""
        names = [f"{row.step}/{row.group}" for row in self.rows if row.stale]
        found = [self.prices[name] for name in names if name in self.prices]
        return functools.reduce(operator.add, found) if found else None

    @property
    def remaking(self) -> Remaking | None:
        """What is being made anew, how far it is, and why; `None` for nothing."""
        return remaking(
            Remade(
                name=f"{row.step}/{row.group}",
                state=row.state,
                reason=row.remade,
                expected=row.counts.expected,
                succeeded=row.counts.succeeded,
            )
            for row in self.rows
            if row.remade is not None
        )

    @property
    def state(self) -> str:
        """The state of the whole, derived from its groups."""
        return derived_state(self.campaign_state, {row.state for row in self.rows})

    def selected(
        self, *, step: str | None = None, tract: int | None = None, state: str | None = None
    ) -> Status:
        """Return the part that is about a step, a tract, a state, or some of these."""
        rows = tuple(
            row
            for row in self.rows
            if step in {None, row.step} and tract in {None, row.tract} and state in {None, row.state}
        )
        return replace(self, rows=rows)


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
                "stale": row.stale,
                "remade": row.remade,
                "reason": row.reason,
                "submissions": row.submissions,
                "stack": row.stack,
                "quanta": _quanta(row.counts),
            }
            for row in status.rows
        ],
        "empty_groups": sum(row.empty for row in status.rows),
        "stale_groups": sum(row.stale for row in status.rows),
        "remaking": None if status.remaking is None else asdict(status.remaking),
        "redo_price": None if status.redo_price is None else status.redo_price.to_json(),
        "quanta": _quanta(total(status.rows)),
        "estimated": status.estimated,
        "of_unknown_size": list(status.unsized),
        # Rounded down: 1 only when nothing is missing.
        "fraction": None if status.fraction is None else math.floor(status.fraction * 1e6) / 1e6,
    } | ({} if status.at is None else {"at": status.at})


def status_view(status: Status, *, width: int, height: int | None = None) -> RenderableType:
    """Return the board: steps with their quanta, tracts by step, and what needs a person.

    Parameters
    ----------
    status : `Status`
        What to show.
    width : `int`
        Columns that there are.
    height : `int` or `None`, optional
        Lines that there are, one of them for the prompt below: tracts that do not fit are folded by how far
        they are, and steps and groups that need review are ranked. `None`: all is shown.
    """
    if height is None:
        return Group(*_parts(status, width=width))
    steps = len({row.step for row in status.rows})
    tracts = len({row.tract for row in status.rows if row.tract is not None})
    asking = sum(row.state == GroupState.NEEDS_REVIEW.value for row in status.rows)
    if steps + tracts + asking < height:
        whole = Group(*_parts(status, width=width, edges=False))
        if height_of(whole, width=width) < height:
            return whole
    wanted = (steps, min(_FOLDED, tracts) if tracts > _FEW_TRACTS else 0, min(_ASKING_SHOWN, asking))
    room = sum(wanted)
    while True:
        most = _shared(room, wanted)
        view = Group(*_parts(status, width=width, edges=False, most=most))
        over = height_of(view, width=width) - (height - 1)
        if over <= 0 or room <= sum(_LEAST):
            return view
        room -= over


def _shared(room: int, wanted: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return how many lines each part gets, taken from where most are above the least."""
    given = list(wanted)
    while sum(given) > room:
        place = max(range(len(given)), key=lambda part: given[part] - _LEAST[part])
        if given[place] <= _LEAST[place]:
            break
        given[place] -= 1
    return given[0], given[1], given[2]


def _parts(
    status: Status, *, width: int, edges: bool = True, most: tuple[int, int, int] | None = None
) -> list[RenderableType]:
    """Return the parts of the board; with the ``most`` lines that steps, tracts and review may take."""
    headline = joined(
        ("campaign ", "dim"),
        (status.campaign, "bold"),
        ("  state ", "dim"),
        (status.state, STYLES.get(status.state, "bold")),
        (f"  at {status.at:%Y-%m-%d %H:%M} UTC" if status.at is not None else "", "dim"),
        (f"  {progress_words(status)}", "dim"),
    )
    steps, folds, asking = most or (None, None, None)
    parts: list[RenderableType] = [
        headline,
        steps_table(step_lines(status.rows, at_most=steps), rows=status.rows, width=width, edges=edges),
    ]
    if folds:
        parts.append(folded_tracts(status.rows, width=width, at_most=folds))
    elif any(row.tract is not None for row in status.rows):
        parts.append(tracts_table(status.rows, width=width))
    attention = attention_list(status.rows, width=width, at_most=asking)
    if attention is not None:
        parts.append(attention)
    anew = status.remaking
    if anew is not None:
        parts.append(line(one_line(anew.in_words(), limit=2 * width), "cyan"))
    stale = stale_words([(f"{row.step}/{row.group}", row.reason) for row in status.rows if row.stale])
    if stale:
        parts.append(line(one_line(stale, limit=2 * width), "yellow"))
        if status.redo_price is not None:
            parts.append(line(f"to make all of them anew: {status.redo_price.in_words()}", "yellow"))
    return parts


def progress_words(status: Status) -> str:
    """Return how much is done of all that is to come, and how much of that is estimated."""
    counts = total(status.rows)
    whole = counts.expected + status.estimated
    if not whole:
        return ""
    quanta = f"{'some ' if status.estimated else ''}{whole:,} quanta"
    if status.fraction is None:
        unknown = status.unsized
        named = unknown[0] if len(unknown) == 1 else f"{len(unknown)} steps"
        return f"{counts.succeeded:,} of {quanta}, without {named}"
    # All of it is done only when all of it is.
    percent = 100 if status.fraction >= 1 else min(99, int(100 * status.fraction))
    return f"{percent}% of {quanta}"


def folded_tracts(rows: Sequence[BoardRow], *, width: int, at_most: int) -> RenderableType:
    """Return a line for all tracts that are equally far, with the first ones named; the worst come first.

    Where there are more than ``at_most``, the last line says how many tracts are elsewhere.
    """
    by_tract: dict[int, list[BoardRow]] = {}
    for row in rows:
        if row.tract is not None:
            by_tract.setdefault(row.tract, []).append(row)
    kinds: dict[tuple[str, str], list[int]] = {}
    for tract, mine in sorted(by_tract.items()):
        behind = next((row for row in mine if row.state != GroupState.DONE.value), None)
        key = ("done", "") if behind is None else (behind.state, behind.step)
        kinds.setdefault(key, []).append(tract)
    ranked = sorted(kinds.items(), key=lambda entry: (_WORST_FIRST.index(entry[0][0]), -len(entry[1])))
    lines: list[RenderableType] = [line("")]
    # What is releasable comes last, and is what a lead looks for.
    cut = len(ranked) if len(ranked) <= at_most else max(1, at_most - 1)
    last = [entry for entry in ranked[cut:] if entry[0][0] == "done"]
    shown = ranked[: cut - len(last)]
    for (state, step), tracts in [*shown, *last]:
        words = "releasable" if state == "done" else f"{state.replace('_', ' ')} at {step}"
        head = f"{len(tracts):>5} tract{'s' if len(tracts) > 1 else ' '} {MARKS[state]} {words}: "
        lines.append(joined((head, STYLES[state]), _first(tracts, room=width - len(head))))
    left = len(by_tract) - sum(len(tracts) for _, tracts in [*shown, *last])
    if left:
        lines.append(joined((f"{left:>5} tract{'s' if left > 1 else ' '} elsewhere", "dim")))
    lines.append(joined(("      --state, --step, --tract and --needs-you show them one by one", "dim")))
    return Group(*lines)


def _first(tracts: Sequence[int], *, room: int) -> str:
    """Return the first of some numbers, as many as fit, and how many more there are."""
    words = ""
    for shown, tract in enumerate(tracts):
        left = len(tracts) - shown
        more = f"{words}, {tract}" if words else str(tract)
        if len(more) + (len(f" and {left - 1} more") if left > 1 else 0) > max(20, room):
            return f"{words} and {left} more" if words else f"{left}"
        words = more
    return words


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


def attention_list(
    rows: Sequence[BoardRow], *, width: int, at_most: int | None = None
) -> RenderableType | None:
    """Return the groups that wait for a person, with their reasons in words; a line each if not all."""
    asking = [row for row in rows if row.state == GroupState.NEEDS_REVIEW.value]
    blocked = [row for row in rows if row.state == GroupState.BLOCKED.value]
    if not asking and not blocked:
        return None
    short = at_most is not None
    if short:
        asking.sort(key=lambda row: -row.counts.failed - row.counts.blocked)
    shown = (*asking[:at_most], *blocked[: 0 if short and asking else _BLOCKED_SHOWN])
    widest = max((line(f"{row.step}/{row.group}").cell_len for row in shown), default=0)
    # A name is what is typed next: rather less of the reason.
    names = min(width // 2, widest + len("✘ "))
    bounded = width if width < UNBOUNDED else None
    table = Table(box=None, pad_edge=False, show_header=False, width=bounded, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis", width=names if bounded else None)
    room = max(1, width - names - 1) if bounded else None
    table.add_column(overflow="ellipsis" if short else "fold", no_wrap=short, width=room)
    for row in shown:
        name = line(f"{MARKS[shown_state(row)]} {row.step}/{row.group}", STYLES[shown_state(row)])
        table.add_row(name, line(one_line(row.reason), fit=short))  # `show` has all of it
    more = _more(asking=len(asking), blocked=len(blocked), at_most=at_most)
    return Group(table, line(more, "dim")) if more else table


def _more(*, asking: int, blocked: int, at_most: int | None) -> str:
    """Return how many groups are not listed that need review or are blocked."""
    if at_most is not None and asking:
        words = [f"{asking - at_most} more need review"] * (asking > at_most)
        words += [f"{blocked} are blocked"] * bool(blocked)
        return f"  and {', '.join(words)}; --needs-you lists them" if words else ""
    return f"  and {blocked - _BLOCKED_SHOWN} more blocked groups" if blocked > _BLOCKED_SHOWN else ""
