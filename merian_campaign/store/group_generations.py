"""Generations of groups: when the next one begins, and which one readers see."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, RowMapping, text, update

from merian_campaign.domain.readiness.generations import chain_words
from merian_campaign.domain.record.records import Event
from merian_campaign.domain.states import GroupState, advance_group
from merian_campaign.store import events, schema
from merian_campaign.store.groups import as_it_was, forget_caps, lock_group
from merian_campaign.store.quanta import merge_quanta
from merian_campaign.store.quanta.group_summaries import SUMMARISE
from merian_campaign.store.server.database import Database, raw

_GROUP = schema.group

_PUBLISHED = text("""
    UPDATE "group" SET published = :generation, updated_at = :now
    WHERE id = :group_id AND (published < :generation OR (:generation = 0 AND published > 0))
""")


class GenerationStore(Database):
    """The part of the store that begins generations of groups and puts them in force."""

    def again(
        self,
        *,
        group_id: int,
        redo: bool,
        reason: str,
        actor: str,
        now: datetime,
        ordered: bool = False,
    ) -> None:
        """Let a group that has run go on: it waits, its caps are forgotten, and it is accepted no longer.

        With ``redo`` its next generation begins: all its quanta are superseded, their attempts stay. It is
        ``ordered`` if a person said so.

        Raises
        ------
        BadInputError
            Raised if there is no such group.
        IllegalMoveError
            Raised if it is under way.
        """
        with self._transaction() as connection:
            group = lock_group(connection, group_id)
            current = GroupState(group["state"])
            if current is not GroupState.WAITING:
                advance_group(current, GroupState.WAITING)
            connection.execute(
                update(_GROUP)
                .where(_GROUP.c.id == group_id)
                .values(
                    state=GroupState.WAITING,
                    reason=reason,
                    accepted=False,
                    generation=group["generation"] + redo,
                    updated_at=now,
                )
            )
            forget_caps(connection, group_id=group_id, now=now)
            if redo:
                _supersede(connection, group_id=group_id, now=now)
            kind = "redo" if redo else "extend"
            _record(connection, group, kind=kind, reason=reason, actor=actor, now=now, ordered=ordered)

    def published(self, *, group_id: int, generation: int, actor: str, now: datetime) -> None:
        """Record that the step's chain shows a generation, 0 for none; again, nothing happens."""
        with self._transaction() as connection:
            group = lock_group(connection, group_id)
            values = {"group_id": group_id, "generation": generation, "now": now}
            if connection.execute(_PUBLISHED, values).rowcount:
                reason = chain_words(generation, group["published"])
                _record(connection, group, kind="publish", reason=reason, actor=actor, now=now)


def _supersede(connection: Connection, *, group_id: int, now: datetime) -> None:
    values = {"group_id": group_id, "now": now}
    with raw(connection).cursor() as cursor:
        counted = (*merge_quanta.COUNT_ANEW, *SUMMARISE)
        for statement in (merge_quanta.KEEP_ATTEMPTS, merge_quanta.SUPERSEDE, *counted):
            cursor.execute(statement, values)


def _record(
    connection: Connection,
    group: RowMapping,
    *,
    kind: str,
    reason: str,
    actor: str,
    now: datetime,
    ordered: bool = False,
) -> None:
    state = GroupState.WAITING if kind != "publish" else GroupState(group["state"])
    event = Event(
        kind=kind,
        actor=actor,
        reason=reason,
        group_id=group["id"],
        from_state=group["state"],
        to_state=state,
        before=as_it_was(group) if ordered else None,
    )
    events.record(connection, event, at=now)
