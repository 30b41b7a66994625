"""What the services need of the world around a campaign, gathered once at the edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from merian_campaign.domain.failures.failure_rules import FailureRule
from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.spec.stack import Stack


@dataclass(frozen=True, kw_only=True)
class CampaignSettings:
    """What a campaign's files say besides its own: read anew for every tick.

    Parameters
    ----------
    site : `SiteProfile`
        Where it runs.
    rules : `tuple` [`FailureRule`, ...]
        Its failure rules.
    requests : `~collections.abc.Mapping`
        Memory requests by step name.
    stack : `Stack`
        The LSST environment of its drivers and workers: the campaign's word, then the site's.
    """

    site: SiteProfile
    rules: tuple[FailureRule, ...]
    requests: Mapping[str, RequestTable]
    stack: Stack = field(default_factory=Stack)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where things lie, who asks, and what time it is.

    Parameters
    ----------
    root : `str`
        Folder of all submissions, absolute.
    quantum_wrapper : `str`
        Absolute path of the journal's shell wrapper.
    actor : `str`
        Who gives the orders, for the events: ``user@host``.
    host : `str`
        This host.
    pid : `int`
        This process.
    clock : callable
        Returns the time, UTC.
    """

    root: str
    quantum_wrapper: str
    actor: str
    host: str
    pid: int
    clock: Callable[[], datetime]
