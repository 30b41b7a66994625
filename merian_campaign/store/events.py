"""Append to the record of what happened."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from merian_campaign.domain.record.records import Event
from merian_campaign.store.server.database import raw
from merian_campaign.store.server.storable import dumps

# The names are copied: the record must read the same when a later revision has dropped the group.
_RECORD = """
    INSERT INTO event (at, campaign_id, group_id, step, group_key, submission_id, submission_number,
                       kind, actor, reason, from_state, to_state, before)
    SELECT %(at)s, coalesce(%(campaign_id)s, g.campaign_id), g.id, g.step, g.key, s.id, s.number,
           %(kind)s, %(actor)s, %(reason)s, %(from_state)s, %(to_state)s, CAST(%(before)s AS jsonb)
    FROM (SELECT 1) AS one
    LEFT JOIN submission AS s ON s.id = %(submission_id)s
    LEFT JOIN "group" AS g ON g.id = coalesce(CAST(%(group_id)s AS bigint), s.group_id)
"""


def record(connection: Connection, event: Event, *, at: datetime, campaign_id: int | None = None) -> None:
    """Append one event.

    Parameters
    ----------
    connection : `~sqlalchemy.Connection`
        In the transaction that makes the change.
    event : `Event`
        What happened.
    at : `datetime.datetime`
        When, UTC.
    campaign_id : `int`, optional
        Needed only when the event names neither a group nor a submission.
    """
    values = {
        "at": at,
        "campaign_id": campaign_id,
        "group_id": event.group_id,
        "submission_id": event.submission_id,
        "kind": event.kind,
        "actor": event.actor,
        "reason": event.reason,
        "from_state": event.from_state,
        "to_state": event.to_state,
        "before": None if event.before is None else dumps(dict(event.before)),
    }
    with raw(connection).cursor() as cursor:
        cursor.execute(_RECORD, values)
