"""The guard: what a job's process tree holds, and when it has held too much for too long.

`measure` looks, `judge` decides; neither kills.  Memory is counted as resident pages.  That counts pages
shared after a fork more than once, so a tree that seems to be over its limit, or that has several
processes, is measured again with each shared page divided among its sharers; only that figure condemns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from merian_campaign.domain.execution.journal import JobVerdict
from merian_campaign.host.processes import ProcessEntry, proportional_mb

__all__ = ["LimitExceeded", "MemoryLimits", "TreeSample", "judge", "kernel_kill", "measure"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryLimits:
    """What a job may use; None means as much as it likes.

    ``memory_mb`` is the request times the tolerance, ``walltime_s`` seconds of wall clock.
    """

    requested_mb: float | None
    memory_mb: float | None
    walltime_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeSample:
    """One look at a process tree; ``exact`` when shared pages were divided among their sharers."""

    resident_mb: float
    processes: int
    exact: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitExceeded:
    """A reason to end a job, with its evidence."""

    verdict: JobVerdict
    evidence: dict[str, object]


def measure(
    members: Sequence[ProcessEntry],
    *,
    peak_mb: float,
    limit_mb: float | None,
    proportional: Callable[[int], float | None] = proportional_mb,
) -> TreeSample:
    """Return what a tree holds, looking closely only where the cheap figure may mislead.

    Parameters
    ----------
    members : sequence of `ProcessEntry`
        The living processes of the tree.
    peak_mb : `float`
        Largest figure so far; a tree of several processes below it needs no closer look.
    limit_mb : `float` or `None`
        Limit of the tree.
    proportional : callable
        Reads one process closely (milliseconds for each 100 MiB).
    """
    cheap = sum(member.resident_mb for member in members)
    over = limit_mb is not None and cheap > limit_mb
    several = len(members) > 1 and cheap > peak_mb
    if not (over or several):
        return TreeSample(resident_mb=cheap, processes=len(members), exact=False)
    exact = sum(proportional(member.pid) or 0.0 for member in members)
    return TreeSample(resident_mb=exact, processes=len(members), exact=True)


def judge(
    sample: TreeSample, *, limits: MemoryLimits, elapsed_s: float, period_s: float
) -> LimitExceeded | None:
    """Return why a job must be ended now, or None."""
    over = limits.memory_mb is not None and sample.exact and sample.resident_mb > limits.memory_mb
    if over:
        evidence: dict[str, object] = {
            "requested_mb": limits.requested_mb,
            "limit_mb": limits.memory_mb,
            "reached_mb": round(sample.resident_mb, 1),
            "processes": sample.processes,
            "after_s": round(elapsed_s, 2),
            "sampled_every_s": period_s,
        }
        return LimitExceeded(verdict=JobVerdict.OUT_OF_MEMORY, evidence=evidence)
    if limits.walltime_s is not None and elapsed_s > limits.walltime_s:
        # Rounded up: what was ended for passing its limit shall not read as if it had only met it.
        evidence = {"requested_s": limits.walltime_s, "reached_s": ceil(elapsed_s * 100) / 100}
        return LimitExceeded(verdict=JobVerdict.WALLTIME, evidence=evidence)
    return None


def kernel_kill(
    *, kills: int, peak_mb: float | None, limits: MemoryLimits, elapsed_s: float
) -> LimitExceeded:
    """Return the finding for a job of which the kernel has killed processes for memory.

    Parameters
    ----------
    kills : `int`
        How many processes of the job's control group were killed.
    peak_mb : `float` or `None`
        The most that was charged to that group, where the kernel tells.
    limits : `MemoryLimits`
        What the job was held to.
    elapsed_s : `float`
        How long it ran.
    """
    evidence: dict[str, object] = {
        "ended_by": "kernel",
        "kernel_memory_kills": kills,
        "requested_mb": limits.requested_mb,
        "limit_mb": limits.memory_mb,
        "reached_mb": peak_mb,
        "after_s": round(elapsed_s, 2),
    }
    return LimitExceeded(verdict=JobVerdict.OUT_OF_MEMORY, evidence=evidence)
