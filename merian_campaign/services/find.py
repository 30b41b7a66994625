"""A campaign and a group by the names that people give."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase

from merian_campaign.domain.campaign.group_selection import PATTERN
from merian_campaign.domain.errors import BadInputError, NoCampaignError
from merian_campaign.domain.record.applied_spec import applied_spec
from merian_campaign.domain.record.snapshot import CampaignView, GroupView, Snapshot
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.states import CampaignState
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
        raise NoCampaignError(name, there=(entry.name for entry in store.campaigns()))
    return campaign


def find_campaigns(
    store: Store, words: Sequence[str], *, states: AbstractSet[CampaignState]
) -> tuple[tuple[str, ...], bool]:
    """Return the campaigns that words mean, names or patterns of them, and whether it is one that was named.

    A pattern means those in some ``states``.

    Raises
    ------
    BadInputError
        Raised if a word means none.
    """
    known = store.campaigns()
    found: list[str] = []
    named = [word for word in words if not set(word) & PATTERN]
    for word in words:
        if word in named:
            found.append(find_campaign(store, word).name)
            continue
        there = [campaign for campaign in known if fnmatchcase(campaign.name, word)]
        meant = [campaign.name for campaign in there if campaign.state in states]
        if not there:
            names = ", ".join(campaign.name for campaign in known) or "none yet"
            raise BadInputError(f"no campaign is meant by {one_line(word)!r}; campaigns: {names}")
        if not meant:
            wanted = " or ".join(sorted(states))
            number = f"{len(there)} campaign{'' if len(there) == 1 else 's'}"
            raise BadInputError(f"{one_line(word)!r} means {number}, of which none is {wanted} (`list`)")
        found += meant
    unique = tuple(dict.fromkeys(found))
    return unique, len(unique) == 1 and unique[0] in named


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
