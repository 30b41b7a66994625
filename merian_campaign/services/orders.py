"""Orders that take others back, and those that keep groups from starting: reject, hold, release, undo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.records import Event, RecordedEvent
from merian_campaign.domain.snapshot import GroupView, Snapshot
from merian_campaign.domain.states import GROUP_MOVES, CampaignState, GroupState
from merian_campaign.services.control import may_move
from merian_campaign.services.find import find_campaign, find_group
from merian_campaign.services.ports import Store
from merian_campaign.services.runtime import Runtime

__all__ = ["Orders", "Undone"]

_ORDERS: Final = frozenset(
    {"accept", "cancel", "hold", "pause", "reject", "release", "resume", "retry", "storm", "undo"}
)
_LOOKED_AT: Final = 5000
"""Events back to which the last order is looked for."""


@dataclass(frozen=True, kw_only=True)
class Undone:
    """What was undone: the verb, who had said it, and the groups, none for the whole campaign."""

    verb: str
    actor: str
    groups: tuple[str, ...]


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

    def undo(self, name: str, *, reason: str) -> Undone:
        """Take back the last order of a person, of whatever verb and for all groups that it was for.

        Raises
        ------
        BadInputError
            Raised if there is none, or what came of it cannot be taken back; then nothing is.
        """
        find_campaign(self.store, name)
        with self.store.campaign_lock(name):
            orders = [event for event in self.store.events(name, limit=_LOOKED_AT) if event.kind in _ORDERS]
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
            snapshot = self.store.snapshot(name)
            if any(event.group_id is None for event in batch):
                self._undo_state(snapshot, next(event for event in batch if event.group_id is None), reason)
                return Undone(verb=last.kind, actor=last.actor, groups=())
            steps = [self._step(snapshot, event) for event in batch]
            for group, event in steps:
                self._undo_group(group, event, reason)
        return Undone(
            verb=last.kind, actor=last.actor, groups=tuple(f"{group.step}/{group.key}" for group, _ in steps)
        )

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
        if before is not GroupState.BLOCKED and before not in GROUP_MOVES[group.state]:
            raise BadInputError(f"{name}: it cannot become {event.from_state} again; nothing is undone")
        return group, event

    def _undo_group(self, group: GroupView, event: RecordedEvent, reason: str) -> None:
        now, actor = self.runtime.clock(), self.runtime.actor
        words = f"{event.kind} undone: {reason}"
        if event.kind in {"hold", "release"}:
            hold = event.reason if event.kind == "release" else ""
            self.store.hold_group(
                group_id=group.id, hold=hold, reason=words, actor=actor, now=now, kind="undo"
            )
            return
        before = GroupState(str(event.from_state))
        # What is blocked or waits is found out anew by the next tick.
        state = GroupState.WAITING if before is GroupState.BLOCKED else before
        self.store.move_group(group_id=group.id, state=state, reason=words, actor=actor, now=now, kind="undo")

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
