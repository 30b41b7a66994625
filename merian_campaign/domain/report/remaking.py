"""What is done for older data, and what is being made anew: how much, how far it is, and why, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from merian_campaign.domain.record.board_row import STALE
from merian_campaign.domain.states import GroupState

_UNDER_WAY = frozenset({GroupState.RUNNING, GroupState.READY})
_ASKING = frozenset({GroupState.NEEDS_REVIEW, GroupState.BLOCKED, GroupState.CANCELLED})


@dataclass(frozen=True, kw_only=True)
class Remade:
    """A group of which readers see an older generation than the one that is being made.

    Parameters
    ----------
    name : `str`
        ``STEP/GROUP``.
    state : `str`
        Of the group.
    reason : `str`
        Why its generation was begun.
    expected, succeeded : `int`
        Quanta of that generation, as far as they are known.
    """

    name: str
    state: str
    reason: str
    expected: int
    succeeded: int


@dataclass(frozen=True, kw_only=True)
class Remaking:
    """All of them together, counted by what becomes of them; ``first`` is the one that comes first."""

    groups: int
    under_way: int
    waiting: int
    stuck: int
    complete: int
    expected: int
    succeeded: int
    first: str
    reason: str

    def in_words(self) -> str:
        """Return it in one line."""
        parts = (
            (self.complete, "complete"),
            (self.under_way, "under way"),
            (self.waiting, "waiting"),
            (self.stuck, "in need of a person"),
        )
        states = ", ".join(f"{number} {words}" for number, words in parts if number)
        number = "1 group is" if self.groups == 1 else f"{self.groups} groups are"
        quanta = f"; {self.succeeded} of {self.expected} quanta so far" if self.expected else ""
        why = f": {self.reason}" if self.reason else ""
        return f"{number} being made anew ({states}{quanta}), e.g. {self.first}{why}"


def remaking(groups: Iterable[Remade]) -> Remaking | None:
    """Return what is being made anew; `None` for nothing.

    Parameters
    ----------
    groups : iterable of `Remade`
        In the order of the steps.
    """
    found = list(groups)
    if not found:
        return None
    states = Counter(GroupState(group.state) for group in found)
    under_way = sum(states[state] for state in _UNDER_WAY)
    stuck = sum(states[state] for state in _ASKING)
    complete = states[GroupState.DONE]
    return Remaking(
        groups=len(found),
        under_way=under_way,
        waiting=len(found) - under_way - stuck - complete,
        stuck=stuck,
        complete=complete,
        expected=sum(group.expected for group in found),
        succeeded=sum(group.succeeded for group in found),
        first=found[0].name,
        reason=found[0].reason,
    )


def stale_words(groups: Sequence[tuple[str, str]]) -> str:
    """Return in a line what is done for older data: names with their reasons; empty for nothing."""
    if not groups:
        return ""
    (first, reason), *_ = groups
    number = "1 group is" if len(groups) == 1 else f"{len(groups)} groups are"
    return f"{number} done for older data, e.g. {first}: {reason.removeprefix(STALE)}"
