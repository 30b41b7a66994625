"""Views of use and throughput say what the quanta say, whether a group has a summary or not."""

from __future__ import annotations

from psycopg2.extensions import connection as Connection  # noqa: N812
from store_help import Given, at, failed, quantum, rows, worked

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


def told(sql: Connection) -> tuple[object, ...]:
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
    store.forget("demo")
    assert told(sql) == (None, None)
    assert rows(sql, "SELECT count(*) FROM group_hours") == [(0,)]


WRITTEN = """
SELECT 'usage', task, xmin::text FROM group_usage
UNION ALL SELECT 'hours', hour::text, xmin::text FROM group_hours
ORDER BY 1, 2
"""


def test_a_harvest_writes_what_differs(given: Given, sql: Connection) -> None:
    (group,) = given.campaign()
    first = given.prepared(group).id
    given.harvested(first, quantum(1, worked()), quantum(2, worked(), task="isr"))
    before = rows(sql, WRITTEN)
    given.harvested(first, quantum(1, worked()), quantum(2, worked(), task="isr"))
    assert rows(sql, WRITTEN) == before
    given.harvested(first, quantum(1, worked(peak_mb=1500)), quantum(2, worked(), task="isr"))
    after = rows(sql, WRITTEN)
    assert [new for new in after if new not in before] == [after[2]]
    assert after[2][:2] == ("usage", "measure")
    told(sql)
