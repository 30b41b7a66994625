"""What two generations of a group were made from, or one of them and what there is now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.readiness.overlap_refresh import cut_of
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.snapshot import GroupView, Snapshot
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.services.find import find_campaign, find_group
from merian_campaign.services.ports import Store

type BasisNow = Callable[[Snapshot, GroupView], Basis | None]
"""Says what a submission of a group would be made from now; `None` when that is not known."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What two generations were made from.

    Parameters
    ----------
    snapshot : `Snapshot`
        The campaign.
    number : `int`
        Of the earlier generation.
    before, after : `Basis`
        Theirs; ``after`` may be what there is now.
    """

    snapshot: Snapshot
    number: int
    before: Basis
    after: Basis


def inputs_of(
    store: Store, name: str, *, group: str, before: int | None, after: int | None, basis_now: BasisNow
) -> Inputs:
    """Return what two generations of a group were made from.

    Parameters
    ----------
    store : `Store`
        The tracking database.
    name, group : `str`
        Campaign, and group by ``STEP/KEY``.
    before, after : `int` or `None`
        Generations; without them the current one, and what there is now.
    basis_now : callable
        Says what that is.

    Raises
    ------
    BadInputError
        Raised if there is no such generation, or nobody wrote down what it was made from.
    """
    find_campaign(store, name)
    snapshot = store.snapshot(name)
    found = find_group(snapshot, group)
    number = found.generation if before is None else before
    shown = f"{found.step}/{found.key}"
    made = {entry.number: entry.basis for entry in store.generations(group_id=found.id)}

    def known(generation: int) -> Basis:
        if generation not in made:
            there = ", ".join(map(str, made)) or "none yet"
            raise BadInputError(f"{shown} has no generation {generation} that was submitted; it has {there}")
        basis = made[generation]
        if basis is None:
            raise BadInputError(
                f"{shown}: nobody wrote down what generation {generation} was made from; an earlier release "
                "made it, or its exposures were not known"
            )
        return basis

    now = basis_now(snapshot, found) if after is None else known(after)
    if now is None:
        raise BadInputError(
            f"{shown}: what it would be made from now is not known; `merian-campaign tick {name}` looks, "
            "or name two generations"
        )
    return Inputs(snapshot=snapshot, number=number, before=known(number), after=now)


def visits_used(store: Store, snapshot: Snapshot, spec: CampaignSpec) -> Mapping[int, tuple[int, ...]]:
    """Return by tract the visits that its products in force were made from, of its last step.

    Tracts of which that is not on record are left out.
    """
    last = next((step.name for step in reversed(spec.steps) if cut_of(spec, step.name) == "tract"), "")
    rows = {row.exposure: row for row in snapshot.overlaps.exposures} if snapshot.overlaps else {}
    found: dict[int, tuple[int, ...]] = {}
    for group in snapshot.groups:
        if group.step != last or group.tract is None:
            continue
        made = {entry.number: entry.basis for entry in store.generations(group_id=group.id)}
        basis = made.get(group.published)
        if basis is not None:
            used = (rows[exposure] for exposure in basis.exposures if exposure in rows)
            found[group.tract] = tuple(sorted({visit for row in used for visit in row.visits}))
    return found
