"""What the guard that ran a quantum says of its end, in words."""

from __future__ import annotations

from merian_campaign.domain.execution.journal import EXCEPTION_BASES, JournalRecord
from merian_campaign.domain.safe_text.text import one_line

__all__ = ["guard_words", "refused"]

_LONGEST_WORDS = 2000

_AT_LIMIT = 0.95
"""Whoever the kernel killed below this part of its own limit met that of its node or block."""


def refused(record: JournalRecord | None) -> bool:
    """Say whether the job was refused because no node can ever run it."""
    return record is not None and "refused" in record.evidence


def guard_words(record: JournalRecord) -> str:
    """Say what the guard measured; its own keys in a sentence, others as they are."""
    evidence = record.evidence
    reached, limit = evidence.get("reached_mb"), evidence.get("limit_mb")
    if isinstance(reached, int | float) and isinstance(limit, int | float) and reached > _AT_LIMIT * limit:
        return f"reached {reached:.0f} MB, over the limit of {limit:.0f} MB"
    if record.verdict == "out_of_memory":
        return _killed_words(record, reached=reached)
    told = {name: value for name, value in evidence.items() if name != EXCEPTION_BASES}
    return one_line(", ".join(f"{name} {value}" for name, value in told.items()), limit=_LONGEST_WORDS)


def _killed_words(record: JournalRecord, *, reached: object) -> str:
    """Say who ended a job for its memory when that was not at the job's own limit."""
    words = "Slurm" if record.evidence.get("ended_by") == "slurm" else "the kernel"
    words += " ended it for its memory"
    peak = reached if isinstance(reached, int | float) else record.peak_mb
    if peak:
        words += f" at {peak:.0f} MB"
    if record.requested_mb:
        words += f", it had asked for {record.requested_mb:.0f} MB"
    if record.slurm_job:
        words += f"; it ran in Slurm job {record.slurm_job} on {record.slurm_node}"
    return words
