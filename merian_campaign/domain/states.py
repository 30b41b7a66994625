"""States of campaigns, groups, submissions and quanta, and the moves between them.

State machines as data: an enum with a meaning a member, a transition table, one `advance`.
"""

from __future__ import annotations

from enum import StrEnum


class CampaignState(StrEnum):
    """State of a whole campaign."""

    ACTIVE = "active"
    """Ticks act on it."""
    PAUSED = "paused"
    """Running submissions are followed and harvested; nothing new is started."""
    CANCELLED = "cancelled"
    """Everything was stopped by a person."""


class GroupState(StrEnum):
    """State of a group (one step on one selection)."""

    WAITING = "waiting"
    """Something that it needs is not done yet."""
    READY = "ready"
    """May be submitted as soon as there is room."""
    RUNNING = "running"
    """Has an unfinished submission."""
    DONE = "done"
    """Complete, within its loss budget, or accepted by a person."""
    NEEDS_REVIEW = "needs_review"
    """Nothing more can be done automatically; the reason says why."""
    BLOCKED = "blocked"
    """Needs a group that needs review, is blocked or cancelled."""
    CANCELLED = "cancelled"
    """Stopped by a person."""


class SubmissionState(StrEnum):
    """State of one submission (one BPS run, or one run of an action)."""

    PREPARED = "prepared"
    """The intention is committed; no driver has claimed it yet."""
    RUNNING = "running"
    """A driver has claimed it."""
    FINISHED = "finished"
    """Over and harvested; the outcome says how."""


class SubmissionOutcome(StrEnum):
    """How a finished submission ended."""

    SUCCEEDED = "succeeded"
    """Every quantum of its graph succeeded."""
    PARTIAL = "partial"
    """It ran; some quanta did not succeed."""
    EMPTY = "empty"
    """The quantum graph was empty: nothing (left) to do."""
    FAILED = "failed"
    """It could not run: graph building, initialisation or ingest failed."""
    LOST = "lost"
    """Its driver died; what it had done was harvested."""
    CANCELLED = "cancelled"
    """Stopped by a person."""


class QuantumState(StrEnum):
    """Current state of a quantum."""

    PENDING = "pending"
    """Predicted; not started as far as is known."""
    RUNNING = "running"
    """Started in a submission that is still going on."""
    SUCCEEDED = "succeeded"
    """Its outputs exist; caveats say if some legitimately do not."""
    FAILED = "failed"
    """The last attempt did not succeed."""
    BLOCKED = "blocked"
    """Did not run because a quantum upstream of it failed."""
    UNKNOWN = "unknown"
    """No evidence either way, e.g. its driver died before it was started."""
    SUPERSEDED = "superseded"
    """Of an earlier generation of its group, and so far of no graph of the current one."""


class Verdict(StrEnum):
    """Why an attempt failed."""

    OUT_OF_MEMORY = "out_of_memory"
    """It needed more memory than it had asked for."""
    WALLTIME = "walltime"
    """It was ended at a time limit."""
    NODE_LOST = "node_lost"
    """The machine, block, or driver under it went away; not its fault."""
    PREEMPTED = "preempted"
    """Its block had to make room for somebody else's; not its fault."""
    INFRASTRUCTURE = "infrastructure"
    """A passing trouble (file system, quota, network, database) that a plain retry cures."""
    ALGORITHM = "algorithm"
    """The algorithm cannot process these data; a retry gives the same again."""
    CONFIGURATION = "configuration"
    """The pipeline or its inputs are set up wrongly; a person must change something."""
    UNKNOWN = "unknown"
    """No rule matched; retried with the same resources, within the cap."""

    @classmethod
    def _missing_(cls, value: object) -> Verdict | None:
        """Return what a word of earlier versions is called now: files and archives may have it."""
        return cls(FORMER_VERDICTS[value]) if isinstance(value, str) and value in FORMER_VERDICTS else None


FORMER_VERDICTS = {"transient": "infrastructure"}
"""What verdicts were called by earlier versions, with what they are called now."""

FINAL_VERDICTS = frozenset({Verdict.ALGORITHM, Verdict.CONFIGURATION})
"""Verdicts that a retry cannot cure: what has one is held back from further submissions."""

FREE_VERDICTS = frozenset({Verdict.NODE_LOST, Verdict.PREEMPTED})
"""Verdicts that cost no attempt: what has one is run again however often it happens."""


GROUP_MOVES: dict[GroupState, frozenset[GroupState]] = {
    GroupState.WAITING: frozenset(
        {GroupState.READY, GroupState.BLOCKED, GroupState.NEEDS_REVIEW, GroupState.CANCELLED}
    ),
    GroupState.BLOCKED: frozenset(
        {GroupState.WAITING, GroupState.READY, GroupState.NEEDS_REVIEW, GroupState.CANCELLED}
    ),
    GroupState.READY: frozenset(
        {GroupState.RUNNING, GroupState.WAITING, GroupState.NEEDS_REVIEW, GroupState.CANCELLED}
    ),
    GroupState.RUNNING: frozenset(
        {GroupState.READY, GroupState.DONE, GroupState.NEEDS_REVIEW, GroupState.CANCELLED}
    ),
    GroupState.NEEDS_REVIEW: frozenset(
        {GroupState.READY, GroupState.WAITING, GroupState.DONE, GroupState.CANCELLED}
    ),
    # A person rejects it, or what was accepted for a time is looked at again.
    GroupState.DONE: frozenset({GroupState.READY, GroupState.WAITING, GroupState.NEEDS_REVIEW}),
    GroupState.CANCELLED: frozenset({GroupState.READY, GroupState.WAITING, GroupState.NEEDS_REVIEW}),
}

SUBMISSION_MOVES: dict[SubmissionState, frozenset[SubmissionState]] = {
    SubmissionState.PREPARED: frozenset({SubmissionState.RUNNING, SubmissionState.FINISHED}),
    SubmissionState.RUNNING: frozenset({SubmissionState.FINISHED}),
    SubmissionState.FINISHED: frozenset(),
}


def derived_state(campaign_state: str, states: set[str]) -> str:
    """Return the state of a whole campaign, from its own and those of its groups."""
    if campaign_state != CampaignState.ACTIVE:
        return campaign_state
    if states <= {GroupState.DONE.value}:
        return "done"
    if states & {GroupState.RUNNING.value, GroupState.READY.value}:
        return "running"
    return "needs_review" if GroupState.NEEDS_REVIEW.value in states else "waiting"


class IllegalMoveError(Exception):
    """A state change that the transition table does not contain (a defect, not bad input)."""


def advance_group(current: GroupState, target: GroupState) -> GroupState:
    """Return ``target`` if a group may move there.

    Raises
    ------
    IllegalMoveError
        Raised if the transition table does not contain the move.
    """
    if target not in GROUP_MOVES[current]:
        raise IllegalMoveError(f"a group cannot go from {current} to {target}")
    return target


def advance_submission(current: SubmissionState, target: SubmissionState) -> SubmissionState:
    """Return ``target`` if a submission may move there.

    Raises
    ------
    IllegalMoveError
        Raised if the transition table does not contain the move.
    """
    if target not in SUBMISSION_MOVES[current]:
        raise IllegalMoveError(f"a submission cannot go from {current} to {target}")
    return target
