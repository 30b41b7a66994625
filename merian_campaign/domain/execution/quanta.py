"""Quanta and their attempts as plain values.

A quantum is one task on one data ID. Its identity is (group, task label, canonical data ID): every
quantum graph mints new UUIDs, so a UUID names an attempt, never a quantum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from merian_campaign.domain.execution.attempt_facts import ATTEMPT_FACTS, COLUMN_DIMENSIONS, AttemptFacts
from merian_campaign.domain.states import QuantumState, Verdict

__all__ = [
    "ATTEMPT_FACTS",
    "COLUMN_DIMENSIONS",
    "INTEGER_DIMENSIONS",
    "Attempt",
    "AttemptFacts",
    "DataIdValue",
    "HeldQuantum",
    "Judgement",
    "OpenQuanta",
    "Quantum",
    "canonical_data_id",
    "changed_attempt",
]

type DataIdValue = int | str

INTEGER_DIMENSIONS = frozenset({"visit", "exposure", "detector", "tract", "patch", "day_obs"})


def canonical_data_id(required: Mapping[str, DataIdValue]) -> str:
    """Return the canonical text of a data ID, e.g. ``detector=1,instrument=DECam,visit=971666``.

    Parameters
    ----------
    required : `~collections.abc.Mapping`
        The required dimensions only; implied ones (band of a visit ...) would make two names for one
        data ID.

    Returns
    -------
    key : `str`
        ``name=value`` pairs sorted by name.
    """
    return ",".join(f"{name}={required[name]}" for name in sorted(required))


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict with what it rests on, and whether it counts against the quantum's budget.

    With the failure rule that it is by and what that has done about it, when it is by one.
    """

    verdict: Verdict
    evidence: str
    charged: bool
    rule: str | None = None
    remedy: str | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt(AttemptFacts):
    """One execution of one quantum.

    Parameters
    ----------
    try_number : `int`
        1-based within its submission.
    state : `QuantumState`
        SUCCEEDED, FAILED, BLOCKED or UNKNOWN.
    uuid : `str` or `None`
        The quantum's UUID in that graph.
    charged : `bool`
        Whether it counts against the quantum's budget of attempts.
    exception_bases : `tuple` [`str`, ...]
        Full names of the exception's class and its bases, nearest first; empty when they are not known.
    inputs : `int` or `None`
        Datasets that its graph has as its inputs.
    cpu_seconds : `float` or `None`
        Processor time that it used.
    cores : `int` or `None`
        Cores that it asked for, where these are more than one.
    certainty : `str`
        How sure the verdict is (`Certainty`); empty unless it failed.
    slurm_job : `str` or `None`
        The Slurm job, a block, in which it ran.
    log_tail : `str` or `None`
        The last lines of the log of one that failed.
    """

    try_number: int
    state: QuantumState
    verdict: Verdict | None = None
    uuid: str | None = None
    charged: bool = True
    exception_bases: tuple[str, ...] = ()
    inputs: int | None = None
    cpu_seconds: float | None = None
    cores: int | None = None
    certainty: str = ""
    slurm_job: str | None = None
    log_tail: str | None = None


def changed_attempt(attempt: Attempt, **changes: Any) -> Attempt:  # noqa: ANN401 - as of the fields
    """Return an attempt with other values of some fields, as `dataclasses.replace` in a sixth of its time."""
    made = object.__new__(Attempt)
    vars(made).update(vars(attempt), **changes)
    return made


@dataclass(frozen=True, kw_only=True)
class Quantum:
    """A quantum as one submission's graph and harvest show it.

    Parameters
    ----------
    task : `str`
        Task label.
    data_id : `str`
        Canonical data ID (`canonical_data_id`).
    dimensions : `~collections.abc.Mapping`
        Values of `COLUMN_DIMENSIONS` that the data ID has, implied ones included.
    state : `QuantumState`
        As far as this submission shows it.
    caveats : `str`
        Codes of the middleware's success caveats, e.g. ``N`` (no work found); empty for none.
    attempts : `tuple` [`Attempt`, ...]
        In order; empty while it has not run.
    blocked_by : `tuple` [`str`, `str`] or `None`
        Task and data ID of the quantum that it stands behind, if it is blocked: the first one upstream that
        was not blocked itself and did not succeed.
    tolerated : `bool`
        Whether it failed and its step named its data ID as one that may be lost.
    """

    task: str
    data_id: str
    dimensions: Mapping[str, DataIdValue]
    state: QuantumState
    caveats: str = ""
    attempts: tuple[Attempt, ...] = ()
    blocked_by: tuple[str, str] | None = None
    tolerated: bool = False


@dataclass(frozen=True, kw_only=True)
class OpenQuanta:
    """Quanta of one group that have not succeeded, summed over what a retry decision depends on.

    Parameters
    ----------
    task : `str`
        Task label.
    state : `QuantumState`
        Current state.
    verdict : `Verdict` or `None`
        Of the last attempt.
    charged_attempts : `int`
        Attempts that count against the budget.
    memory_attempts : `int`
        Attempts whose verdict was OUT_OF_MEMORY.
    requested_mb : `int` or `None`
        Memory request of the last attempt, MiB.
    number : `int`
        How many quanta these values hold for.
    peak_mb : `int` or `None`
        The most memory that one of them was seen to use in its last attempt, MiB.
    exception_type, exception_message : `str`
        Of one of them, for a reason in words.
    tolerated : `bool`
        Whether their step named their data IDs, or those of what blocks them, as such that may be lost.
    behind_task : `str` or `None`
        Of blocked ones, the task of what they stand behind.
    behind_verdict : `Verdict` or `None`
        Its verdict.
    rule, remedy : `str` or `None`
        The failure rule that the verdict is by, and what it has done about it.
    seconds : `float` or `None`
        The longest that one of them ran in its last attempt.
    hosts : `tuple` [`str`, ...]
        Where they ran, as far as a remedy leaves nodes out.
    of : `int`
        All quanta of the task in the group.
    """

    task: str
    state: QuantumState
    verdict: Verdict | None
    charged_attempts: int
    memory_attempts: int
    requested_mb: int | None
    number: int
    peak_mb: int | None = None
    exception_type: str = ""
    exception_message: str = ""
    tolerated: bool = False
    behind_task: str | None = None
    behind_verdict: Verdict | None = None
    rule: str | None = None
    remedy: str | None = None
    seconds: float | None = None
    hosts: tuple[str, ...] = ()
    of: int = 0


@dataclass(frozen=True, kw_only=True)
class HeldQuantum:
    """A quantum that must not be run again: a retry would give the same failure."""

    task: str
    data_id: str
    dimensions: Mapping[str, DataIdValue] = field(default_factory=dict)
