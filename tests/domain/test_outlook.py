"""When a campaign is expected to end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from merian_campaign.domain.report.outlook import Outlook, StepAhead, outlook, span_words
from merian_campaign.domain.report.rows import ProgressRow
from merian_campaign.domain.resources.foreseen import Foreseen, Sized, foreseen

NOW = datetime(2026, 11, 22, 18, tzinfo=UTC)


def progress(*by_hour: int) -> list[ProgressRow]:
    """Executions of the last hours, the latest at the end."""
    first = NOW - timedelta(hours=len(by_hour))
    return [
        ProgressRow(start=first + timedelta(hours=i), step="step3", succeeded=number, failed=0)
        for i, number in enumerate(by_hour)
    ]


def ahead(
    step: str, *, left: int = 0, groups: int = 0, size: int | None = 100, hours_each: float | None = None
) -> StepAhead:
    """What is left of a step: open quanta, and groups without a graph."""
    come = None if size is None else groups * size
    found = Foreseen(groups=groups, quanta=come, least=come or 0, most=come or 0)
    return StepAhead(step=step, open=left, foreseen=found, hours_each=hours_each)


def told(*steps: StepAhead, rows: list[ProgressRow], moves: bool = True) -> Outlook:
    return outlook(steps, rows, span_seconds=3600, now=NOW, moves=moves)


def test_it_is_a_range_of_what_is_left_at_the_rates_so_far() -> None:
    step = ahead("step3", left=600)
    found = told(step, rows=progress(*[50] * 18, *[100] * 6))
    # 100 an hour over the last six, 62.5 over all 24.
    assert found.low == NOW + timedelta(hours=6)
    assert found.high == NOW + timedelta(hours=9.6)
    assert (found.words, found.per_hour, found.foreseen) == ("", 100.0, 0)


def test_groups_without_a_graph_count_as_the_others_of_their_step() -> None:
    known = ahead("step3", groups=3)
    found = told(known, rows=progress(*[100] * 24))
    assert found.foreseen == 300
    assert found.low == found.high == NOW + timedelta(hours=3)


def test_a_step_of_unknown_size_is_named() -> None:
    found = told(
        ahead("step3", left=100),
        ahead("step4", groups=5, size=None),
        rows=progress(*[100] * 24),
    )
    assert "step4" in found.words
    assert found.low == NOW + timedelta(hours=1)
    # Nobody knows how much comes after: that there is a latest end would be made up.
    assert found.high is None
    assert found.unsized == ("step4",)


def test_of_many_steps_of_unknown_size_the_first_are_named() -> None:
    rest = [ahead(f"step{n}", groups=1, size=None) for n in range(4, 9)]
    found = told(ahead("step3", left=100), *rest, rows=progress(*[100] * 24))
    assert found.words.startswith("step4, step5, step6 and 2 more are not counted")
    assert len(found.unsized) == 5


def test_an_end_is_told_as_exactly_as_it_is_near() -> None:
    hour, day = timedelta(hours=1), timedelta(days=1)
    for low, high, words in (
        (NOW + hour, NOW + 2 * hour, "19:00-20:00"),
        (NOW + hour, NOW + hour, "19:00"),
        (NOW + hour, None, "after 19:00"),
        (NOW + day, NOW + 4 * day, "23-26 Nov"),
        (NOW + day, NOW + day, "23 Nov"),
        (NOW + day, None, "after 23 Nov"),
        (NOW + day, NOW + 20 * day, "23 Nov - 12 Dec"),
        (None, None, ""),
    ):
        assert span_words(NOW, low, high).replace("\N{EN DASH}", "-") == words


def test_what_runs_long_counts_for_more() -> None:
    # An hour each for 600, and six minutes each for what was done lately: ten at a time.
    found = told(
        ahead("step3", hours_each=0.1), ahead("step4", left=600, hours_each=1.0), rows=progress(*[100] * 24)
    )
    assert found.low == found.high == NOW + timedelta(hours=60)
    assert found.per_hour == 100


def test_steps_end_in_their_order_and_one_that_never_ran_widens_the_range() -> None:
    found = told(
        ahead("step3", left=100, hours_each=1.0), ahead("step4", left=100, hours_each=3.0),
        ahead("step5", left=100), rows=progress(*[100] * 24),
    )  # fmt: skip
    assert [(one.step, one.low, one.high) for one in found.steps] == [
        ("step3", NOW + timedelta(hours=1), NOW + timedelta(hours=1)),
        ("step4", NOW + timedelta(hours=4), NOW + timedelta(hours=4)),
        ("step5", NOW + timedelta(hours=5), NOW + timedelta(hours=7)),
    ]
    assert (found.low, found.high) == (NOW + timedelta(hours=5), NOW + timedelta(hours=7))


def test_a_step_of_which_nothing_will_run_has_no_end() -> None:
    # What is left of it needs a person, or is behind what does.
    found = told(ahead("step3"), ahead("step4", left=100), ahead("step5"), rows=progress(*[100] * 24))
    hour = NOW + timedelta(hours=1)
    assert [(one.step, one.low, one.high) for one in found.steps] == [
        ("step3", None, None), ("step4", hour, hour), ("step5", None, None),
    ]  # fmt: skip
    assert (found.low, found.high) == (hour, hour)


def test_groups_without_a_graph_are_estimated_from_their_likes() -> None:
    sized = [
        ("step3", "done", 100),
        ("step3", "running", 300),
        ("step3", "blocked", 0),
        ("step3", "waiting", 0),
    ]
    sized += [("step3", "done", 0), ("step4", "waiting", 0), ("step5", "done", 0)]
    found = foreseen(Sized(step=step, state=state, expected=number) for step, state, number in sized)
    assert found["step3"] == Foreseen(groups=2, quanta=400, least=200, most=600)
    assert found["step4"].quanta is None
    assert found["step5"] == Foreseen(groups=0, quanta=0, least=0, most=0)


def test_where_there_is_nothing_to_tell_it_says_why() -> None:
    step = ahead("step3", left=100)
    done = ahead("step3")
    for found, words in (
        (told(done, rows=progress(5)), "nothing is left"),
        (told(step, rows=progress(5), moves=False), "nothing runs"),
        (told(step, rows=[]), "too little"),
    ):
        assert (found.low, found.high) == (None, None)
        assert words in found.words
