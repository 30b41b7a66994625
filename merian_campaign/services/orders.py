"""Orders that take others back, and those that keep groups from starting: reject, hold, release, undo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from merian_campaign.domain.campaign.order_rules import may_move
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.record.records import Event, RecordedEvent
from merian_campaign.domain.record.snapshot import GroupView, Snapshot
from merian_campaign.domain.states import GROUP_MOVES, CampaignState, GroupState
from merian_campaign.services.find import find_campaign, find_group
from merian_campaign.services.ports import Store
from merian_campaign.services.runtime import Runtime

__all__ = ["Order", "Orders"]

_ORDERS: Final = frozenset(
    {"accept", "cancel", "hold", "pause", "reject", "release", "resume", "retry", "storm", "undo"}
)
_FOR_GOOD: Final = {
    "redo": "a new generation has begun; it is in no reader's way before it is complete",
    "applied": "edit the file back and apply it again",
}
"""Orders that are not taken back, and what to do instead."""

_LOOKED_AT: Final = 5000
"""Events back to which the last order is looked for."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order of a person: the verb, who said it, when, and the groups, none for the whole campaign."""

    verb: str
    actor: str
    at: datetime
    events: tuple[RecordedEvent, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups as ``STEP/KEY``."""
        return tuple(f"{event.step}/{event.group}" for event in self.events if event.group_id is not None)


@dataclass(frozen=True, kw_only=True)
class Orders:
    """More orders of a person to one campaign.

    Parameters
    ----------
    store, runtime
        The world.
    """

    store: Store
    runtime: Runtime

    def reject(self, name: str, *, groups: Sequence[str], reason: str) -> tuple[GroupView, ...]:
        """Take back that groups are done: what comes after them and has not begun waits. All, or none."""
        with self.store.campaign_lock(name):
            snapshot = self.store.snapshot(name)
            found = tuple(find_group(snapshot, each) for each in groups)
            for entry in found:
                may_move(entry, GroupState.NEEDS_REVIEW, "reject")
            now = self.runtime.clock()
            for entry in found:
                self.store.move_group(
                    group_id=entry.id,
                    state=GroupState.NEEDS_REVIEW,
                    reason=f"rejected: {reason}",
                    actor=self.runtime.actor,
                    now=now,
                    kind="reject",
                )
        return found

    def hold(self, name: str, *, groups: Sequence[str], reason: str) -> tuple[GroupView, ...]:
        """Keep groups from starting anything; what runs of them goes on. All, or none."""
        return self._hold(name, groups, hold=reason, reason=reason)

    def release(self, name: str, *, groups: Sequence[str], reason: str) -> tuple[GroupView, ...]:
        """Let groups start that were held. All, or none."""
        return self._hold(name, groups, hold="", reason=reason)

    def _hold(self, name: str, groups: Sequence[str], *, hold: str, reason: str) -> tuple[GroupView, ...]:
        with self.store.campaign_lock(name):
            snapshot = self.store.snapshot(name)
            found = tuple(find_group(snapshot, each) for each in groups)
            for entry in found:
                if bool(entry.hold) is bool(hold):
                    words = f"is held already ({entry.hold})" if hold else "is not held"
                    raise BadInputError(f"{entry.step}/{entry.key} {words}")
            now = self.runtime.clock()
            for entry in found:
                self.store.hold_group(
                    group_id=entry.id, hold=hold, reason=reason, actor=self.runtime.actor, now=now
                )
        return found

    def last(self, name: str) -> Order:
        """Return the last order of a person, of whatever verb, with all groups that it was for.

        Raises
        ------
        BadInputError
            Raised if there is none, or none that is ever taken back.
        """
        find_campaign(self.store, name)
        found = self.store.events(name, limit=_LOOKED_AT)
        orders = [event for event in found if event.kind in _ORDERS or _is_for_good(event)]
        if not orders:
            raise BadInputError(f"nobody has ordered anything of campaign {name!r}; nothing to undo")
        last = orders[0]
        if last.kind == "undo":
            raise BadInputError("the last order was taken back already; nothing more is undone")
        # All of one order have one time.
        batch = [
            event
            for event in orders
            if (event.at, event.kind, event.actor) == (last.at, last.kind, last.actor)
        ]
        order = Order(verb=last.kind, actor=last.actor, at=last.at, events=tuple(reversed(batch)))
        if last.kind in _FOR_GOOD:
            what = "the file was applied" if last.kind == "applied" else f"redo of {order.groups[0]}"
            raise BadInputError(
                f"the last order ({what}) cannot be taken back: {_FOR_GOOD[last.kind]}; nothing is undone"
            )
        return order

    def undo(self, name: str, *, reason: str, order: Order | None = None) -> Order:
        """Take back the last order, for all groups that it was for, or for none.

        Parameters
        ----------
        name : `str`
            Campaign.
        reason : `str`
            Why.
        order : `Order`, optional
            Which one is meant: if it is the last no longer, nothing is done.

        Raises
        ------
        BadInputError
            Raised if there is none, or what came of it cannot be taken back; then nothing is.
        """
        with self.store.campaign_lock(name):
            last = self.last(name)
            if order is not None and order != last:
                raise BadInputError(f"{last.actor} has ordered {last.verb} since; nothing is undone")
            snapshot = self.store.snapshot(name)
            of_all = [event for event in last.events if event.group_id is None]
            if of_all:
                self._undo_state(snapshot, of_all[0], reason)
                return replace(last, events=tuple(of_all))
            for group, event in [self._step(snapshot, event) for event in last.events]:
                self._undo_group(group, event, reason)
        return last

    @staticmethod
    def _step(snapshot: Snapshot, event: RecordedEvent) -> tuple[GroupView, RecordedEvent]:
        """Return a group of an order that can be taken back, with the order's event."""
        group = find_group(snapshot, f"{event.step}/{event.group}")
        name = f"{group.step}/{group.key}"
        if event.kind in {"hold", "release"}:
            if bool(group.hold) is (event.kind == "release"):
                raise BadInputError(f"{name}: it was held or released since; nothing is undone")
            return group, event
        before = None if event.from_state is None else GroupState(event.from_state)
        if event.to_state is None or group.live is not None or group.state != event.to_state:
            raise BadInputError(
                f"{name}: has gone on since the {event.kind} ({group.state}); nothing is undone"
            )
        if before not in {GroupState.BLOCKED, group.state} and before not in GROUP_MOVES[group.state]:
            raise BadInputError(f"{name}: it cannot become {event.from_state} again; nothing is undone")
        return group, event

    def _undo_group(self, group: GroupView, event: RecordedEvent, reason: str) -> None:
        state = None
        before = dict(event.before or {})
        if event.kind in {"hold", "release"}:
            kept = event.reason if event.kind == "release" else ""
            before = {"hold": before.get("hold", kept)}
        else:
            was = GroupState(str(event.from_state))
            # What is blocked or waits is found out anew by the next tick.
            state = GroupState.WAITING if was is GroupState.BLOCKED else was
            before.pop("hold", None)
        self.store.restore_group(
            group_id=group.id,
            state=state,
            before=before,
            reason=f"{event.kind} undone: {reason}",
            actor=self.runtime.actor,
            now=self.runtime.clock(),
        )

    def _undo_state(self, snapshot: Snapshot, event: RecordedEvent, reason: str) -> None:
        campaign = snapshot.campaign
        if campaign.state != event.to_state:
            raise BadInputError(f"campaign {campaign.name!r} is {campaign.state} since; nothing is undone")
        if event.kind == "cancel":
            raise BadInputError(
                f"campaign {campaign.name!r} was cancelled, which stopped what ran; `resume` goes on"
            )
        state = CampaignState(str(event.from_state))
        if state is CampaignState.CANCELLED:
            raise BadInputError(f"campaign {campaign.name!r} goes on since; `cancel` it again")
        words = f"{event.kind} undone: {reason} (by {self.runtime.actor})"
        undone = Event(
            kind="undo", actor=self.runtime.actor, reason=words, from_state=campaign.state, to_state=state
        )
        self.store.set_campaign_state(name=campaign.name, state=state, event=undone, now=self.runtime.clock())


def _is_for_good(event: RecordedEvent) -> bool:
    """Say whether an event is an order that is never taken back; a tick redoes groups too, for new data."""
    return event.kind == "applied" or (event.kind == "redo" and event.before is not None)
