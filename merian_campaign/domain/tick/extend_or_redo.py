"""What becomes of a group that has run and is not made from what there is now."""

from __future__ import annotations

from merian_campaign.domain.readiness.data_change import Change, Freshness
from merian_campaign.domain.readiness.new_data import NewData
from merian_campaign.domain.record.board_row import IGNORES, STALE
from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.domain.states import GroupState
from merian_campaign.domain.tick.decisions import Again, MoveGroup, Publish


def extend_or_redo(new: NewData, group: GroupView) -> Again | Publish | MoveGroup | None:
    """Return what becomes of a group without a submission under way; `None` when its data are as they were.

    Parameters
    ----------
    new : `NewData`
        What is new.
    group : `GroupView`
        The group.
    """
    if not group.submissions or group.live is not None:
        return None
    done, unseen = group.state is GroupState.DONE, group.published != group.generation
    # Of nothing, where all that it was made from was withdrawn: readers see it no longer.
    if unseen and (done or (group.state is GroupState.WAITING and new.selected.is_withdrawn(group))):
        return Publish(group=group)
    return _done(new, group) if done else _not_finished(new, group)


def _not_finished(new: NewData, group: GroupView) -> Again | None:
    change = new.change(group)
    # Who leaves out what fails, and retries, goes on with what is there; it counts once the group is done.
    if change.freshness is not Freshness.CURRENT and (change.is_of_data or not change.edited):
        if group.state is GroupState.NEEDS_REVIEW and change.freshness is not Freshness.STALE:
            # What failed with the data that there were may not with those that there are now.
            return Again(group=group, reason=change.reason, redo=change.freshness is Freshness.REDO)
        if group.state in {GroupState.READY, GroupState.WAITING} and _would_mix(group, change):
            return Again(group=group, reason=f"not finished, and begun anew: {change.reason}", redo=True)
    return None


def _done(new: NewData, group: GroupView) -> Again | MoveGroup | None:
    change = new.change(group)
    match change.freshness:
        case Freshness.EXTEND:
            return Again(group=group, reason=change.reason, redo=False)
        case Freshness.REDO:
            return Again(group=group, reason=change.reason, redo=True)
        case Freshness.STALE:
            words = f"{STALE}{change.reason}"
        case Freshness.CURRENT if change.reason:
            words = f"{IGNORES}{change.reason}"
        case Freshness.CURRENT:
            was = group.reason.startswith((STALE, IGNORES))
            words = "made from all that there is" if was else group.reason
    return None if words == group.reason else MoveGroup(group=group, state=GroupState.DONE, reason=words)


def _would_mix(group: GroupView, change: Change) -> bool:
    """Say whether an afterburner would make one product of old and of new data."""
    here = any(one.generation == group.generation for one in group.submissions)
    return here and group.counts.expected > 0 and change.freshness is not Freshness.EXTEND
