"""Removals of RUN collections, on record: committed before they begin, and again when they are done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import text

from merian_campaign.domain.record.records import Event
from merian_campaign.store import events
from merian_campaign.store.campaigns import require_campaign
from merian_campaign.store.server.database import Database

_KIND = "clean"

_LAST = text("""
    SELECT DISTINCT ON (submission_id) submission_id, to_state
    FROM event
    WHERE campaign_id = :campaign_id AND kind = :kind AND submission_id IS NOT NULL
    ORDER BY submission_id, id DESC
""")


class RemovalStore(Database):
    """The part of the store that remembers what was removed."""

    def record_cleaning(
        self, *, submission_id: int, state: str, reason: str, actor: str, now: datetime
    ) -> None:
        """Record that a submission's RUN is about to be removed, or is gone."""
        event = Event(kind=_KIND, actor=actor, reason=reason, submission_id=submission_id, to_state=state)
        with self._transaction() as connection:
            events.record(connection, event, at=now)

    def cleaning(self, name: str) -> Mapping[int, str]:
        """Return the last recorded state of every removal of a campaign, by submission id."""
        with self._reading() as connection:
            campaign = require_campaign(connection, name)
            rows = connection.execute(_LAST, {"campaign_id": campaign.id, "kind": _KIND})
            return {row.submission_id: row.to_state for row in rows}
