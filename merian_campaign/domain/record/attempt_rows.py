"""Attempts as the tracking database hands them back."""

from __future__ import annotations

from dataclasses import dataclass

from merian_campaign.domain.execution.attempt_facts import AttemptFacts

__all__ = ["AttemptEvidence", "AttemptRow", "FailureRow"]


@dataclass(frozen=True, kw_only=True)
class AttemptEvidence(AttemptFacts):
    """What is kept of an attempt besides: what it used, and what a verdict on it rests on.

    Parameters
    ----------
    exception_bases : `str` or `None`
        Full names of the exception's class and its bases, nearest first, a blank between them.
    inputs, cpu_seconds, cores : `int`, `float`, `int`, or `None`
        Input datasets, processor time, cores asked for where above one.
    certainty : `str` or `None`
        How sure the verdict is (`~merian_campaign.domain.failures.certainty.Certainty`).
    slurm_job : `str` or `None`
        The block in which it ran.
    log_tail : `str` or `None`
        The last lines of its log.
    """

    exception_bases: str | None = None
    inputs: int | None = None
    cpu_seconds: float | None = None
    cores: int | None = None
    certainty: str | None = None
    slurm_job: str | None = None
    log_tail: str | None = None


@dataclass(frozen=True, kw_only=True)
class FailureRow(AttemptEvidence):
    """A quantum that has not succeeded, or needed more than one attempt, for `failures` and `log`."""

    quantum_id: int
    step: str
    group: str
    task: str
    data_id: str
    state: str
    attempts: int
    submission: int | None
    blocked_by: int | None = None


@dataclass(frozen=True, kw_only=True)
class AttemptRow(AttemptEvidence):
    """One stored attempt of one quantum, for `show` and `failures --attempts`."""

    task: str
    data_id: str
    submission: int
    try_number: int
    state: str
