"""Generations of a group and what is different between two of them, in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType

from merian_campaign.domain.readiness.generations import BasisChange, Generation
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.reports.cells import line

_SHOWN = 8


def generation_json(generation: Generation, nights: Mapping[int, int]) -> dict[str, Any]:
    """Return a generation for machines; its basis is `None` when nobody wrote it down."""
    basis = generation.basis
    return {
        "generation": generation.number,
        "submissions": list(generation.submissions),
        "basis": None if basis is None else {**basis.to_json(), "nights": _nights(basis.exposures, nights)},
    }


def generation_words(generation: Generation, group: GroupView, nights: Mapping[int, int]) -> str:
    """Return a generation for people, in a line."""
    seen = "readers see it" if generation.number == group.published else ""
    current = "in the making" if group.published < generation.number == group.generation else ""
    state = seen or current or "superseded"
    return f"generation {generation.number} ({state}): {basis_words(generation.basis, nights)}"


def basis_words(basis: Basis | None, nights: Mapping[int, int]) -> str:
    """Return in words what something was made from."""
    if basis is None:
        return "nobody wrote down what it was made from"
    upstream = [f"generation {number} of {name}" for name, number in sorted(basis.upstream.items())]
    upstream += [f"{len(basis.parts)} groups by tract"] if basis.parts else []
    read = f"; reads {_few(upstream)}" if upstream else ""
    return f"{_exposures(basis.exposures, nights)}{read}"


def change_json(change: BasisChange, nights: Mapping[int, int], *, before: str, after: str) -> dict[str, Any]:
    """Return what is different for machines; ``before`` and ``after`` are a number, or ``now``."""
    return {
        "from": before,
        "to": after,
        "added": list(change.added),
        "added_nights": _nights(change.added, nights),
        "removed": list(change.removed),
        "removed_nights": _nights(change.removed, nights),
        "upstream": [{"group": name, "from": old, "to": new} for name, old, new in change.upstream],
        "parts": list(change.parts),
        "parts_lost": list(change.lost),
        "files": change.files,
        "data_query": change.terms,
    }


def change_view(change: BasisChange, nights: Mapping[int, int], *, before: str, after: str) -> RenderableType:
    """Return what is different for people."""
    if not change:
        return line(f"no difference between {before} and {after}")
    told = [f"from {before} to {after}:"]
    for sign, ids in (("+", change.added), ("-", change.removed)):
        if ids:
            told += [f"{sign} {_exposures(ids, nights)}", f"  {_few([str(one) for one in ids])}"]
    told += [f"  {name}: generation {old} -> {new}" for name, old, new in change.upstream]
    told += [f"  {name}: not read before" for name in change.parts]
    told += [f"  {name}: read no more" for name in change.lost]
    told += ["  other files"] if change.files else []
    told += ["  another data query"] if change.terms else []
    return Group(*(line(text) for text in told))


def _exposures(exposures: Iterable[int], nights: Mapping[int, int]) -> str:
    ids = set(exposures)
    over = _nights(ids, nights)
    of = (
        f" of {len(over)} night{'' if len(over) == 1 else 's'} ({_few([str(one) for one in over])})"
        if over
        else ""
    )
    return f"{len(ids)} exposure{'' if len(ids) == 1 else 's'}{of}"


def _nights(exposures: Iterable[int], nights: Mapping[int, int]) -> list[int]:
    return sorted({nights[exposure] for exposure in exposures if exposure in nights})


def _few(words: list[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return f"{', '.join(words[:_SHOWN])}{more}"
