"""Batch scripts of Slurm and what ``sbatch`` answers: how values are quoted, what its words mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from merian_campaign.domain.safe_text.text import clean

__all__ = ["SbatchRefusal", "SubmitResult", "answer_of", "directive", "refusal_of", "sbatch_words"]


_JOB = re.compile(r"^\s*(?:Submitted batch job )?(\d+)(?:;\S*| on cluster \S+)?\s*$", re.MULTILINE)


def directive(name: str, value: object) -> str:
    """Return a line of a batch script that sets an option, its value quoted where it must be.

    Raises
    ------
    ValueError
        Raised if the value has more than one line: the rest would be bash.
    """
    text = str(value)
    if "\n" in text or "\r" in text:
        raise ValueError(f"#SBATCH --{name}: a value of one line is needed, found {text!r}")
    if re.search(r"""[\s\\\\"'#]""", text):
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"#SBATCH --{name}={text}"


@dataclass(frozen=True, kw_only=True)
class SubmitResult:
    """What ``sbatch`` answered: an id, a refusal for good or for now, or nothing to rely on.

    The others are empty. After ``unsure`` the job may exist or not: only a look at the queue, by its name,
    tells.
    """

    job_id: str = ""
    refused: str = ""
    deferred: str = ""
    unsure: str = ""


class SbatchRefusal(StrEnum):
    """What it means that ``sbatch`` failed."""

    FINAL = "final"
    """Slurm will never take a job like this: account, partition, limits on its size."""
    FOR_NOW = "for_now"
    """No job came of it, and the same one may be taken later: too many are in the queue, or a partition is
    closed."""
    UNSURE = "unsure"
    """No answer, or none that says anything: a job may have come of it."""


_UNSURE = (
    "unable to contact", "connection refused", "connection reset", "communication connection failure",
    "timed out", "zero bytes were transmitted", "transport endpoint is not connected", "no route to host",
    "resource temporarily unavailable", "backup controller", "in standby mode", "unable to establish",
    "protocol authentication error", "slurmctld", "cannot allocate memory", "try again",
)  # fmt: skip
_FOR_NOW = (
    # AssocMaxSubmitJobLimit, AssocGrpSubmitJobsLimit, QOSMaxSubmitJobPerUserLimit ...
    "submitjob", "maxjobcount", "max job count", "temporarily unable to accept job",
    "partition not available (inactive or drain)",
)  # fmt: skip


def refusal_of(text: str) -> SbatchRefusal:
    """Return what a failed ``sbatch`` with these words means.

    Several lines may say several things. No answer to the last of its tries decides before a refusal of an
    earlier one, and the name of a limit before the general words after it.
    """
    words = text.lower()
    if not words.strip():
        return SbatchRefusal.UNSURE
    if any(phrase in words for phrase in _UNSURE):
        return SbatchRefusal.UNSURE
    return SbatchRefusal.FOR_NOW if any(phrase in words for phrase in _FOR_NOW) else SbatchRefusal.FINAL


def sbatch_words(text: str, *, who: str = "sbatch") -> str:
    """Return what ``sbatch`` (or another command of Slurm's) said, on one line, without its own prefix."""
    lines = [
        line.strip().removeprefix(f"{who}: ").removeprefix("error: ") for line in clean(text).splitlines()
    ]
    return "; ".join(dict.fromkeys(line for line in lines if line))[:600] or f"{who} said nothing"


def answer_of(*, status: int, output: str, errors: str) -> SubmitResult:
    """Return what ``sbatch --parsable`` answered, from its exit status and what it printed."""
    # Wrappers print words of their own, before, after and in place of what was asked for.
    found = _JOB.findall(output)
    words = sbatch_words(errors or output)
    if status == 0:
        return SubmitResult(job_id=found[-1]) if found else SubmitResult(unsure=words)
    match refusal_of(errors):
        case SbatchRefusal.FINAL:
            return SubmitResult(refused=words)
        case SbatchRefusal.FOR_NOW:
            return SubmitResult(deferred=words)
    return SubmitResult(unsure=words)
