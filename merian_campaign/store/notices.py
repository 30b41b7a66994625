"""The outbox: what people are to be told, and what became of it by channel."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from merian_campaign.domain.resources.core_hours import RunTime
from merian_campaign.domain.tick.notices import Activity, Notice, NoticeKind, PendingNotice
from merian_campaign.store.server.database import Database

_ADD = text("""
    INSERT INTO notice (campaign_id, kind, key, subject, body, created_at)
    SELECT :campaign_id, n.kind, n.key, n.subject, n.body, :now
    FROM jsonb_to_recordset(:notices) AS n (kind text, key text, subject text, body text)
    ON CONFLICT (campaign_id, key) DO NOTHING
    RETURNING key
""").bindparams(bindparam("notices", type_=JSONB))

_OLD = "interval '30 days'"

_PENDING = text(f"""
    SELECT n.id, c.name AS campaign, n.kind, n.key, n.subject, n.body, n.created_at, n.deliveries
    FROM notice AS n JOIN campaign AS c ON c.id = n.campaign_id
    WHERE n.created_at > CAST(:now AS timestamptz) - {_OLD}
      AND EXISTS (
        SELECT 1 FROM unnest(CAST(:channels AS text[])) AS channel
        WHERE n.deliveries -> channel ->> 'at' IS NULL
      )
    ORDER BY n.id LIMIT 500
""")  # noqa: S608 - a constant

_DELIVERED = text("""
    UPDATE notice AS n SET deliveries = n.deliveries || jsonb_build_object(
        CAST(:channel AS text), jsonb_build_object(
            'at', CASE WHEN :error = '' THEN CAST(:now AS text) END,
            'error', CAST(:error AS text),
            'tries', coalesce((n.deliveries -> :channel ->> 'tries')::integer, 0) + 1))
    WHERE n.id = ANY(:ids)
""")

_KNOWN = text("SELECT 1 FROM notice WHERE campaign_id = :campaign_id AND key = :key")

_MOVED = text("""
    SELECT greatest(
        (SELECT max(at) FROM event WHERE campaign_id = :id),
        (SELECT max(q.updated_at) FROM quantum AS q JOIN submission AS s ON s.group_id = q.group_id
         JOIN "group" AS g ON g.id = s.group_id WHERE g.campaign_id = :id AND s.state <> 'finished'))
""")

_ENDED = text("""
    SELECT s.outcome, count(*) FROM submission AS s JOIN "group" AS g ON g.id = s.group_id
    WHERE g.campaign_id = :id AND s.finished_at >= :since AND s.finished_at < :until
    GROUP BY 1 ORDER BY 2 DESC, 1
""")

_MOVES = text("""
    SELECT to_state, count(DISTINCT group_id) FROM event
    WHERE campaign_id = :id AND at >= :since AND at < :until
      AND group_id IS NOT NULL AND submission_id IS NULL
      AND to_state IS NOT NULL AND to_state IS DISTINCT FROM from_state
    GROUP BY 1 ORDER BY 2 DESC, 1
""")

_QUANTA = text("""
    SELECT count(*) FROM quantum AS q JOIN "group" AS g ON g.id = q.group_id
    WHERE g.campaign_id = :id AND q.ended >= :since AND q.ended < :until AND q.started IS NOT NULL
""")

_FAILED = text("""
    SELECT g.step || ' ' || q.task || ': ' || coalesce(a.verdict, 'unknown'), count(*)
    FROM stored_attempt AS a JOIN quantum AS q ON q.id = a.quantum_id JOIN "group" AS g ON g.id = q.group_id
    WHERE g.campaign_id = :id AND a.ended >= :since AND a.ended < :until AND a.state = 'failed'
    GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 8
""")

_RETRIED = text("""
    SELECT g.step || '/' || g.key || ' submission ' || s.number || ': ' || s.reason
    FROM submission AS s JOIN "group" AS g ON g.id = s.group_id
    WHERE g.campaign_id = :id AND s.created_at >= :since AND s.created_at < :until AND s.number > 1
    ORDER BY s.id DESC
