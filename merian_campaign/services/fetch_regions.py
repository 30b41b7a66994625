"""Having a repository asked, once, where the tracts and visits of a campaign lie."""

from __future__ import annotations

from dataclasses import replace

from merian_campaign.domain.failures.fault_attribution import Broken, alone
from merian_campaign.domain.readiness.overlap_refresh import OverlapRefreshFailed
from merian_campaign.domain.record.applied_spec import applied_spec
from merian_campaign.domain.report.rows import ReportRows
from merian_campaign.domain.sky_regions import RegionQuery, SkyRegion, wanted_regions
from merian_campaign.services.campaign_settings import settings_of
from merian_campaign.services.find import find_campaign
from merian_campaign.services.ports import Registry, Store


def regions_wanted(rows: ReportRows) -> RegionQuery:
    """Return what a report would draw and does not know yet."""
    return wanted_regions(
        tracts={tract for group in rows.groups for tract in group.tracts},
        visits=set(rows.visits),
        known=rows.regions,
    )


def fetch_regions(
    question: RegionQuery,
    *,
    campaign: str,
    store: Store,
    registry: Registry,
) -> tuple[SkyRegion, ...] | str:
    """Ask for regions and keep them; return them, or in words why there are none."""
    spec = applied_spec(find_campaign(store, campaign))
    asked = replace(question, instrument=spec.instrument, skymap=spec.skymap or "")
    if spec.skymap is None:
        asked = replace(asked, tracts=())
    found = registry.regions(
        asked, repository=spec.butler, environment=spec.environment, stack=settings_of(spec).stack
    )
    if isinstance(found, OverlapRefreshFailed):
        return found.reason
    kept = alone(lambda: store.record_regions(campaign=campaign, regions=found))
    return kept.reason if isinstance(kept, Broken) else found
