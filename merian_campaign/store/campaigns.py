"""Campaigns, their revisions and groups, and the ticks that work on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert

from merian_campaign.domain.errors import NoCampaignError
from merian_campaign.domain.record.records import Event, NewGroup, OpenTick
from merian_campaign.domain.record.snapshot import CampaignView
from merian_campaign.domain.states import CampaignState, GroupState
from merian_campaign.store import events, schema
from merian_campaign.store.rows import campaign_view
from merian_campaign.store.server.database import Database

_CAMPAIGNS = """
    SELECT c.id, c.name, c.state, c.file, c.reason, c.uuid, {resumed} AS resumed_at, r.number AS revision,
        r.sha256, r.spec
    FROM campaign AS c
    JOIN revision AS r ON r.campaign_id = c.id
        AND r.number = (SELECT max(number) FROM revision WHERE campaign_id = c.id)
"""

# It looks through all events of a campaign: only for who wants to know.
_RESUMED = "(SELECT max(e.at) FROM event AS e WHERE e.campaign_id = c.id AND e.kind = 'resume')"
_NOT_ASKED = "NULL::timestamptz"

# One statement for any number of groups. What a group selects may only change while it has never run.
_CREATE_GROUPS = text("""
    INSERT INTO "group" AS old (campaign_id, step, key, ordinal, selection_dimension, selection_values,
                         state, created_at, updated_at)
    SELECT :campaign_id, new.step, new.key, new.ordinal, new.dimension, new.selected, :state, :now, :now
    FROM jsonb_to_recordset(:groups)
        AS new (step text, key text, ordinal integer, dimension text, selected bigint[])
    ON CONFLICT (campaign_id, step, key) DO UPDATE
    SET ordinal = excluded.ordinal,
        selection_dimension = CASE WHEN EXISTS (SELECT 1 FROM submission AS s WHERE s.group_id = old.id)
            THEN old.selection_dimension ELSE excluded.selection_dimension END,
        selection_values = CASE WHEN EXISTS (SELECT 1 FROM submission AS s WHERE s.group_id = old.id)
            THEN old.selection_values ELSE excluded.selection_values END,
        updated_at = excluded.updated_at
    WHERE old.ordinal <> excluded.ordinal OR (
        (old.selection_dimension, old.selection_values)
            IS DISTINCT FROM (excluded.selection_dimension, excluded.selection_values)
        AND NOT EXISTS (SELECT 1 FROM submission AS s WHERE s.group_id = old.id)
    )
    RETURNING (xmax = '0'::xid) AS created
""").bindparams(bindparam("groups", type_=JSONB))

_DROP_GROUPS = text("""
    DELETE FROM "group" AS g
    WHERE g.campaign_id = :campaign_id AND g.id = ANY(:ids)
      AND NOT EXISTS (SELECT 1 FROM submission AS s WHERE s.group_id = g.id)
