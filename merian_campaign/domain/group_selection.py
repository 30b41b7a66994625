"""Which groups of a campaign a person means: by name, by step, by pattern, by why they failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fnmatch import fnmatchcase

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.snapshot import GroupView, Snapshot
from merian_campaign.domain.states import GroupState, Verdict
from merian_campaign.domain.text import one_line

__all__ = ["Choice", "choose"]

_SHOWN = 8
_PATTERN = frozenset("*?[")


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
        return f"{number} group{'' if number == 1 else 's'}: {', '.join(self.names[:_SHOWN])}{more}"


def choose(
    snapshot: Snapshot,
    words: Sequence[str],
    *,
    states: AbstractSet[GroupState],
    verdict: Verdict | None = None,
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
    verdict : `Verdict`, optional
        Only groups with a quantum that failed for this reason.

    Raises
    ------
    BadInputError
        Raised if a word means nothing, with what there is.
    """
    meant: dict[int, GroupView] = {}
    named: set[int] = set()
    for word in words:
        found = _matching(snapshot, word)
        if len(found) == 1 and not _PATTERN & set(word):
            named.add(found[0].id)
        kept = [group for group in found if group.id in named or group.state in states]
        if not kept:
            raise BadInputError(_none_of(found, word, states))
        meant.update((group.id, group) for group in kept)
    chosen = tuple(
        group for group in snapshot.groups if group.id in meant and (verdict is None or _has(group, verdict))
    )
    if not chosen:
        raise BadInputError(
            f"none of the {len(meant)} groups has a quantum that failed for {verdict}; "
            f"found: {_verdicts(meant.values())}"
        )
    return Choice(groups=chosen, exact=len(chosen) == 1 and chosen[0].id in named)


def _matching(snapshot: Snapshot, word: str) -> tuple[GroupView, ...]:
    """Return the groups that one word names, whatever their state."""
    if _PATTERN & set(word):
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


def _none_of(found: Sequence[GroupView], word: str, states: AbstractSet[GroupState]) -> str:
    wanted = " or ".join(sorted(state.replace("_", " ") for state in states))
    count = Counter(group.state for group in found)
    there = ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in count.most_common())
    return f"{one_line(word)!r} means {len(found)} groups, of which none is {wanted} ({there})"


def _has(group: GroupView, verdict: Verdict) -> bool:
    return any(entry.verdict is verdict for entry in group.open_quanta)


def _verdicts(groups: Iterable[GroupView]) -> str:
    found = {entry.verdict for group in groups for entry in group.open_quanta if entry.verdict is not None}
    return ", ".join(sorted(found)) or "no quantum that failed"
