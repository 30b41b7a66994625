"""The memory requests that the steps of a campaign get by what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from merian_campaign.domain.record.applied_spec import applied_spec
from merian_campaign.domain.resources.memory_model import MemoryBin, MemoryForecast, forecasts
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.services.campaign_settings import settings_of
from merian_campaign.services.find import find_campaign
from merian_campaign.services.ports import Store
from merian_campaign.services.runtime import CampaignSettings


def campaign_forecasts(store: Store, name: str) -> Mapping[str, tuple[MemoryForecast, ...]]:
    """Return what the measured tasks of a campaign get next, by step; steps without any are left out."""
    campaign = find_campaign(store, name)
    spec = applied_spec(campaign)
    found = step_forecasts(spec, settings_of(spec), store.memory_use(campaign_id=campaign.id))
    return {step: tasks for step, tasks in found.items() if tasks}


def step_forecasts(
    spec: CampaignSpec,
    settings: CampaignSettings,
    measured: Mapping[str, Mapping[str, Sequence[MemoryBin]]],
    *,
    steps: Iterable[str] | None = None,
) -> Mapping[str, tuple[MemoryForecast, ...]]:
    """Return what the measured tasks of each step, or of some, get next."""
    wanted = None if steps is None else set(steps)
    return {
        step.name: forecasts(
            step,
            measured.get(step.name, {}),
            policy=spec.afterburner_of(step),
            requests=settings.requests[step.name],
            # The stock service measures late and enforces nothing.
            only_raise=spec.wms == "stock",
        )
        for step in spec.steps
        if isinstance(step, BpsStep) and (wanted is None or step.name in wanted)
    }
