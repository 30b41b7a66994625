"""Having a repository asked for overlaps of visits and tracts, when a campaign depends on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from merian_campaign.domain.campaign import plan
from merian_campaign.domain.failures.fault_attribution import Broken, alone
from merian_campaign.domain.readiness import overlap_refresh
from merian_campaign.domain.record.snapshot import Snapshot
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.services.ports import Registry, Store
from merian_campaign.services.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class RefreshResult:
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


def refresh_overlaps(
    snapshot: Snapshot,
    spec: CampaignSpec,
    *,
    store: Store,
    registry: Registry,
    runtime: Runtime,
    stack: Stack,
    asked: bool = False,
) -> RefreshResult:
    """Look at the registry if that is due, or a person asks for it, and put on record what was seen.

    Killed before that, it is due again; there is nothing else to mend.
    """
    current = plan.in_force(spec, snapshot)
    basis = overlap_refresh.refresh_due(spec, current, now=runtime.clock(), asked=asked)
    if basis is None:
        return RefreshResult(snapshot=snapshot)
    question = overlap_refresh.question(spec, current.groups)
    ask = partial(registry.look, question, repository=spec.butler, environment=spec.environment, stack=stack)
    found = alone(ask)
    if isinstance(found, overlap_refresh.OverlapRefreshFailed | Broken):
        note = f"overlaps of visits and tracts cannot be seen: {found.reason}; nothing was decided on them"
        lasting = isinstance(found, Broken) or found.lasting
        return RefreshResult(snapshot=snapshot, note=note, waits=not lasting)
    now = runtime.clock()
    overlaps = overlap_refresh.overlaps_of(spec, found, basis=basis, now=now)
    record = partial(store.record_overlaps, campaign_id=snapshot.campaign.id, overlaps=overlaps)
    done = alone(partial(record, actor=runtime.actor, now=now))
    if isinstance(done, Broken):
        note = f"overlaps of visits and tracts cannot be put on record: {done.reason}"
        return RefreshResult(snapshot=snapshot, note=note)
    news = snapshot.overlaps is None or snapshot.overlaps.exposures != overlaps.exposures
    return RefreshResult(
        snapshot=store.snapshot(snapshot.campaign.name),
        action=f"overlaps seen: {overlaps.in_words()}" if news else "",
    )
