"""What can be known before any graph is built: what to ask, and findings from the answers. Pure."""

from merian_campaign.domain.preflight.checks import CheckSettings, findings
from merian_campaign.domain.preflight.facts import Facts, Finding
from merian_campaign.domain.preflight.queries import StepQuery, looks

__all__ = ["CheckSettings", "Facts", "Finding", "StepQuery", "findings", "looks"]
