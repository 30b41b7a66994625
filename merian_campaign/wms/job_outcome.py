"""How one job of a submission ended, and the exceptions that carry it through Parsl.

Light on purpose: Parsl's workers import it, and they import nothing of the middleware.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from merian_campaign.domain.execution.journal import JobVerdict

__all__ = [
    "JobFailedError",
    "JobHeldError",
    "JobOutcome",
    "RefusedError",
    "WorkerGoneError",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobOutcome:
    """End of one attempt; fields as in the journal's ``ended`` line."""

    verdict: JobVerdict
    exit: int | None = None
    signal: int | None = None
    evidence: Mapping[str, object] = field(default_factory=dict)
    peak_mb: float | None = None
    cpu_s: float | None = None
    wall_s: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_dict` wrote."""
        return cls(**{**values, "verdict": JobVerdict(values["verdict"])})


class JobFailedError(Exception):
    """A job ended otherwise than well, by its own doing or by the guard's.

    Parameters
    ----------
    job : `str`
        BPS name of the job.
    outcome : `dict` [`str`, object]
        `JobOutcome.as_dict` of its last attempt.
    """

    def __init__(self, job: str, outcome: dict[str, Any]) -> None:
        super().__init__(job, outcome)
        self.job = job
        self.outcome = JobOutcome.from_dict(outcome)

    def __str__(self) -> str:
        how = f"signal {self.outcome.signal}" if self.outcome.signal else f"exit {self.outcome.exit}"
        return f"{self.job}: {self.outcome.verdict} ({how})"


class JobHeldError(Exception):
    """A job was not run because it holds a quantum of the hold list."""


class WorkerGoneError(Exception):
    """The process that ran a job on a node went away; the job itself may be fine."""


class RefusedError(Exception):
    """A supervisor takes no more jobs because its driver is gone or stopping."""
