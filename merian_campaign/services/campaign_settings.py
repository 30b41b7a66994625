"""What a campaign's files say besides its own: site, failure rules, memory requests, stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from merian_campaign.domain.errors import CampaignError
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.stack import in_force
from merian_campaign.files.bps_files import read_requests
from merian_campaign.files.rule_files import rules_in_force
from merian_campaign.files.site_file import read_site
from merian_campaign.services.runtime import CampaignSettings


def settings_of(spec: CampaignSpec) -> CampaignSettings:
    """Read the site, the failure rules and the memory requests of a campaign."""
    site = read_site(spec.site)
    return CampaignSettings(
        site=site,
        rules=rules_in_force(campaign=spec.failure_rules, site=site.failure_rules),
        requests={
            step.name: replace(read_requests(spec, step), site_mb=site.most_mb)
            for step in spec.steps
            if isinstance(step, BpsStep)
        },
        stack=in_force(campaign=spec.stack, site=site.stack),
    )


def trusted_by(spec: CampaignSpec) -> Sequence[str]:
    """Return the groups that a campaign's site trusts; none when its file cannot be read."""
    try:
        return read_site(spec.site).trusted_groups
    except (CampaignError, OSError):
        return ()


def changes_allowed(spec: CampaignSpec) -> bool:
    """Say whether a campaign's groups may go on under other versions of the stack."""
    return in_force(campaign=spec.stack, site=read_site(spec.site).stack).changes == "allowed"
