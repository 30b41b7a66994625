"""Every number of a report equals an independent count."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime

import psycopg2
import pytest
from report_help import MADE, number, rows_of

from merian_campaign.cli.watch import Forecast
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.report.numbers import Report, report_of
from merian_campaign.domain.report.outlook import span_words
from merian_campaign.domain.report.rows import ReportRows
from merian_campaign.services.expected_end import expected_end
from merian_campaign.store.reading import report_queries
from merian_campaign.store.reading.reader import Reader
from merian_campaign.store.store import PostgresStore

type Connection = psycopg2.extensions.connection

ALL = """
SELECT q.id, 'succeeded' AS state, q.started, q.ended, q.peak_mb, q.requested_mb, q.task, q.group_id
FROM quantum q WHERE q.first_try_submission_id = q.submission_id
UNION ALL
SELECT q.id, a.state, a.started, a.ended, a.peak_mb, a.requested_mb, q.task, q.group_id
FROM quantum_attempt a JOIN quantum q ON q.id = a.quantum_id WHERE a.state <> 'blocked'
"""


def test_the_headline(report: Report, sql: Connection) -> None:
    head = report.headline
    counted = dict(rows_of(sql, "SELECT state, count(*) FROM quantum GROUP BY state"))
    assert head.expected == sum(counted.values()) == number(sql, "SELECT count(*) FROM quantum_status")
    assert (head.succeeded, head.failed, head.blocked) == tuple(
        counted.get(state, 0) for state in ("succeeded", "failed", "blocked")
    )
    assert head.open == head.expected - head.succeeded - head.failed - head.blocked
    states = dict(rows_of(sql, 'SELECT state, count(*) FROM "group" GROUP BY state'))
    assert (head.done, head.running, head.needs_you) == tuple(
        states.get(state, 0) for state in ("done", "running", "needs_review")
    )
    assert head.groups == sum(states.values())
    assert head.needs_you
    releasable = """SELECT count(*) FROM (SELECT selection_values FROM "group"
        WHERE selection_dimension = 'tract' GROUP BY 1 HAVING bool_and(state = 'done')) AS t"""
    assert head.releasable == number(sql, releasable) > 0
    assert head.executions == number(sql, f"SELECT count(*) FROM ({ALL}) AS e")
    hours = number(sql, f"SELECT sum(extract(epoch FROM ended - started)) / 3600 FROM ({ALL}) AS e")
    assert head.quantum_hours == pytest.approx(float(hours))
    in_blocks = "SELECT sum(extract(epoch FROM ended - started)) / 3600 FROM slurm_job WHERE role = 'block'"
    assert head.block_hours == pytest.approx(float(number(sql, in_blocks)))


@pytest.mark.parametrize("since", [(12, 0, 0), (12, 7, 23), (19, 22, 41)])
def test_changes_since(url: str, sql: Connection, since: tuple[int, int, int]) -> None:
    day, hour, minute = since
    now = MADE.now
    with Reader(url) as reader:
        rows = reader.report("wide", at=now, since=now.replace(day=day, hour=hour, minute=minute))
    report = report_of(rows)
    for state, found in (("=", report.headline.done_since), ("<>", report.headline.failed_since)):
        ended = f"SELECT count(*) FROM ({ALL}) AS e WHERE state {state} 'succeeded' AND ended > %s"
        assert found == number(sql, ended, rows.since) > 0
    moved = """SELECT count(*) FROM (
        SELECT group_id, (array_agg(from_state ORDER BY id))[1] AS first,
               (array_agg(to_state ORDER BY id DESC))[1] AS last
        FROM event WHERE submission_id IS NULL AND to_state IS NOT NULL AND at > %s AND at <= %s
        GROUP BY group_id
    ) AS e WHERE first <> last"""
    assert len(report.changes) == number(sql, moved, rows.since, rows.at) > 0


def test_tracts_and_completeness(report: Report, sql: Connection) -> None:
    found = rows_of(
        sql,
        """SELECT q.tract, g.step, coalesce(q.band, ''), count(*),
                  count(*) FILTER (WHERE q.state = 'succeeded'),
                  count(*) FILTER (WHERE q.caveats <> '' AND q.state = 'succeeded'),
                  count(*) FILTER (WHERE q.state = 'failed'), count(*) FILTER (WHERE q.state = 'blocked'),
                  count(*) FILTER (WHERE q.state <> 'succeeded' AND g.state = 'done')
           FROM quantum q JOIN "group" g ON g.id = q.group_id WHERE q.tract IS NOT NULL GROUP BY 1, 2, 3""",
    )
    lines = {
        (line.tract, line.step, line.band): (
            line.expected, line.succeeded, line.caveats, line.failed, line.blocked, line.accepted,
        )
        for line in report.completeness
        if not line.estimated
    }  # fmt: skip
    assert lines == {row[:3]: row[3:] for row in found}
    by_tract = rows_of(
        sql,
        """SELECT q.tract, count(*), count(*) FILTER (WHERE q.state = 'succeeded'),
                  count(*) FILTER (WHERE q.state = 'failed'), count(*) FILTER (WHERE q.state = 'blocked')
           FROM quantum q WHERE q.tract IS NOT NULL GROUP BY 1 ORDER BY 1""",
    )
    assert [
        (line.tract, line.expected, line.succeeded, line.failed, line.blocked)
        for line in report.tracts
        if line.expected
    ] == by_tract


def test_what_has_no_graph_is_estimated_from_the_other_tracts(rows: ReportRows) -> None:
    step = next(group.step for group in rows.groups if group.tracts)
    first = next(group for group in rows.groups if group.step == step and group.tracts)
    without = tuple(cell for cell in rows.cells if cell.group_id != first.id)
    groups = tuple(replace(group, state="waiting") if group is first else group for group in rows.groups)
    made = report_of(replace(rows, cells=without, groups=groups))
    whole = report_of(rows)

    def of(found: Report, *, tract: int) -> dict[str, tuple[int, int]]:
        return {
            line.band: (line.expected, line.estimated)
            for line in found.completeness
            if line.step == step and line.tract == tract
        }

    mine = of(made, tract=first.tracts[0])
    assert mine
    assert all(expected == estimated > 0 for expected, estimated in mine.values())
    assert set(mine) == {line.band for line in made.completeness if line.step == step}
    assert made.headline.foreseen > whole.headline.foreseen
    (line,) = [one for one in made.tracts if one.tract == first.tracts[0]]
    assert not line.releasable
    assert f"{step} waiting" in line.why
    assert line.foreseen == sum(
        one.estimated for one in made.completeness if one.tract == line.tract and one.step in made.tract_steps
    )
    assert line.foreseen


def test_a_step_of_unknown_size_is_no_part_of_a_percentage(rows: ReportRows) -> None:
    last = [group for group in rows.groups if group.tracts][-1].step
    begun = {group.id for group in rows.groups if group.step == last}
    cells = tuple(cell for cell in rows.cells if cell.group_id not in begun)
    waiting = tuple(replace(one, state="waiting") if one.id in begun else one for one in rows.groups)
    made = report_of(replace(rows, cells=cells, groups=waiting))
    assert made.headline.unsized == (last,)
    assert {one.foreseen for one in made.tracts if one.steps > 1} == {None}
    # Nor one whose tracts nobody knows yet.
    found = tuple(group for group in rows.groups if group.id not in begun)
    made = report_of(replace(rows, cells=cells, groups=found))
    assert made.headline.unsized == (last,)
    assert {one.foreseen for one in made.tracts} == {None}


def test_whether_a_tract_may_be_released_and_why(report: Report, rows: ReportRows) -> None:
    for line in report.tracts:
        here = [group for group in rows.groups if line.tract in group.tracts]
        assert line.releasable == all(group.state == "done" for group in here)
        assert line.why.startswith(f"all {len(here)} steps are done") == line.releasable
        if any(group.state == "needs_review" for group in here):
            assert "needs review: " in line.why
    assert {line.releasable for line in report.tracts} == {True, False}
    # A step whose tracts nobody knows yet has no group, and is to come all the same.
    steps = [*rows.spec.get("steps", []), {"name": "last", "group_by": {"kind": "tract"}}]
    more = report_of(replace(rows, spec={**rows.spec, "steps": steps}))
    assert not any(line.releasable for line in more.tracts)
    assert any(line.why.endswith("last to come") for line in more.tracts)


def test_caveats_are_told_apart(report: Report, sql: Connection) -> None:
    found = rows_of(
        sql, "SELECT caveats, count(*) FROM quantum WHERE state = 'succeeded' AND caveats <> '' GROUP BY 1"
    )
    lines = report.completeness
    kinds = {"N": "no_work", "U": "upstream", "D": "unprocessable", "P": "partial"}
    in_tracts = rows_of(
        sql,
        "SELECT caveats, count(*) FROM quantum"
        " WHERE state = 'succeeded' AND caveats <> '' AND tract IS NOT NULL GROUP BY 1",
    )
    assert found
    for letter, name in kinds.items():
        number_of = sum(n for caveats, n in in_tracts if letter in caveats)
        assert sum(getattr(line, name) for line in lines) == number_of


def test_the_board_of_an_earlier_moment(url: str, rows: ReportRows) -> None:
    then = rows.at.replace(day=10)
    with Reader(url) as reader:
        made = report_of(reader.report("wide", at=then, past=True))
        state, board = reader.board_at("wide", at=then)
        now = {(row.step, row.group): row for row in reader.board("wide")}
        _, board_now = reader.board_at("wide", at=rows.at)
    assert state in {"active", "paused", "cancelled"}
    assert [(row.step, row.group, row.state) for row in board] == [
        (line.step, line.group, line.state) for line in made.groups
    ]
    assert sum(row.counts.succeeded for row in board) == made.headline.succeeded
    for row in board_now:
        assert (row.state, row.counts) == (now[row.step, row.group].state, now[row.step, row.group].counts)


def test_causes(report: Report, sql: Connection) -> None:
    found = rows_of(
        sql,
        """SELECT g.step, q.task, q.verdict, q.exception_type, count(*), count(DISTINCT q.group_id), min(q.id)
           FROM quantum q JOIN "group" g ON g.id = q.group_id WHERE q.state = 'failed' GROUP BY 1, 2, 3, 4""",
    )
    lines = {
        (line.step, line.task, line.verdict, line.exception, line.quanta, line.groups, line.example)
        for line in report.causes
    }
    assert lines == set(found)
    assert found
    for line in report.causes:
        behind = """SELECT count(*) FROM quantum WHERE state = 'blocked' AND group_id IN (
            SELECT q.group_id FROM quantum q JOIN "group" g ON g.id = q.group_id
            WHERE q.state = 'failed' AND g.step = %s AND q.task = %s AND q.verdict = %s
              AND q.exception_type = %s)"""
        key = (line.step, line.task, line.verdict, line.exception)
        assert line.blocked == number(sql, behind, *key)
        assert line.command.startswith("merian-campaign ")


def test_usage_and_progress(report: Report, sql: Connection) -> None:
    found = rows_of(
        sql,
        f"""SELECT g.step, e.task, count(*), count(*) FILTER (WHERE e.state <> 'succeeded'),
                   max(e.requested_mb), percentile_disc(0.5) WITHIN GROUP (ORDER BY e.requested_mb),
                   percentile_disc(0.5) WITHIN GROUP (ORDER BY e.peak_mb), max(e.peak_mb)
            FROM ({ALL}) AS e JOIN "group" g ON g.id = e.group_id GROUP BY 1, 2""",
    )
    assert {
        (
            row.step,
            row.task,
            row.executions,
            row.failed,
            row.requested_mb,
            row.requested_mb_median,
            row.peak_mb_median,
            row.peak_mb,
        )
        for row in report.usage
    } == set(found)
    by_day: Counter[datetime] = Counter()
    for row in report.progress:
        by_day[row.start.replace(hour=0, minute=0)] += row.succeeded
    days = rows_of(
        sql,
        f"""SELECT date_trunc('day', ended, 'UTC'), count(*) FROM ({ALL}) AS e
            WHERE state = 'succeeded' AND ended IS NOT NULL GROUP BY 1""",
    )
    assert dict(by_day) == dict(days)
    done = "SELECT count(*) FROM quantum WHERE state = 'succeeded' AND ended IS NOT NULL"
    assert sum(row.done for row in report.progress) == number(sql, done)


def test_summaries_say_what_every_quantum_says(report: Report, sql: Connection) -> None:
    values = {
        "campaign_id": number(sql, "SELECT id FROM campaign"), "at": report.headline.at, "past": False,
        "span": report.span_seconds,
    }  # fmt: skip
    assert report.span_seconds % 3600 == 0

    def asked(query: str) -> dict[tuple[object, ...], dict[str, object]]:
        with sql.cursor() as cursor:
            cursor.execute(query, values)
            names = [column.name for column in cursor.description or ()]
            return {row[:2]: dict(zip(names[2:], row[2:], strict=True)) for row in cursor.fetchall()}

    assert asked(report_queries.PROGRESS_KEPT) == asked(report_queries.PROGRESS)
    kept, read = asked(report_queries.USAGE_KEPT), asked(report_queries.USAGE)
    assert kept.keys() == read.keys()
    for task, line in kept.items():
        for name, value in line.items():
            exact = read[task][name]
            near = exact if "requested" not in name and name.endswith(("_median", "_p95")) else 0
            assert abs(value - exact) <= (1 + 0.0101 * near if near else 1e-9 * exact), (task, name)


# As the campaign was made: a tenth of the run, of what was taken in at the end of a submission.
WAITED = """
SELECT g.step, q.task, e.took FROM (
    SELECT id, submission_id, ended - started AS took FROM quantum
    WHERE first_try_submission_id = submission_id
    UNION ALL SELECT quantum_id, submission_id, ended - started FROM quantum_attempt
) AS e JOIN quantum q ON q.id = e.id JOIN "group" g ON g.id = q.group_id
JOIN submission s ON s.id = e.submission_id WHERE s.state = 'finished' AND g.step <> 'step7'
"""
COUNTED = f"""
SELECT w.step, w.task, count(*), percentile_disc(0.5) WITHIN GROUP (ORDER BY seconds),
       percentile_disc(0.95) WITHIN GROUP (ORDER BY seconds), max(seconds), sum(seconds) / 3600
