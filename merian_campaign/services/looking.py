"""Having a repository asked for overlaps of visits and tracts, when a campaign depends on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from merian_campaign.domain import looking, plan
from merian_campaign.domain.snapshot import Snapshot
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.domain.trouble import Broken, alone
from merian_campaign.services.ports import Registry, Store
from merian_campaign.services.settings import Surroundings


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What came of it.

    Parameters
    ----------
    snapshot : `Snapshot`
        The campaign, with what was seen.
    action : `str`
        What was put on record, in words; empty for nothing new.
    note : `str`
        Why nothing could be seen, in words.
    waits : `bool`
        Whether the next tick may see it.
    """

    snapshot: Snapshot
    action: str = ""
    note: str = ""
    waits: bool = False


def look(
    snapshot: Snapshot,
    spec: CampaignSpec,
    *,
    store: Store,
    registry: Registry,
    around: Surroundings,
    stack: Stack,
    asked: bool = False,
) -> Seen:
    """Look at the registry if that is due, or a person asks for it, and put on record what was seen.

    Killed before that, it is due again; there is nothing else to mend.
    """
    current = plan.in_force(spec, snapshot)
    basis = looking.look_due(spec, current, now=around.clock(), asked=asked)
    if basis is None:
        return Seen(snapshot=snapshot)
    question = looking.question(spec, current.groups)
    ask = partial(registry.look, question, repository=spec.butler, environment=spec.environment, stack=stack)
    found = alone(ask)
    if isinstance(found, looking.LookFailed | Broken):
        note = f"overlaps of visits and tracts cannot be seen: {found.reason}; nothing was decided on them"
        lasting = isinstance(found, Broken) or found.lasting
        return Seen(snapshot=snapshot, note=note, waits=not lasting)
    now = around.clock()
    overlaps = looking.overlaps_of(spec, found, basis=basis, now=now)
    record = partial(store.record_overlaps, campaign_id=snapshot.campaign.id, overlaps=overlaps)
    done = alone(partial(record, actor=around.actor, now=now))
    if isinstance(done, Broken):
        note = f"overlaps of visits and tracts cannot be put on record: {done.reason}"
        return Seen(snapshot=snapshot, note=note)
    news = snapshot.overlaps is None or snapshot.overlaps.exposures != overlaps.exposures
    return Seen(
        snapshot=store.snapshot(snapshot.campaign.name),
        action=f"overlaps seen: {overlaps.in_words()}" if news else "",
    )
