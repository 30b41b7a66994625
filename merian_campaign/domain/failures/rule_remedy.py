"""What a failure rule has done about a failure, beside or against what its verdict has."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["AGAIN_REMEDIES", "HELD_REMEDIES", "RuleRemedy", "allowed", "read_remedy"]


class RuleRemedy(StrEnum):
    """What a rule has done about a failure."""

    SAME_AGAIN = "same_again"
    """Run it again with the same resources, whatever the verdict, within the cap on attempts."""
    MORE_MEMORY = "more_memory"
    """Run it again with more memory; only of what ran out of it."""
    LONGER = "longer"
    """Run it again with twice the time that it had; only of what was ended at a limit."""
    FEWER_WORKERS = "fewer_workers"
    """Run it again with half the workers a node."""
    LEAVE_OUT_NODE = "leave_out_node"
    """Run it again, on other nodes."""
    ACCEPT = "accept"
    """Go on without it, as long as no more than `up_to` are lost so."""
    BLOCK = "block"
    """Do not run it again: a person looks at it."""
    PAUSE_CAMPAIGN = "pause_campaign"
    """Start nothing more of the campaign until a person says so."""


AGAIN_REMEDIES: Final = frozenset(
    {
        RuleRemedy.SAME_AGAIN,
        RuleRemedy.MORE_MEMORY,
        RuleRemedy.LONGER,
        RuleRemedy.FEWER_WORKERS,
        RuleRemedy.LEAVE_OUT_NODE,
    }
)
"""Remedies for which it is run again, also where its verdict alone would not have it."""

HELD_REMEDIES: Final = frozenset({RuleRemedy.ACCEPT, RuleRemedy.BLOCK})
"""Remedies for which it is not run again, whatever its verdict."""


def read_remedy(stored: str | None) -> tuple[RuleRemedy | None, float]:
    """Return a remedy from what was kept, and how much may be lost by it; `None` for what nobody knows."""
    word, _, number = (stored or "").partition(" ")
    try:
        return RuleRemedy(word), float(number or 0)
    except ValueError:
        return None, 0.0


def allowed(up_to: float, *, of: int) -> int:
    """Return how many of a task's quanta in a group may be lost: below 1 it is a part, from 1 a number."""
    return int(up_to * of) if up_to < 1 else int(up_to)
