"""The states of Slurm jobs and what they mean: the one table that the manager and the drivers read.

A word that is not in it says neither that a job lives nor that it is over: it is asked about again.
Source: JOB STATE CODES and JOB REASON CODES in the manuals of ``squeue`` and ``sacct``, Slurm 20.02 to 25.05.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["FORGOTTEN", "STATES", "JobEnd", "Meaning", "Stage", "meaning_of", "state_word", "whole_state"]

FORGOTTEN: Final = "UNKNOWN"
"""Our own word for a job that Slurm does not hold any more and whose end nobody told."""


class Stage(StrEnum):
    """Where a job is."""

    WAITING = "waiting"
    """It has no node yet, or not any more, and may get one."""
    RUNNING = "running"
    """It has its nodes."""
    SUSPENDED = "suspended"
    """It has given its nodes up for a while."""
    ENDING = "ending"
    """Its processes are being ended; it starts nothing any more."""
    OVER = "over"
    """It never runs again under this id."""
    UNSURE = "unsure"
    """The word does not say."""


class JobEnd(StrEnum):
    """How a Slurm job ended, if it has."""

    ALIVE = "alive"
    """It waits, runs, or ends just now."""
    COMPLETED = "completed"
    """Its script ended well."""
    OUT_OF_MEMORY = "out_of_memory"
    """Slurm or the kernel ended it, or a step of it, for its memory."""
    WALLTIME = "walltime"
    """Its time limit was up."""
    NODE_LOST = "node_lost"
    """A node of it failed."""
    PREEMPTED = "preempted"
    """It had to make room for a job of higher priority."""
    CANCELLED = "cancelled"
    """A person, an administrator or its own driver cancelled it."""
    FAILED = "failed"
    """Its script failed."""
    UNKNOWN = "unknown"
    """It is over, and Slurm does not say how."""
    UNSURE = "unsure"
    """Whether it is over cannot be told from Slurm's word; it is asked again."""


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a state means."""

    stage: Stage
    fate: JobEnd

    @property
    def over(self) -> bool:
        """Whether the job never runs again."""
        return self.stage is Stage.OVER


def _alive(stage: Stage) -> Meaning:
    return Meaning(stage=stage, fate=JobEnd.ALIVE)


def _over(fate: JobEnd) -> Meaning:
    return Meaning(stage=Stage.OVER, fate=fate)


_UNSURE: Final = Meaning(stage=Stage.UNSURE, fate=JobEnd.UNSURE)

STATES: Final[Mapping[str, Meaning]] = {
    "BOOT_FAIL": _over(JobEnd.NODE_LOST),
    "CANCELLED": _over(JobEnd.CANCELLED),
    "COMPLETED": _over(JobEnd.COMPLETED),
    "COMPLETING": _alive(Stage.ENDING),
    "CONFIGURING": _alive(Stage.WAITING),
    "DEADLINE": _over(JobEnd.WALLTIME),
    # Requeued with priority after its node failed.
    "EXPEDITING": _alive(Stage.WAITING),
    "FAILED": _over(JobEnd.FAILED),
    "LAUNCH_FAILED": _over(JobEnd.NODE_LOST),
    "NODE_FAIL": _over(JobEnd.NODE_LOST),
    "OUT_OF_MEMORY": _over(JobEnd.OUT_OF_MEMORY),
    "PENDING": _alive(Stage.WAITING),
    # It has been given nodes that must be switched on first.
    "POWER_UP_NODE": _alive(Stage.WAITING),
    "PREEMPTED": _over(JobEnd.PREEMPTED),
    "RECONFIG_FAIL": _over(JobEnd.NODE_LOST),
    "REQUEUED": _alive(Stage.WAITING),
    "REQUEUE_FED": _alive(Stage.WAITING),
    "REQUEUE_HOLD": _alive(Stage.WAITING),
    "RESIZING": _alive(Stage.RUNNING),
    "RESV_DEL_HOLD": _alive(Stage.WAITING),
    # Another cluster of the federation runs it.
    "REVOKED": _over(JobEnd.UNKNOWN),
    "RUNNING": _alive(Stage.RUNNING),
    "SIGNALING": _alive(Stage.RUNNING),
    # Requeued and held by the site's epilog; a person may release it.
    "SPECIAL_EXIT": _alive(Stage.WAITING),
    "STAGE_OUT": _alive(Stage.RUNNING),
    # Its processes are stopped, its nodes are kept.
    "STOPPED": _alive(Stage.RUNNING),
    "SUSPENDED": _alive(Stage.SUSPENDED),
    "TIMEOUT": _over(JobEnd.WALLTIME),
    # Slurm writes to its database; what of the job, it does not say.
    "UPDATE_DB": _UNSURE,
    FORGOTTEN: _over(JobEnd.UNKNOWN),
    "": _over(JobEnd.UNKNOWN),
}
"""Every state that Slurm documents, and our own words for none."""


def meaning_of(state: str) -> Meaning:
    """Return what a state means, a whole word as of `state_word`; of a word that is not known, nothing."""
    return STATES.get(state, _UNSURE)


def whole_state(word: str) -> str:
    """Return Slurm's state in full from a word of ``sacct`` or ``squeue``.

    ``OUT_OF_ME+`` and ``CANCELLED by 1000`` become ``OUT_OF_MEMORY`` and ``CANCELLED``; of a list of flags
    the first is taken; what is not known, or could be several, comes back as it is.
    """
    first = word.strip().split(" ")[0].split(",")[0].upper()
    if not first.endswith("+"):
        return first
    known = [state for state in STATES if state.startswith(first[:-1])]
    return known[0] if len(known) == 1 else first


def state_word(text: str) -> tuple[str, str]:
    """Return Slurm's word for a state, whole, and the user id of who cancelled the job."""
    rest = text.strip().partition(" ")[2]
    return whole_state(text), rest.removeprefix("by ").strip() if rest.startswith("by ") else ""
