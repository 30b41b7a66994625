"""What a driver says of its run is held against what all else tells of it."""

from __future__ import annotations

import pytest

from merian_campaign.domain.execution.runs import RunEnd, RunResult, believed


@pytest.mark.parametrize(
    ("claimed", "quanta", "taken"),
    [
        (RunEnd.RAN, 0, RunEnd.FAILED),
        (RunEnd.RAN, 1, RunEnd.RAN),
        (RunEnd.EMPTY, 0, RunEnd.EMPTY),
        (RunEnd.EMPTY, 3, RunEnd.LOST),
        (RunEnd.FAILED, 0, RunEnd.FAILED),
        (RunEnd.CANCELLED, 2, RunEnd.CANCELLED),
    ],
)
def test_a_claim_that_nothing_bears_out_is_not_taken(claimed: RunEnd, quanta: int, taken: RunEnd) -> None:
    found = believed(RunResult(end=claimed, reason=""), quanta=quanta)
    assert found.end is taken
    assert bool(found.reason) == (claimed is not taken)
