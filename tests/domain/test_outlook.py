"""When a campaign is expected to end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from merian_campaign.domain.report.outlook import Outlook, StepAhead, outlook
from merian_campaign.domain.report.rows import ProgressRow

NOW = datetime(2026, 11, 22, 18, tzinfo=UTC)


def progress(*by_hour: int) -> list[ProgressRow]:
    """Executions of the last hours, the latest at the end."""
    first = NOW - timedelta(hours=len(by_hour))
    return [
        ProgressRow(start=first + timedelta(hours=i), step="step3", succeeded=number, failed=0)
        for i, number in enumerate(by_hour)
    ]


def told(*steps: StepAhead, rows: list[ProgressRow], moves: bool = True) -> Outlook:
    return outlook(steps, rows, span_seconds=3600, now=NOW, moves=moves)


def test_it_is_a_range_of_what_is_left_at_the_rates_so_far() -> None:
    step = StepAhead(step="step3", open=600, unpredicted=0, typical=100.0)
    found = told(step, rows=progress(*[50] * 18, *[100] * 6))
    # 100 an hour over the last six, 62.5 over all 24.
    assert found.low == NOW + timedelta(hours=6)
    assert found.high == NOW + timedelta(hours=9.6)
    assert (found.words, found.per_hour, found.foreseen) == ("", 100.0, 0)


def test_groups_without_a_graph_count_as_the_others_of_their_step() -> None:
    known = StepAhead(step="step3", open=0, unpredicted=3, typical=100.0)
    found = told(known, rows=progress(*[100] * 24))
    assert found.foreseen == 300
    assert found.low == found.high == NOW + timedelta(hours=3)


def test_a_step_of_unknown_size_is_named() -> None:
    found = told(
        StepAhead(step="step3", open=100, unpredicted=0, typical=100.0),
        StepAhead(step="step4", open=0, unpredicted=5, typical=None),
        rows=progress(*[100] * 24),
    )
    assert "step4" in found.words
    assert found.low == NOW + timedelta(hours=1)


def test_where_there_is_nothing_to_tell_it_says_why() -> None:
    step = StepAhead(step="step3", open=100, unpredicted=0, typical=100.0)
    done = StepAhead(step="step3", open=0, unpredicted=0, typical=100.0)
    for found, words in (
        (told(done, rows=progress(5)), "nothing is left"),
        (told(step, rows=progress(5), moves=False), "nothing runs"),
        (told(step, rows=[]), "too little"),
    ):
        assert (found.low, found.high) == (None, None)
        assert words in found.words
