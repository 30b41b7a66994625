"""Views of use and throughput say what the quanta say, whether a group has a summary or not."""

from __future__ import annotations

from psycopg2.extensions import connection as Connection  # noqa: N812
from store_help import Given, at, failed, quantum, rows, worked

from merian_campaign.domain.execution.queue_wait import TaskWait
from merian_campaign.domain.states import GroupState, SubmissionOutcome, Verdict
from merian_campaign.store.store import PostgresStore

VIEWS = """
SELECT (SELECT array_agg((step, task, quanta, requested_mb, peak_mb, round(60 * hours)::integer)::text
                         ORDER BY task) FROM task_usage),
       (SELECT array_agg((step, hour, succeeded, failed)::text ORDER BY hour) FROM throughput_by_hour)
"""
COUNTED = """
SELECT (SELECT array_agg(t::text ORDER BY t.task) FROM (
            SELECT g.step, q.task, count(*)::integer, max(q.requested_mb), max(q.peak_mb),
                   round(extract(epoch FROM sum(q.ended - q.started)) / 60)::integer
            FROM quantum q JOIN "group" g ON g.id = q.group_id WHERE q.attempts > 0 GROUP BY 1, 2) AS t),
       (SELECT array_agg(t::text ORDER BY t.hour) FROM (
            SELECT g.step, date_trunc('hour', q.ended, 'UTC') AS hour,
                   count(*) FILTER (WHERE q.state = 'succeeded')::integer,
                   count(*) FILTER (WHERE q.state = 'failed')::integer
            FROM quantum q JOIN "group" g ON g.id = q.group_id WHERE q.ended IS NOT NULL GROUP BY 1, 2) AS t)
"""
SUMMARISED = "SELECT count(*) FROM group_usage"


KEPT = {"usage": "task", "hours": "hour", "cells": "(tract, band, state)"}
"""What is kept of groups that are over, with what tells the rows of one from each other."""


def told(sql: Connection) -> tuple[object, ...]:
    for name in KEPT:
        kept, counted = (
            f"group_{name}",
            f"counted_{name} WHERE group_id IN (SELECT group_id FROM group_{name})",
        )
        for one, other in ((kept, counted), (counted, kept)):
            assert rows(sql, f"SELECT * FROM {one} EXCEPT ALL SELECT * FROM {other}") == []
    (found,) = rows(sql, VIEWS)
    assert [found] == rows(sql, COUNTED)
    return found


def test_what_views_tell_is_what_was_put_on_record(
    given: Given, store: PostgresStore, sql: Connection
) -> None:
    group, other = given.campaign(tracts=(9813, 9814))
    first = given.prepared(group).id
    assert told(sql) == (None, None)
    store.record_progress(submission_id=first, quanta=[quantum(1, worked()), quantum(2)], now=at(3))
    under_way = told(sql)
    assert under_way != (None, None)
    assert rows(sql, SUMMARISED) == [(0,)]

    later = worked(started=at(70), ended=at(75), peak_mb=1500, requested_mb=4096)
    given.harvested(first, quantum(1, worked()), quantum(2, failed(Verdict.OUT_OF_MEMORY)), quantum(3, later))
    given.harvested(given.prepared(other).id, quantum(7, worked(), task="isr"))
    harvested = told(sql)
    assert rows(sql, SUMMARISED) == [(2,)]
    assert rows(sql, "SELECT task, peak_mb_median, seconds_median::integer FROM task_usage ORDER BY 1") == [
        ("isr", 898, 60),
        ("measure", 898, 60),
    ]

    second = given.again(group, 2)
    store.record_progress(submission_id=second, quanta=[quantum(2, later)], now=at(80))
    assert rows(sql, SUMMARISED) == [(1,)], "of the other group alone"
    assert told(sql) != harvested
    given.harvested(second, quantum(2, later), outcome=SubmissionOutcome.SUCCEEDED)
    assert rows(sql, SUMMARISED) == [(2,)]
    told(sql)

    given.move(group, GroupState.DONE, "fine")
    store.again(group_id=group, redo=True, reason="new exposures", actor="ana", now=at(90))
    told(sql)
    medians = "SELECT task, peak_mb_median, seconds_median::integer FROM task_usage ORDER BY 1"
    assert rows(sql, medians) == [("isr", 898, 60), ("measure", None, None)]
    store.forget("demo")
    assert told(sql) == (None, None)
    for name in KEPT:
        assert rows(sql, f"SELECT count(*) FROM group_{name}") == [(0,)]


WRITTEN = (
    " UNION ALL ".join(
        f"SELECT '{name}', ({key})::text, xmin::text FROM group_{name}" for name, key in KEPT.items()
    )
    + " ORDER BY 1, 2"
)


def test_a_harvest_writes_what_differs(given: Given, sql: Connection) -> None:
    (group,) = given.campaign()
    first = given.prepared(group).id
    given.harvested(first, quantum(1, worked()), quantum(2, worked(), task="isr"))
    before = rows(sql, WRITTEN)
    given.harvested(first, quantum(1, worked()), quantum(2, worked(), task="isr"))
    assert rows(sql, WRITTEN) == before
    given.harvested(first, quantum(1, worked(peak_mb=1500)), quantum(2, worked(), task="isr"))
    after = rows(sql, WRITTEN)
    changed = [new[:2] for new in after if new not in before]
    assert changed == [("usage", "measure")]
    told(sql)


def test_what_is_not_known_is_in_no_bin(given: Given, sql: Connection) -> None:
    (group,) = given.campaign()
    unknown = worked(peak_mb=None, started=None, ended=None)
    given.harvested(given.prepared(group).id, quantum(1, worked()), quantum(2, unknown), quantum(3, unknown))
    told(sql)
    view = "SELECT quanta, peak_mb_median, seconds_median::integer FROM task_usage"
    assert rows(sql, view) == [(3, 898, 60)]
    kept = "SELECT n, runs, cardinality(peaks), cardinality(times), requests_runs FROM group_usage"
    assert rows(sql, kept) == [(3, 3, 1, 1, [3])]


WAITS = "SELECT task, n, seconds, seconds_longest, waits, waits_n, xmin::text FROM queue_wait ORDER BY task"


def test_waits_are_kept_with_their_submission(given: Given, store: PostgresStore, sql: Connection) -> None:
    (group,) = given.campaign()
    first = given.prepared(group).id
    waits = [TaskWait.of("measure", [2.0, 8.0]), TaskWait.of("isr", [0.0])]
    given.harvested(first, quantum(1, worked()), waits=waits)
    kept = rows(sql, WAITS)
    assert [row[:4] for row in kept] == [("isr", 1, 0.0, 0.0), ("measure", 2, 10.0, 8.0)]
    given.harvested(first, quantum(1, worked()), waits=waits)
    given.harvested(first, quantum(1, worked()))
    assert rows(sql, WAITS) == kept
    given.harvested(first, quantum(1, worked()), waits=[TaskWait.of("measure", [4.0])])
    assert [row[:4] for row in rows(sql, WAITS)] == [("isr", 1, 0.0, 0.0), ("measure", 1, 4.0, 4.0)]
    store.forget("demo")
    assert rows(sql, WAITS) == []
