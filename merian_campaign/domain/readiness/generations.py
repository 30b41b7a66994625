"""Generations of a group: what each was made from, and what is different between two of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.snapshot import Snapshot, SubmissionView
from merian_campaign.domain.safe_text.json_values import WrongValueError


@dataclass(frozen=True, kw_only=True)
class MadeFrom:
    """What is on record of one submission's inputs.

    Parameters
    ----------
    number : `int`
        Of the submission.
    generation : `int`
        To which it adds.
    basis : `Basis` or `None`
        What it selected and read; `None` when nobody wrote it down.
    combines : `bool` or `None`
        Whether any quantum of its graph has neither a visit nor an exposure; `None` when it had no graph.
    gathers : `bool` or `None`
        Whether any has no detector; `None` as before.
    """

    number: int
    generation: int
    basis: Basis | None = None
    combines: bool | None = None
    gathers: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One generation of a group.

    Parameters
    ----------
    number : `int`
        From 1.
    submissions : `tuple` [`int`, ...]
        Numbers of those that made it.
    basis : `Basis` or `None`
        What it was made from; `None` when nobody wrote it down.
    """

    number: int
    submissions: tuple[int, ...]
    basis: Basis | None = None


@dataclass(frozen=True, kw_only=True)
class BasisChange:
    """What is different from one basis to another.

    Parameters
    ----------
    added, removed : `tuple` [`int`, ...]
        Exposures, sorted.
    upstream : `tuple` [`tuple` [`str`, `int`, `int`], ...]
        Groups that were read in another generation: name, before, after.
    files : `bool`
        Whether an action brought in other files.
    terms : `bool`
        Whether the data query was edited in what exposures do not tell.
    parts, lost : `tuple` [`str`, ...]
        Groups by tract that are read besides, and those that are read no more, by ``STEP/KEY``.
    """

    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    upstream: tuple[tuple[str, int, int], ...] = ()
    files: bool = False
    terms: bool = False
    parts: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is."""
        groups = self.upstream or self.parts or self.lost
        return bool(self.added or self.removed or groups or self.files or self.terms)


@dataclass(frozen=True, kw_only=True)
class ChainChange:
    """Which RUN collections a chain shows first, and which no longer; everything else stays as it is.

    Parameters
    ----------
    chain : `str`
        The chain.
    runs : `tuple` [`str`, ...]
        What comes first in it, in order; those that do not exist are left out.
    drop : `tuple` [`str`, ...]
        What goes out of it.
    """

    chain: str
    runs: tuple[str, ...]
    drop: tuple[str, ...]


def stored_basis(value: Mapping[str, Any] | None) -> Basis | None:
    """Return a basis from what was stored; one that cannot be read is one that nobody wrote down."""
    try:
        return None if value is None else Basis.from_json(value)
    except WrongValueError:
        return None


# In each of these, what was made is in the order of submissions.
def combines_of(made: Sequence[MadeFrom], *, generation: int) -> bool | None:
    """Say whether new data change outputs of a group that exist; `None` before its first graph.

    Of a generation all graphs count: an afterburner has a part of the quanta only. While it has none, those
    of the generation before it do.
    """
    known = _with_graph(made, generation=generation)
    return any(entry.combines for entry in known) if known else None


def gathers_of(made: Sequence[MadeFrom], *, generation: int) -> bool | None:
    """Say whether more raws of an exposure change outputs of a group that exist; see `combines_of`."""
    known = _with_graph(made, generation=generation)
    return any(entry.gathers for entry in known) if known else None


def _with_graph(made: Sequence[MadeFrom], *, generation: int) -> list[MadeFrom]:
    known = [entry for entry in made if entry.combines is not None]
    own = [entry for entry in known if entry.generation == generation]
    last = (own or known)[-1].generation if known else generation
    return [entry for entry in known if entry.generation == last]


def basis_of(made: Sequence[MadeFrom], *, generation: int) -> Basis | None:
    """Return what the outputs of a generation were made from; `None` when nobody wrote it down.

    Of outputs that combine data, what its first graph was for: later submissions skip what exists. Of others,
    and of actions, what the last submission was for: it has added what was missing.
    """
    own = [entry for entry in made if entry.generation == generation]
    if not own:
        return None
    graphs = [entry for entry in own if entry.combines is not None]
    first = bool(graphs) and combines_of(made, generation=generation)
    return graphs[0].basis if first else own[-1].basis


def generations_of(made: Sequence[MadeFrom]) -> tuple[Generation, ...]:
    """Return the generations of a group that have had a submission, the oldest first."""
    return tuple(
        Generation(
            number=number,
            submissions=tuple(entry.number for entry in made if entry.generation == number),
            basis=basis_of(made, generation=number),
        )
        for number in sorted({entry.generation for entry in made})
    )


def change_of(before: Basis, after: Basis) -> BasisChange:
    """Return what is different from one basis to another."""
    names = sorted({*before.upstream, *after.upstream})
    pairs = ((name, before.upstream.get(name, 1), after.upstream.get(name, 1)) for name in names)
    return BasisChange(
        added=tuple(sorted(after.exposures - before.exposures)),
        removed=tuple(sorted(before.exposures - after.exposures)),
        upstream=tuple(pair for pair in pairs if pair[1] != pair[2]),
        files=before.files != after.files,
        terms=before.asks_otherwise(after),
        parts=() if before.parts is None else tuple(sorted((after.parts or frozenset()) - before.parts)),
        lost=() if after.parts is None else tuple(sorted((before.parts or frozenset()) - after.parts)),
    )


def chain_change(submissions: Iterable[SubmissionView], *, chain: str, generation: int) -> ChainChange:
    """Return what puts a generation into a step's chain, in the place of all older ones; 0 is for none."""
    runs: list[str] = []
    drop: list[str] = []
    for entry in submissions:
        if entry.run_collection and (entry.generation <= generation or not generation):
            (runs if entry.generation == generation else drop).append(entry.run_collection)
    return ChainChange(chain=chain, runs=tuple(reversed(runs)), drop=tuple(drop))


def chain_words(generation: int, before: int) -> str:
    """Say what a step's chain shows of a group now, and had shown before; 0 is for none."""
    if not generation:
        return "the file has it no more: readers do not see it any longer"
    if not before:
        return f"readers see generation {generation} again"
    return f"generation {generation} has taken the place of generation {before}"


def night_by_exposure(snapshot: Snapshot) -> Mapping[int, int]:
    """Return the nights of the exposures that a campaign has seen, by exposure."""
    rows = () if snapshot.overlaps is None else snapshot.overlaps.exposures
    return {row.exposure: row.day_obs for row in rows}
