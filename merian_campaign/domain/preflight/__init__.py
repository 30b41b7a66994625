"""What can be known before any graph is built: what to ask, and findings from the answers. Pure."""

from merian_campaign.domain.preflight.asking import Look, looks
from merian_campaign.domain.preflight.facts import Facts, Finding
from merian_campaign.domain.preflight.judging import Settings, findings

__all__ = ["Facts", "Finding", "Look", "Settings", "findings", "looks"]