""")


def find_campaign(connection: Connection, name: str, *, resumed: bool = False) -> CampaignView | None:
    """Return a campaign by name; with ``resumed`` also when a person last let it go on."""
    query = _CAMPAIGNS.format(resumed=_RESUMED if resumed else _NOT_ASKED)
    row = connection.execute(text(f"{query} WHERE c.name = :name"), {"name": name}).mappings().first()
    return None if row is None else campaign_view(row)


def require_campaign(connection: Connection, name: str, *, resumed: bool = False) -> CampaignView:
    """Return a campaign by name; see `find_campaign`.

    Raises
    ------
    BadInputError
        Raised if there is none; the message lists those there are.
    """
    found = find_campaign(connection, name, resumed=resumed)
    if found is None:
        names = connection.execute(text("SELECT name FROM campaign ORDER BY name")).scalars().all()
        raise NoCampaignError(name, there=names)
    return found


class CampaignStore(Database):
    """The part of the store that holds campaigns."""

    def campaign(self, name: str) -> CampaignView | None:
        """Return a campaign by name."""
        with self._reading() as connection:
            return find_campaign(connection, name)

    def campaigns(self) -> tuple[CampaignView, ...]:
        """Return all campaigns, by name."""
        with self._reading() as connection:
            found = connection.execute(
                text(f"{_CAMPAIGNS.format(resumed=_NOT_ASKED)} ORDER BY c.name")
            ).mappings()
            return tuple(campaign_view(row) for row in found)

    def apply(
        self,
        *,
        name: str,
        file: str,
        text: str,
        sha256: str,
        spec: Mapping[str, object],
        groups: Sequence[NewGroup],
        dropped: Sequence[int],
        actor: str,
        now: datetime,
    ) -> CampaignView:
        """Create a campaign, or add a revision to it, and create the groups that do not exist yet.

        ``dropped`` are ids of groups that the new revision no longer contains and that never ran: they are
        deleted. Applying the same sha256 again adds no revision.
        """
        with self._transaction() as connection:
            connection.execute(
                upsert(schema.campaign)
                .values(name=name, state=CampaignState.ACTIVE, file=file, created_at=now, updated_at=now)
                .on_conflict_do_nothing()
            )
            campaign_id = _lock_campaign(connection, name)
            current = find_campaign(connection, name)
            revised = current is None or current.sha256 != sha256
            number = (0 if current is None else current.revision) + int(revised)
            if revised:
                values = {"text": text, "sha256": sha256, "spec": dict(spec), "actor": actor}
                connection.execute(
                    insert(schema.revision).values(
                        campaign_id=campaign_id, number=number, applied_at=now, **values
                    )
                )
            _put_file(connection, campaign_id=campaign_id, file=file, now=now)
            created = _create_groups(connection, campaign_id=campaign_id, groups=groups, now=now)
            deleted = _drop_groups(connection, campaign_id=campaign_id, ids=dropped)
            if revised or created or deleted:
                reason = f"revision {number}: {created} groups created, {deleted} dropped"
                event = Event(kind="applied", actor=actor, reason=reason)
                events.record(connection, event, at=now, campaign_id=campaign_id)
            return require_campaign(connection, name)

    def add_groups(
        self, *, campaign_id: int, groups: Sequence[NewGroup], reason: str, actor: str, now: datetime
    ) -> int:
        """Create groups that do not exist yet, and record it if there were any; return how many."""
        with self._transaction() as connection:
            created = _create_groups(connection, campaign_id=campaign_id, groups=groups, now=now)
            if created:
                steps = ", ".join(dict.fromkeys(group.step for group in groups))
                event = Event(kind="groups", actor=actor, reason=f"{created} of {steps}: {reason}")
                events.record(connection, event, at=now, campaign_id=campaign_id)
            return created

    def set_campaign_state(self, *, name: str, state: CampaignState, event: Event, now: datetime) -> None:
        """Change a campaign's state and record the event."""
        with self._transaction() as connection:
            found = require_campaign(connection, name)
            connection.execute(
                update(schema.campaign)
                .where(schema.campaign.c.id == found.id)
                .values(
                    state=state,
                    reason="" if state is CampaignState.ACTIVE else event.reason,
                    updated_at=now,
                )
            )
            events.record(connection, event, at=now, campaign_id=found.id)

    def adopt(self, *, name: str, uuid: str) -> None:
        """Let a campaign be the one that a lost database knew, by the UUID that its directories bear."""
        with self._transaction() as connection:
            found = require_campaign(connection, name)
            connection.execute(
                update(schema.campaign).where(schema.campaign.c.id == found.id).values(uuid=uuid)
            )

    def tick_started(self, *, campaign_id: int, host: str, pid: int, now: datetime) -> int:
        """Record that a tick began; return its id."""
        with self._transaction() as connection:
            return int(
                connection.execute(
                    insert(schema.tick)
                    .values(campaign_id=campaign_id, host=host, pid=pid, started_at=now)
                    .returning(schema.tick.c.id)
                ).scalar_one()
            )

    def open_tick(self, name: str) -> OpenTick | None:
        """Return the newest tick of a campaign, if it has not ended."""
        query = text(
            "SELECT t.id, t.host, t.pid, t.started_at, t.finished_at FROM tick AS t"
            " JOIN campaign AS c ON c.id = t.campaign_id WHERE c.name = :name ORDER BY t.id DESC LIMIT 1"
        )
        with self._reading() as connection:
            row = connection.execute(query, {"name": name}).mappings().first()
            if row is None or row["finished_at"] is not None:
                return None
            return OpenTick(id=row["id"], host=row["host"], pid=row["pid"], started_at=row["started_at"])

    def tick_finished(self, *, tick_id: int, now: datetime, actions: int, error: str | None) -> None:
        """Record how a tick ended."""
        with self._transaction() as connection:
            connection.execute(
                update(schema.tick)
                .where(schema.tick.c.id == tick_id)
                .values(finished_at=now, actions=actions, error=error)
            )


def _lock_campaign(connection: Connection, name: str) -> int:
    found = connection.execute(text("SELECT id FROM campaign WHERE name = :name FOR UPDATE"), {"name": name})
    return int(found.scalar_one())


def _put_file(connection: Connection, *, campaign_id: int, file: str, now: datetime) -> None:
    # Apart from the revision: a file may move without changing.
    connection.execute(
        update(schema.campaign)
        .where(schema.campaign.c.id == campaign_id, schema.campaign.c.file != file)
        .values(file=file, updated_at=now)
    )


def _create_groups(
    connection: Connection, *, campaign_id: int, groups: Sequence[NewGroup], now: datetime
) -> int:
    documents = [
        {
            "step": group.step,
            "key": group.key,
            "ordinal": group.ordinal,
            "dimension": group.selection.dimension,
            "selected": list(group.selection.values),
        }
        for group in groups
    ]
    returned = connection.execute(
        _CREATE_GROUPS,
        {"campaign_id": campaign_id, "state": GroupState.WAITING, "now": now, "groups": documents},
    )
    return sum(returned.scalars().all())


def _drop_groups(connection: Connection, *, campaign_id: int, ids: Sequence[int]) -> int:
    if not ids:
        return 0
    return connection.execute(_DROP_GROUPS, {"campaign_id": campaign_id, "ids": list(ids)}).rowcount
