"""What can be seen of a submission's driver."""

from __future__ import annotations

from enum import StrEnum


class Liveness(StrEnum):
    """What was seen of a submission's driver."""

    UNCLAIMED = "unclaimed"
    """No driver has claimed it."""
    QUEUED = "queued"
    """Its driver is a Slurm job that waits in the queue or is just starting, however long that takes."""
    ALIVE = "alive"
    """It runs, or its lease is valid and its host cannot be looked into."""
    DEAD = "dead"
    """Its process or Slurm job is gone, or its lease has run out."""
    ENDED = "ended"
    """It wrote its outcome."""
    UNSEEN = "unseen"
    """The scheduler that would know does not answer: nothing is decided."""
