"""How a run ended, in words."""

from __future__ import annotations

from merian_campaign.domain.execution.runs import RunEnd, RunResult


def test_what_a_run_failed_of_is_told_before_what_its_collecting_failed_of() -> None:
    failed = RunResult(end=RunEnd.FAILED, reason="bps submit failed: no worker", exit_code=11)
    found = failed.uncollected("ingest failed: KeyError: 'x'")
    assert found.reason == "bps submit failed: no worker; then ingest failed: KeyError: 'x'"
    assert (found.end, found.exit_code) == (RunEnd.FAILED, 11)
    for end in (RunEnd.RAN, RunEnd.CANCELLED, RunEnd.LOST):
        ended = RunResult(end=end, reason="collected")
        assert ended.uncollected("ingest failed: x").reason == "ingest failed: x"
