"""Who may start on a node: requests are admitted in order while memory and cores last.

Pure.  First come, first served and no overtaking, so that a job with a large request is never starved by
small ones.  A request larger than the whole node is admitted alone rather than never.
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["NodeCapacity", "NodeRequest", "admissible"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeRequest:
    """What one job asks of the node."""

    memory_mb: float
    cpus: float


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeCapacity:
    """What the node has to share out; 0 means without limit."""

    memory_mb: float
    cpus: float


def admissible(*, waiting: Sequence[NodeRequest], running: Sequence[NodeRequest], room: NodeCapacity) -> int:
    """Return how many claims from the head of the queue may start now."""
    memory = sum(claim.memory_mb for claim in running)
    cpus = sum(claim.cpus for claim in running)
    started = 0
    for claim in waiting:
        memory += claim.memory_mb
        cpus += claim.cpus
        fits = (not room.memory_mb or memory <= room.memory_mb) and (not room.cpus or cpus <= room.cpus)
        alone = not running and not started
        if not fits and not alone:
            break
        started += 1
    return started
