"""`failures`: causes of a campaign, those first that stand in the way of most."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from merian_campaign.cli.commands_inspect import fitting
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.report.causes import causes, failure_totals
from merian_campaign.domain.report.numbers import Report
from merian_campaign.domain.report.rows import CauseRow, CauseRows, ReportGroup, ReportRows
from merian_campaign.reports.causes import causes_view
from merian_campaign.store.reading.reader import Reader

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def group(number: int, *, step: int, tract: int | None, state: str) -> ReportGroup:
    return ReportGroup(
        id=number, step=f"step{step}", group=f"tract{tract}" if tract else "all", ordinal=step,
        dimension="tract" if tract else "none", values=(tract,) if tract else (), state=state, reason="",
        accepted=False, submissions=1, empty_graph=False, updated_at=NOW,
    )  # fmt: skip


def cause(task: str, *group_ids: int, quanta: int, behind: int = 0, verdict: str = "algorithm") -> CauseRow:
    kind = f"lsst.made.{task.title()}Error"
    return CauseRow(
        step="step1", ordinal=1, task=task, verdict=verdict, exception=kind,
        quanta=quanta, behind=behind, group_ids=group_ids, tracts=len(group_ids), patches=behind,
        last_ended=NOW, example=group_ids[0], group="tract1", data_id="tract=1,patch=4", evidence="a rule",
        message="no stars\nat all", log_path=None,
    )  # fmt: skip


GROUPS = (
    group(1, step=1, tract=1, state="needs_review"),
    group(2, step=1, tract=2, state="done"),
    group(3, step=1, tract=3, state="needs_review"),
    group(4, step=2, tract=1, state="blocked"),
    group(5, step=2, tract=2, state="running"),
    group(6, step=2, tract=3, state="blocked"),
    group(7, step=3, tract=None, state="blocked"),
)
ROWS = CauseRows(
    campaign="made",
    groups=GROUPS,
    counts={one.id: Counts(blocked=10 * one.id) for one in GROUPS},
    causes=(
        cause("isr", 2, quanta=900),
        cause("warp", 1, quanta=5, behind=10),
        cause("measure", 1, 3, quanta=2, behind=20),
    ),
    unpointed={3: 20},
    failed_attempts=2000,
)


def written(rows: CauseRows, *, most: int = 10, log: tuple[str, ...] = ()) -> str:
    lines = causes(rows)
    screen = Console(width=80)
    logs = {lines[0].example: log}
    with screen.capture() as text:
        screen.print(causes_view(rows.campaign, failure_totals(rows, lines), lines[:most], logs))
    return text.get()


def test_what_holds_most_comes_first_and_what_was_accepted_last() -> None:
    lines = causes(ROWS)
    assert [(one.task, one.held, one.held_tracts, one.blocked, one.losses) for one in lines] == [
        ("measure", 3, 2, 40, 0),
        ("warp", 2, 1, 10, 0),
        ("isr", 0, 0, 0, 900),
    ]


def test_totals_count_once_what_two_causes_block() -> None:
    totals = failure_totals(ROWS, causes(ROWS))
    assert (totals.quanta, totals.blocked, totals.groups, totals.asking, totals.held) == (907, 60, 3, 2, 3)
    assert not totals.one_cause


def test_a_cause_is_told_with_example_log_and_next_command() -> None:
    text = written(ROWS, most=1, log=("Traceback", "MeasureError: no stars"))
    for words in (
        "3 causes: 907 quanta failed in 3 groups",
        "40 quanta blocked behind, 20 patches incomplete, holds 3 later groups of 2 tracts",
        "tract1 tract=1,patch=4:",
        "MeasureError: no stars",
        "merian-campaign accept made step1/tract1",
        "and 2 more causes: merian-campaign failures made --all",
    ):
        assert words in " ".join(text.split()), words


@pytest.mark.parametrize(("height", "shown"), [(10, 3), (24, 5), (40, 9), (200, 10)])
def test_on_a_terminal_as_many_are_shown_as_fit(height: int, shown: int) -> None:
    made = replace(ROWS, causes=tuple(cause(f"task{n}", 1, quanta=n + 1) for n in range(10)))
    lines = causes(made)
    totals = failure_totals(made, lines)
    screen = Console(width=80, height=height, force_terminal=True)
    found = fitting(screen, lambda part: causes_view("made", totals, part, {}), lines, everything=False)
    with screen.capture() as text:
        screen.print(found)
    assert text.get().count("no stars") == shown
    assert len(text.get().splitlines()) < max(height, 16)


def test_one_cause_everywhere_is_one_line() -> None:
    ids = (1, 2, 3)
    rows = replace(
        ROWS, causes=(cause("isr", *ids, quanta=300, verdict="infrastructure"), cause("warp", 1, quanta=1))
    )
    text = " ".join(written(rows).split())
    assert "One cause stands behind 99% of them, in 3 groups: isr infrastructure IsrError no stars" in text


def test_as_the_report_has_them_and_chosen(url: str, report: Report, rows: ReportRows) -> None:
    with Reader(url) as reader:
        whole = reader.causes("wide", at=rows.at)
        assert causes(whole) == report.causes
        assert sum(one.blocked for one in whole.counts.values()) == sum(one.blocked for one in report.groups)
        assert whole.failed_attempts >= sum(one.quanta for one in report.causes)
        some = report.causes[0]
        tract = next(
            one.tracts[0] for one in whole.groups if one.step == some.step and one.group == some.group
        )
        found = reader.causes(
            "wide", at=rows.at, step=some.step, task=some.task, verdict=some.verdict, tract=tract
        )
    assert {(one.step, one.task, one.verdict) for one in found.causes} == {
        (some.step, some.task, some.verdict)
    }
    assert all(
        set(one.group_ids) <= {g.id for g in whole.groups if tract in g.tracts} for one in found.causes
    )
    assert len(written(whole).splitlines()) <= 70
