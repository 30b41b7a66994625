"""The memory requests that the steps of a campaign get by what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from merian_campaign.domain.resources.memory_model import MemoryBin, MemoryForecast, forecasts
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.services.runtime import CampaignSettings


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
