"""A campaign and a group by the names that people give."""

from __future__ import annotations

from merian_campaign.domain.applied_spec import applied_spec
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.snapshot import CampaignView, GroupView, Snapshot
from merian_campaign.services.ports import Store


def find_campaign(store: Store, name: str) -> CampaignView:
    """Return a campaign by name.

    Raises
    ------
    BadInputError
        Raised if there is none of that name.
    """
    campaign = store.campaign(name)
    if campaign is None:
        known = ", ".join(entry.name for entry in store.campaigns()) or "none yet"
        raise BadInputError(f"there is no campaign {name!r}; campaigns: {known} (`apply FILE` makes one)")
    return campaign


def find_group(snapshot: Snapshot, group: str) -> GroupView:
    """Return a group by ``STEP/KEY``, or by step when the step has only one.

    Raises
    ------
    BadInputError
        Raised if there is none, or several.
    """
    step, slash, key = group.partition("/")
    found = [entry for entry in snapshot.groups if entry.step == step and (not slash or entry.key == key)]
    if len(found) == 1:
        return found[0]
    if found:
        keys = ", ".join(entry.key for entry in found[:8])
        raise BadInputError(f"step {step!r} has several groups ({keys} ...); write {step}/KEY")
    here = [entry.key for entry in snapshot.groups if entry.step == step]
    if here:
        raise BadInputError(f"step {step!r} has no group {key!r}; it has {', '.join(here[:8])}")
    spec = applied_spec(snapshot.campaign)
    if any(entry.name == step and spec.discovers(entry) for entry in spec.steps):
        raise BadInputError(
            f"step {step!r} has no groups yet: its tracts are discovered once visits are defined"
        )
    steps = dict.fromkeys(entry.step for entry in snapshot.groups)
    raise BadInputError(f"there is no step {step!r}; steps are {', '.join(steps)}")
