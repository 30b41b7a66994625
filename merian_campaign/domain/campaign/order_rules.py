"""What a person may order of which groups: to retry, accept, redo, reject, hold, release or cancel them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.failures.backoff import due
from merian_campaign.domain.record.applied_spec import applied_spec
from merian_campaign.domain.record.snapshot import GroupView, Snapshot
from merian_campaign.domain.states import GROUP_MOVES, GroupState

__all__ = ["STATES_OF", "may_move", "may_redo", "waits_for_its_time"]

_NOT_A_PERSONS: Final = frozenset(
    {GroupState.WAITING, GroupState.BLOCKED, GroupState.READY, GroupState.RUNNING}
)
"""States in which the next tick decides: there is nothing yet for a person to retry or accept."""

STATES_OF: Final[Mapping[str, frozenset[GroupState]]] = {
    "retry": frozenset({GroupState.NEEDS_REVIEW, GroupState.CANCELLED}),
    "accept": frozenset({GroupState.NEEDS_REVIEW}),
    "redo": frozenset({GroupState.DONE, GroupState.NEEDS_REVIEW, GroupState.CANCELLED}),
    "reject": frozenset({GroupState.DONE}),
    "hold": frozenset(GroupState) - {GroupState.DONE, GroupState.CANCELLED},
    "release": frozenset(GroupState),
    "cancel": frozenset(GroupState) - {GroupState.DONE, GroupState.CANCELLED},
}
"""Which groups a step or a pattern means to a verb; one that is done is only retried by its name."""


def may_move(group: GroupView, target: GroupState, verb: str) -> None:
    """Refuse what a person may not order of a group.

    Raises
    ------
    BadInputError
        Raised with the state it is in.
    """
    if group.live is not None:
        raise BadInputError(
            f"{group.step}/{group.key} has a submission under way; {verb} it afterwards, or cancel it"
        )
    rejects = verb == "reject" and group.state is not GroupState.DONE
    if target not in GROUP_MOVES[group.state] or group.state in _NOT_A_PERSONS or rejects:
        raise BadInputError(f"{group.step}/{group.key} is {group.state}; there is nothing to {verb}")


def may_redo(group: GroupView) -> None:
    """Refuse to make anew what is under way, has not run, or is not judged yet.

    Raises
    ------
    BadInputError
        Raised with the state it is in.
    """
    name = f"{group.step}/{group.key}"
    if group.live is not None:
        raise BadInputError(f"{name} has a submission under way; redo it afterwards, or cancel it")
    if not group.submissions:
        raise BadInputError(f"{name} is {group.state} and has not run; there is nothing to redo")
    if group.state is GroupState.RUNNING:
        raise BadInputError(f"{name} has just ended; redo it when a tick has judged it")


def waits_for_its_time(snapshot: Snapshot, group: GroupView) -> bool:
    """Say whether a group is ready and waits for nothing but the pause after a failure."""
    if group.state is not GroupState.READY or group.live is not None:
        return False
    return due(applied_spec(snapshot.campaign), group) is not None
