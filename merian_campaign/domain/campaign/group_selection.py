"""Which groups of a campaign a person means: by name or pattern, by step, tract, night, task, verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.execution.quanta import OpenQuanta
from merian_campaign.domain.record.snapshot import GroupView, Snapshot
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.states import GroupState, Verdict

__all__ = ["ANY", "PATTERN", "Choice", "Filter", "choose"]

_SHOWN = 8
PATTERN: Final = frozenset("*?[")
"""A word with one of these is a pattern."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The groups that a person means.

    Parameters
    ----------
    groups : `tuple` [`GroupView`, ...]
        In the order of the steps; at least one.
    exact : `bool`
        Whether it is one, and was named: then nobody has to be asked.
    """

    groups: tuple[GroupView, ...]
    exact: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The groups as ``STEP/KEY``."""
        return tuple(f"{group.step}/{group.key}" for group in self.groups)

    def in_words(self) -> str:
        """Return how many they are, and which: of many, the first."""
        number = len(self.groups)
        more = f" and {number - _SHOWN} more" if number > _SHOWN else ""
        return f"{_groups(number)}: {', '.join(self.names[:_SHOWN])}{more}"


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What else groups have to be, beside what words say.

    Parameters
    ----------
    step : `str` or `None`
        Their step.
    tract, night : `int` or `None`
        Among what they select.
    tasks : `tuple` [`str`, ...]
        One of which has a quantum that has not succeeded.
    verdict : `Verdict` or `None`
        For which such a quantum failed.
    """

    step: str | None = None
    tract: int | None = None
    night: int | None = None
    tasks: tuple[str, ...] = ()
    verdict: Verdict | None = None

    @property
    def empty(self) -> bool:
        """Whether every group matches."""
        return self == Filter()

    def matches(self, group: GroupView) -> bool:
        """Say whether a group is meant."""
        return (
            self.step in {None, group.step}
            and _selects(group, "tract", self.tract)
            and _selects(group, "day_obs", self.night)
            and (not (self.tasks or self.verdict) or any(map(self._open, group.open_quanta)))
        )

    def _open(self, entry: OpenQuanta) -> bool:
        return (not self.tasks or entry.task in self.tasks) and self.verdict in {None, entry.verdict}

    def in_words(self) -> str:
        """Return what is asked for."""
        parts = [
            f"step {self.step}" if self.step is not None else "",
            f"tract {self.tract}" if self.tract is not None else "",
            f"night {self.night}" if self.night is not None else "",
            f"an open quantum of {' or '.join(self.tasks)}" if self.tasks else "",
            f"a quantum that failed for {self.verdict}" if self.verdict is not None else "",
        ]
        return one_line(", ".join(filter(None, parts)))


ANY: Final = Filter()
"""Every group is so."""


def _selects(group: GroupView, dimension: str, value: int | None) -> bool:
    return value is None or (group.selection.dimension == dimension and value in group.selection.values)


def choose(
    snapshot: Snapshot,
    words: Sequence[str],
    *,
    states: AbstractSet[GroupState],
    only: Filter = ANY,
    held: bool | None = None,
) -> Choice:
    """Return the groups that some words mean.

    Parameters
    ----------
    snapshot : `Snapshot`
        The campaign.
    words : sequence of `str`
        Each is ``STEP/KEY``, a step, or a pattern of either with ``*``, ``?`` and ``[...]``.
    states : set of `GroupState`
        In which a group has to be to be meant by a step or a pattern; one that is named is meant in any.
    only : `Filter`, optional
        What else all of them have to be; without words, all groups that are so are meant.
    held : `bool`, optional
        So must be those that a step or a pattern means.

    Raises
    ------
    BadInputError
        Raised if a word means nothing, with what there is.
    """
    meant: dict[int, GroupView] = {}
    named: set[int] = set()
    if not words and only.empty:
        raise BadInputError(
            "say which groups: STEP/KEY, STEP, patterns, or --step, --tract, --night, --task, --verdict"
        )
    for word in words or ("*",):
        found = _matching(snapshot, word)
        if len(found) == 1 and not PATTERN & set(word):
            named.add(found[0].id)
        kept = [
            group
            for group in found
            if group.id in named or (group.state in states and held in {None, bool(group.hold)})
        ]
        if not kept and not words:
            found = tuple(filter(only.matches, found))
            if not found:
                raise BadInputError(f"none of {_groups(len(snapshot.groups))} is of {only.in_words()}")
        if not kept:
            shown = repr(one_line(word)) if words else only.in_words()
            raise BadInputError(_none_of(found, shown, states, held=held))
        meant.update((group.id, group) for group in kept)
    chosen = tuple(group for group in snapshot.groups if group.id in meant and only.matches(group))
    if not chosen:
        there = f"; they failed for: {_verdicts(meant.values())}" if only.verdict is not None else ""
        raise BadInputError(f"none of {_groups(len(meant))} is of {only.in_words()}{there}")
    return Choice(groups=chosen, exact=len(chosen) == 1 and chosen[0].id in named)


def _matching(snapshot: Snapshot, word: str) -> tuple[GroupView, ...]:
    """Return the groups that one word names, whatever their state."""
    if PATTERN & set(word):
        found = [
            group
            for group in snapshot.groups
            if fnmatchcase(f"{group.step}/{group.key}" if "/" in word else group.step, word)
        ]
    else:
        step, slash, key = word.partition("/")
        found = [group for group in snapshot.groups if group.step == step and (not slash or group.key == key)]
    if found:
        return tuple(found)
    here = [group.key for group in snapshot.groups if group.step == word.partition("/")[0]]
    if here:
        more = f" and {len(here) - _SHOWN} more" if len(here) > _SHOWN else ""
        raise BadInputError(
            f"no group is meant by {one_line(word)!r}; that step has {', '.join(here[:_SHOWN])}{more}"
        )
    steps = dict.fromkeys(group.step for group in snapshot.groups)
    raise BadInputError(f"no group is meant by {one_line(word)!r}; steps are {', '.join(steps)}")


def _none_of(
    found: Sequence[GroupView], shown: str, states: AbstractSet[GroupState], *, held: bool | None
) -> str:
    """Say of groups that none is as a verb needs it; ``shown`` is what means them."""
    others = " or ".join(sorted(state.value for state in states - {GroupState.NEEDS_REVIEW}))
    reviews = "needs review" if GroupState.NEEDS_REVIEW in states else ""
    wanted = " or ".join(filter(None, (f"is {others}" if others else "", reviews)))
    if held is not None:
        wanted = "is held" if held else f"is one that could be held: not held yet, and {wanted}"
    count = Counter(group.state for group in found)
    there = ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in count.most_common())
    holding = sum(bool(group.hold) for group in found)
    there += f", {holding} held" if held is not None and holding else ""
    return f"{shown} means {_groups(len(found))}, of which none {wanted} ({there})"


def _groups(number: int) -> str:
    return f"{number} group{'' if number == 1 else 's'}"


def _verdicts(groups: Iterable[GroupView]) -> str:
    found = {entry.verdict for group in groups for entry in group.open_quanta if entry.verdict is not None}
    return ", ".join(sorted(found)) or "no quantum that failed"
