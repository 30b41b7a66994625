"""A group on the status board, and how reasons begin. By itself, for `status` starts with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from merian_campaign.domain.execution.counts import Counts

STALE = "stale: "
IGNORES = "ignores "
"""How the reason of a group begins that is done for older data and stays so."""


AFTERBURNER: Final = "afterburner: "
"""How the reason of a submission begins that runs what is left, and nothing that is new."""


EXPIRED: Final = "accepted until "
"""How the reason of a group begins that a person had accepted for a time, which is over."""


@dataclass(frozen=True, kw_only=True)
class BoardRow:
    """One group for the status board: cheap to read, from the rollup."""

    step: str
    group: str
    ordinal: int
    tract: int | None
    state: str
    reason: str
    submissions: int
    counts: Counts
    stack: str = ""
    no_graph: bool = False
    action: bool = False
    remade: str | None = None
    """Why its next generation is being made while readers see an older one; `None` when none is."""

    @property
    def stale(self) -> bool:
        """Whether it is done for older data than there are now, and stays so."""
        return self.state == "done" and self.reason.startswith(STALE)

    @property
    def empty(self) -> bool:
        """Whether it is done because there was nothing to do: its quantum graph was empty."""
        return self.no_graph and self.state == "done" and not self.counts.expected