""")

# A success that is the last attempt may be told by its quantum. What runs is on record when its
# submission has ended.
_RUN_TIMES = text("""
    WITH ran AS (
        SELECT g.step, q.task, q.started, q.ended
        FROM quantum AS q JOIN "group" AS g ON g.id = q.group_id
        WHERE g.campaign_id = :id AND q.kept_submission_id IS NOT NULL
        UNION ALL
        SELECT g.step, q.task, a.started, a.ended
        FROM stored_attempt AS a
        JOIN quantum AS q ON q.id = a.quantum_id JOIN "group" AS g ON g.id = q.group_id
        WHERE g.campaign_id = :id
    )
    SELECT step, task, sum(extract(epoch FROM ended - started)) / 3600 AS total,
           coalesce(sum(extract(epoch FROM ended - greatest(started, :since)))
                    FILTER (WHERE ended > :since), 0) / 3600 AS tonight
    FROM ran WHERE ended > started GROUP BY step, task ORDER BY step, task
""")


class NoticeStore(Database):
    """The part of the store that holds what people are told."""

    def add_notices(self, *, campaign_id: int, notices: Sequence[Notice], now: datetime) -> tuple[str, ...]:
        """Put notices into the outbox; return the keys of those that are new."""
        if not notices:
            return ()
        documents = [
            {"kind": entry.kind.value, "key": entry.key, "subject": entry.subject, "body": entry.body}
            for entry in notices
        ]
        with self._transaction() as connection:
            found = connection.execute(_ADD, {"campaign_id": campaign_id, "now": now, "notices": documents})
            return tuple(found.scalars().all())

    def pending_notices(self, *, channels: Sequence[str], now: datetime) -> tuple[PendingNotice, ...]:
        """Return the notices of a month that have not got to one of these channels, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(_PENDING, {"channels": list(channels), "now": now}).mappings()
            return tuple(
                PendingNotice(
                    id=row["id"],
                    campaign=row["campaign"],
                    notice=Notice(
                        kind=NoticeKind(row["kind"]),
                        key=row["key"],
                        subject=row["subject"],
                        body=row["body"],
                    ),
                    created_at=row["created_at"],
                    delivered=frozenset(
                        name for name, entry in row["deliveries"].items() if entry["at"] is not None
                    ),
                    tries=max((entry["tries"] for entry in row["deliveries"].values()), default=0),
                )
                for row in rows
            )

    def record_delivery(self, *, ids: Sequence[int], channel: str, error: str, now: datetime) -> None:
        """Record that notices got to a channel, or, with an error in words, that they did not."""
        with self._transaction() as connection:
            values = {"ids": list(ids), "channel": channel, "error": error, "now": now.isoformat()}
            connection.execute(_DELIVERED, values)

    def is_told(self, *, campaign_id: int, key: str) -> bool:
        """Say whether a notice of this key is or was in the outbox."""
        which = {"campaign_id": campaign_id, "key": key}
        with self._reading() as connection:
            return connection.execute(_KNOWN, which).first() is not None

    def activity(
        self, *, campaign_id: int, since: datetime | None, until: datetime | None = None
    ) -> Activity:
        """Return when a campaign last moved, and, if asked, what it did between two moments."""
        with self._reading() as connection:
            moved = connection.execute(_MOVED, {"id": campaign_id}).scalar_one()
            if since is None:
                return Activity(moved_at=moved)
            which = {"id": campaign_id, "since": since, "until": until or datetime.max.replace(tzinfo=UTC)}
            return Activity(
                moved_at=moved,
                ended=tuple((str(name), int(n)) for name, n in connection.execute(_ENDED, which)),
                moves=tuple((str(name), int(n)) for name, n in connection.execute(_MOVES, which)),
                attempts=int(connection.execute(_QUANTA, which).scalar_one()),
                failed=tuple((str(words), int(n)) for words, n in connection.execute(_FAILED, which)),
                retried=tuple(connection.execute(_RETRIED, which).scalars().all()),
            )

    def run_times(self, *, campaign_id: int, since: datetime) -> tuple[RunTime, ...]:
        """Return how long the quanta of each task ran, in all and since some moment."""
        with self._reading() as connection:
            which = {"id": campaign_id, "since": since}
            return tuple(
                RunTime(
                    step=row["step"],
                    task=row["task"],
                    total=float(row["total"]),
                    tonight=float(row["tonight"]),
                )
                for row in connection.execute(_RUN_TIMES, which).mappings()
            )
