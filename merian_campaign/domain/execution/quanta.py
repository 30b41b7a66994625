"""Quanta and their attempts as plain values.

A quantum is one task on one data ID. Its identity is (group, task label, canonical data ID): every
quantum graph mints new UUIDs, so a UUID names an attempt, never a quantum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, get_type_hints

from merian_campaign.domain.states import QuantumState, Verdict

type DataIdValue = int | str

COLUMN_DIMENSIONS = (
    "instrument",
    "visit",
    "exposure",
    "detector",
    "tract",
    "patch",
    "band",
    "physical_filter",
)
"""Dimensions that have a column of their own in the tracking database."""

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
class AttemptFacts:
    """How an execution went and ended. Stored of every attempt, and of a quantum for its last one.

    Columns, queries and rows of the tracking database are made from these fields.

    Parameters
    ----------
    verdict : `str` or `None`
        Why it failed (`Verdict`); `None` unless it failed.
    evidence : `str`
        What the verdict rests on, in words; empty when there is none.
    exception_type, exception_message : `str` or `None`
        From the quantum's own log.
    exit_code, signal : `int` or `None`
        Of the process that ran it.
    peak_mb, requested_mb : `int` or `None`
        Memory in MiB.
    started, ended : `datetime.datetime` or `None`
        UTC.
    host, log_path : `str` or `None`
        Where it ran, and the log to read.
    rule : `str` or `None`
        The failure rule that the verdict is by; `None` when it is by none.
    remedy : `str` or `None`
        What that rule has done about it; `None` for what the verdict has.
    """

    verdict: str | None = None
    evidence: str = ""
    exception_type: str | None = None
    exception_message: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    peak_mb: int | None = None
    requested_mb: int | None = None
    started: datetime | None = None
    ended: datetime | None = None
    host: str | None = None
    log_path: str | None = None
    rule: str | None = None
    remedy: str | None = None


ATTEMPT_FACTS: Mapping[str, Any] = get_type_hints(AttemptFacts)
"""Their names and types, in order."""


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


COUNTED_STATES = tuple(state for state in QuantumState if state is not QuantumState.SUPERSEDED)
"""States of the quanta that a group has in its current generation."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of a group's quanta by state; derived, never stored as truth.

    Those that only an earlier generation of the group had are not among them.
    """

    pending: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    blocked: int = 0
    unknown: int = 0

    @property
    def expected(self) -> int:
        """All predicted quanta."""
        return self.pending + self.running + self.succeeded + self.failed + self.blocked + self.unknown

    @property
    def open(self) -> int:
        """Quanta that have not succeeded."""
        return self.expected - self.succeeded

    def __add__(self, other: Counts) -> Counts:
        """Sum state by state."""
        return Counts(**{state.value: self.of(state) + other.of(state) for state in COUNTED_STATES})

    def of(self, state: QuantumState) -> int:
        """Return the number in one state."""
        number: int = getattr(self, state.value)
        return number


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
