"""Moves of groups along the transition table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, bindparam, select, text, update

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.record.records import Event
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.states import GroupState, advance_group
from merian_campaign.store import events, schema
from merian_campaign.store.board import KEEP_SUBMISSIONS
from merian_campaign.store.rows import remedy_document
from merian_campaign.store.server.database import Database, raw

_GROUP = schema.group

# Made once, and not for each of the groups that a tick moves.
_LOCK = select(_GROUP).where(_GROUP.c.id == bindparam("of")).with_for_update()
_PUT = (
    update(_GROUP)
    .where(_GROUP.c.id == bindparam("of"))
    .values(
        {name: bindparam(name) for name in ("state", "reason", "accepted", "accepted_until", "updated_at")}
    )
)

_RESTORED: Final = ("reason", "accepted", "accepted_until", "hold", "asked", "stack_from")
"""What an order may change of a group beside its state."""

_FORGET_CAPS = text("""
    UPDATE quantum_row SET charged_attempts = 0, updated_at = :now
    WHERE group_id = :group_id AND coalesce(state, 'succeeded') NOT IN ('succeeded', 'superseded')
        AND charged_attempts IS DISTINCT FROM 0
""")

_LAST_NUMBER = text("SELECT coalesce(max(number), 0) FROM submission WHERE group_id = :group_id")


def lock_group(connection: Connection, group_id: int) -> RowMapping:
    """Return a group's row, locked until the end of the transaction.

    All writers of a group's quanta hold this lock, so counts are never taken from half a change.

    Raises
    ------
    BadInputError
        Raised if there is no such group.
    """
    row = connection.execute(_LOCK, {"of": group_id}).mappings().first()
    if row is None:
        raise BadInputError(f"there is no group with the id {group_id}; a new revision may have dropped it")
    return row


def keep_submissions(connection: Connection, *, group_id: int) -> None:
    """Keep what the board says of a locked group's submissions."""
    with raw(connection).cursor() as cursor:
        cursor.execute(KEEP_SUBMISSIONS, {"group_id": group_id})


def put_group(
    connection: Connection,
    *,
    group: RowMapping,
    state: GroupState,
    reason: str,
    actor: str,
    now: datetime,
    accepted: bool = False,
    accepted_until: datetime | None = None,
    kind: str = "group",
) -> None:
    """Move a locked group and record the event; a new reason alone is stored without one."""
    current = GroupState(group["state"])
    if state is not current:
        advance_group(current, state)
    elif (reason, accepted) == (group["reason"], group["accepted"]):
        return
    values = {"state": state, "reason": reason, "accepted": accepted, "accepted_until": accepted_until}
    connection.execute(_PUT, {"of": group["id"], **values, "updated_at": now})
    ordered = kind != "group"
    if state is not current or accepted != group["accepted"] or ordered:
        events.record(
            connection,
            Event(
                kind=kind,
                actor=actor,
                reason=reason,
                group_id=group["id"],
                from_state=current,
                to_state=state,
                before=as_it_was(group) if ordered else None,
            ),
            at=now,
        )


def as_it_was(group: RowMapping) -> Mapping[str, Any]:
    """Return what an order may change of a group, as it is now, for the event of the order."""
    until = group["accepted_until"]
    return {name: group[name] for name in _RESTORED} | {
        "accepted_until": None if until is None else until.isoformat()
    }


def forget_caps(connection: Connection, *, group_id: int, now: datetime) -> int:
    """Let the attempts so far count no more against the budget of a locked group's quanta.

    Returns
    -------
    last : `int`
        Number of its last submission, from which on they count; 0 without any.
    """
    last: int = connection.execute(_LAST_NUMBER, {"group_id": group_id}).scalar_one()
    connection.execute(update(_GROUP).where(_GROUP.c.id == group_id).values(attempts_from=last))
    connection.execute(_FORGET_CAPS, {"group_id": group_id, "now": now})
    return last


class GroupStore(Database):
    """The part of the store that moves groups."""

    def move_group(
        self,
        *,
        group_id: int,
        state: GroupState,
        reason: str,
        actor: str,
        now: datetime,
        accepted: bool = False,
        accepted_until: datetime | None = None,
        kind: str = "group",
    ) -> None:
        """Move a group along the transition table and record the event.

        Moving it where it already is stores the new reason, without an event.
        """
        with self._transaction() as connection:
            put_group(
                connection,
                group=lock_group(connection, group_id),
                state=state,
                reason=reason,
                actor=actor,
                now=now,
                accepted=accepted,
                accepted_until=accepted_until,
                kind=kind,
            )

    def hold_group(self, *, group_id: int, hold: str, reason: str, actor: str, now: datetime) -> None:
        """Keep a group from starting, for a reason, or with an empty ``hold`` let it; record the event."""
        with self._transaction() as connection:
            group = lock_group(connection, group_id)
            values = {"hold": hold, "updated_at": now}
            connection.execute(update(_GROUP).where(_GROUP.c.id == group["id"]).values(**values))
            event = Event(
                kind="hold" if hold else "release",
                actor=actor,
                reason=reason,
                group_id=group_id,
                before=as_it_was(group),
            )
            events.record(connection, event, at=now)

    def restore_group(
        self,
        *,
        group_id: int,
        state: GroupState | None,
        before: Mapping[str, Any],
        reason: str,
        actor: str,
        now: datetime,
    ) -> None:
        """Take an order back: move a group to the state it was in, and put back what the order changed.

        Parameters
        ----------
        group_id : `int`
            The group.
        state : `GroupState` or `None`
            Where it was; `None`: it was not moved.
        before : `~collections.abc.Mapping`
            What the order's event has kept.
        reason : `str`
            Why, for the record, and for the group if nothing was kept of it.
        actor : `str`
            Who takes it back.
        now : `datetime.datetime`
            When, UTC.
        """
        with self._transaction() as connection:
            group = lock_group(connection, group_id)
            current = GroupState(group["state"])
            if state is not None and state is not current:
                advance_group(current, state)
            values = {name: before[name] for name in _RESTORED if name in before}
            if values.get("accepted_until") is not None:
                values["accepted_until"] = datetime.fromisoformat(values["accepted_until"])
            if state is not None:
                values = {"reason": reason} | values | {"state": state}
            connection.execute(update(_GROUP).where(_GROUP.c.id == group_id).values(**values, updated_at=now))
            moved = None if state is None else current
            event = Event(
                kind="undo",
                actor=actor,
                reason=reason,
                group_id=group_id,
                from_state=moved,
                to_state=state,
                before=as_it_was(group),
            )
            events.record(connection, event, at=now)

    def retry_group(
        self,
        *,
        group_id: int,
        reason: str,
        actor: str,
        now: datetime,
        allow_stack_change: bool = False,
        asked: Remedy | None = None,
    ) -> None:
        """Move a group to READY, forgetting its caps.

        Attempts made so far stay on record, but no longer count against the budget of their quanta and
        no longer hold them back; memory failures still count, for they tell how much memory to ask for.
        With ``allow_stack_change``, later submissions need not keep to the versions of earlier ones.
        """
        with self._transaction() as connection:
            group = lock_group(connection, group_id)
            put_group(
                connection,
                group=group,
                state=GroupState.READY,
                reason=reason,
                actor=actor,
                now=now,
                kind="retry",
            )
            last = forget_caps(connection, group_id=group_id, now=now)
            changed: dict[str, object] = {"stack_from": last} if allow_stack_change else {}
            changed |= {"asked": remedy_document(asked)} if asked is not None else {}
            if changed:
                connection.execute(update(_GROUP).where(_GROUP.c.id == group_id).values(**changed))