FROM (SELECT step, task, 0.1 * date_part('epoch', took) AS seconds FROM ({WAITED}) AS w) AS w GROUP BY 1, 2
"""


def test_queue_waits(report: Report, sql: Connection) -> None:
    counted = {row[:2]: row[2:] for row in rows_of(sql, COUNTED)}
    assert counted
    waited = {(row.step, row.task): row for row in report.usage if row.waited}
    assert waited.keys() == counted.keys()
    for task, (number_of, median, p95, longest, hours) in counted.items():
        row = waited[task]
        assert row.waited == number_of
        assert row.wait_seconds_median == pytest.approx(median, rel=0.0101)
        assert row.wait_seconds_p95 == pytest.approx(p95, rel=0.0101)
        assert (row.wait_seconds_longest, row.wait_hours) == (pytest.approx(longest), pytest.approx(hours))
    view = "SELECT step, task, wait_seconds_median, wait_seconds_longest, wait_hours FROM task_usage"
    for step, task, median, longest, hours in rows_of(sql, view):
        found = waited.get((step, task))
        told = (found.wait_seconds_median, found.wait_seconds_longest) if found else (None, None)
        assert (median, longest) == told
        assert hours == (pytest.approx(found.wait_hours) if found else None)
    without = [row for row in report.usage if not row.waited]
    assert {row.step for row in without} == {"step7"}
    assert all(row.waited is row.wait_seconds_median is row.wait_hours is None for row in without)


def test_submissions_and_blocks(report: Report, sql: Connection) -> None:
    assert len(report.submissions) == number(sql, "SELECT count(*) FROM submission")
    again = sum(line.number > 1 for line in report.submissions)
    assert again == number(sql, "SELECT count(*) FROM submission WHERE number > 1") > 0
    raised = number(sql, "SELECT count(*) FROM submission WHERE remedy -> 'memory_mb' <> '{}'::jsonb")
    assert sum(" MB" in line.remedy for line in report.submissions) == raised > 0
    found = rows_of(
        sql,
        """SELECT g.step, count(*), count(*) FILTER (WHERE j.fate = 'node_lost')
           FROM slurm_job j JOIN submission s ON s.id = j.submission_id JOIN "group" g ON g.id = s.group_id
           WHERE j.role = 'block' GROUP BY 1""",
    )
    assert {(line.step, line.blocks, line.lost) for line in report.blocks} == set(found)
    for line in report.blocks:
        assert line.ran_hours == pytest.approx(line.busy_hours + line.idle_hours + line.unknown_hours)


def test_revisions_say_what_changed(report: Report) -> None:
    assert [line.number for line in report.revisions] == [1, 2]
    assert report.revisions[0].diff == ""
    assert "-tracts: [9690-9700]" in report.revisions[1].diff


def test_the_record_of_now_is_what_stands(url: str, rows: ReportRows) -> None:
    with Reader(url) as reader:
        then = report_of(reader.report("wide", at=rows.at, past=True, since=rows.since))
    now = report_of(rows)
    assert then.tracts == now.tracts
    assert then.completeness == now.completeness
    assert then.causes == now.causes
    assert [(line.step, line.group, line.state) for line in then.groups] == [
        (line.step, line.group, line.state) for line in now.groups
    ]


def test_an_earlier_moment(url: str, rows: ReportRows, sql: Connection) -> None:
    then = rows.at.replace(day=10)
    with Reader(url) as reader:
        made = report_of(reader.report("wide", at=then, past=True))
    head = made.headline
    assert head.past
    good = f"SELECT count(DISTINCT id) FROM ({ALL}) AS e WHERE state = 'succeeded' AND ended <= %s"
    assert head.succeeded == number(sql, good, then)
    assert 0 < head.succeeded < report_of(rows).headline.succeeded
    last = """SELECT count(*) FROM (
        SELECT DISTINCT ON (group_id) to_state FROM event
        WHERE submission_id IS NULL AND group_id IS NOT NULL AND to_state IS NOT NULL AND at <= %s
        ORDER BY group_id, id DESC) AS e WHERE to_state = 'done'"""
    assert head.done == number(sql, last, then)
    assert len(made.submissions) == number(
        sql, "SELECT count(*) FROM submission WHERE created_at <= %s", then
    )
    assert all(line.finished_at is None or line.finished_at <= then for line in made.submissions)


def test_the_board_tells_the_end_that_the_page_tells(
    url: str, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MERIAN_CAMPAIGN_DATABASE_URL", url)
    context = CommandContext(clock=lambda: MADE.now)
    with PostgresStore(url) as store:
        told = expected_end(store, "wide", now=MADE.now)
    seconds = 0.0
    forecast = Forecast(clock=lambda: seconds)
    words = forecast.look(context, "wide")
    assert words == span_words(MADE.now, report.headline.eta_low, report.headline.eta_high) != ""
    assert told == words, "of the digest"
    # It reads more than the rest of the board, and is not asked for at each look.
    seconds = 30.0
    assert forecast.look(context, "nosuch") == words
    seconds = 3600.0
    with pytest.raises(BadInputError, match="nosuch"):
        forecast.look(context, "nosuch")
