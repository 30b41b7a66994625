"""The campaign model: what a person writes in a campaign file, checked.

`CampaignSpec` is the whole file; steps, groupings and action arguments have modules of their own.
"""

from merian_campaign.domain.spec.campaign import CampaignSpec
from merian_campaign.domain.spec.steps import ActionStep, BpsStep, Step

__all__ = ["ActionStep", "BpsStep", "CampaignSpec", "Step"]
