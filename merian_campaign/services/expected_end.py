"""When a campaign is expected to end, for those who are told of it: the same that reports show."""

from __future__ import annotations

from datetime import datetime

from merian_campaign.domain.report.numbers import report_of
from merian_campaign.domain.report.outlook import span_words
from merian_campaign.services.ports import Store

__all__ = ["expected_end"]


def expected_end(store: Store, name: str, *, now: datetime) -> str:
    """Return when a campaign is expected to end, in words; empty if nobody can say."""
    head = report_of(store.report(name, at=now)).headline
    words = span_words(now, head.eta_low, head.eta_high)
    return f"{words} ({head.eta_words})" if words and head.eta_words else words
