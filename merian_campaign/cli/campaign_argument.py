"""A campaign given by its file or by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from merian_campaign.context import CommandContext

if TYPE_CHECKING:
    from merian_campaign.domain.spec import CampaignSpec


def campaign_spec(campaign: str) -> tuple[CampaignSpec, bool]:
    """Return the campaign of a file, or of a name, and whether it was named."""
    from merian_campaign.domain.record.applied_spec import applied_spec  # noqa: PLC0415 - slow

    context = CommandContext()
    if campaign.endswith((".yaml", ".yml")) or Path(campaign).is_file():
        return context.load(campaign).spec, False
    from merian_campaign.services.find import find_campaign  # noqa: PLC0415

    return applied_spec(find_campaign(context.store, campaign)), True
