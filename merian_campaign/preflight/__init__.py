"""The preflight of a whole campaign: what would make its submissions fail, before any is made.

Its checks are in `merian_campaign.domain.preflight` and its questions to the butler in
`merian_campaign.middleware.preflight`, because each driver asks those of its own group as well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from merian_campaign.context import CommandContext

if TYPE_CHECKING:
    from merian_campaign.domain.preflight import Finding
    from merian_campaign.domain.spec import CampaignSpec


def preflight_of(
    context: CommandContext, spec: CampaignSpec, *, progress: Callable[[str], None]
) -> tuple[Finding, ...]:
    """Look for what would make a campaign's submissions fail; nothing is made or changed."""
    from merian_campaign.middleware.preflight.butler_queries import ButlerQueries  # noqa: PLC0415 - slow
    from merian_campaign.preflight.host_facts import host_facts  # noqa: PLC0415
    from merian_campaign.preflight.preflight_service import Preflight  # noqa: PLC0415
    from merian_campaign.services.campaign_settings import settings_of  # noqa: PLC0415

    look = Preflight(
        open_store=context.store_if_any,
        inquire=partial(ButlerQueries.of, environment=spec.environment),
        look_at_host=partial(host_facts, environ=context.environ),
        scheduler=context.scheduler,
        root=context.runtime.root,
        progress=progress,
    )
    return look.run(spec, settings_of(spec))
