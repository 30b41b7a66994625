"""Numbers of quanta by state. By itself, for `status` starts with it."""

from __future__ import annotations

from dataclasses import dataclass

from merian_campaign.domain.states import QuantumState

__all__ = ["COUNTED_STATES", "Counts"]

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
        # In full, for a board adds up thousands.
        return Counts(
            pending=self.pending + other.pending,
            running=self.running + other.running,
            succeeded=self.succeeded + other.succeeded,
            failed=self.failed + other.failed,
            blocked=self.blocked + other.blocked,
            unknown=self.unknown + other.unknown,
        )

    def of(self, state: QuantumState) -> int:
        """Return the number in one state."""
        number: int = getattr(self, state.value)
        return number
