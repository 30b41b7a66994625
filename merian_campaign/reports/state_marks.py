"""Marks and colours of the states of groups, the same in every table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from merian_campaign.domain.record.board_row import BoardRow

STYLES: Final = {
    "waiting": "dim",
    "ready": "cyan",
    "running": "bold blue",
    "done": "green",
    "empty": "cyan",
    "needs_review": "bold red",
    "blocked": "yellow",
    "cancelled": "magenta",
}
MARKS: Final = {
    "waiting": "·",
    "ready": "○",
    "running": "▶",
    "done": "✔",
    "empty": "∅",
    "needs_review": "✘",
    "blocked": "◼",
    "cancelled": "-",
}


def shown_state(row: BoardRow) -> str:
    """Return the state that is shown: ``empty`` in place of done where there was nothing to do."""
    return "empty" if row.empty else row.state


def in_order(states: Iterable[str]) -> list[str]:
    """Return states once each, in the order in which groups go through them."""
    return sorted(set(states), key=list(STYLES).index)


def state_parts(rows: Iterable[BoardRow], *, words: bool) -> list[tuple[str, str]]:
    """Return how many groups are in which state, with styles: in words, or by marks and numbers alone."""
    counted = Counter(map(shown_state, rows))
    parts: list[tuple[str, str]] = []
    for state in in_order(counted):
        if parts:
            parts.append(("  " if words else " ", ""))
        name, number = state.replace("_", " "), counted[state]
        label = f" {name if len(counted) == 1 else f'{number} {name}'}" if words else str(number)
        parts.append((f"{MARKS[state]}{label}", STYLES[state]))
    return parts


def legend(rows: Iterable[BoardRow]) -> list[tuple[str, str]]:
    """Return what the marks of some groups mean, with styles."""
    states = in_order(map(shown_state, rows))
    return [(f"  {MARKS[state]} {state.replace('_', ' ')}", "dim") for state in states]
