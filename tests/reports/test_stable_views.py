"""The views that others build on: their numbers, who may read them, and the dashboard's queries."""

from __future__ import annotations

import json
import re
from pathlib import Path

import psycopg2
import pytest
from report_help import number, rows_of

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.report.numbers import Report
from merian_campaign.store.server.rights import VIEWS, Access, grant

type Connection = psycopg2.extensions.connection

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "docs" / "_static" / "grafana-dashboard.json"


def test_groups_and_tracts(report: Report, sql: Connection) -> None:
    groups = rows_of(
        sql,
        'SELECT step, "group", state, submissions, expected, succeeded, failed, blocked, open '
        "FROM group_status",
    )
    assert set(groups) == {
        (line.step, line.group, line.state, line.submissions, line.expected, line.succeeded, line.failed,
         line.blocked, line.open)
        for line in report.groups
    }  # fmt: skip
    tracts = rows_of(
        sql, "SELECT tract, releasable, groups, expected, succeeded, failed, blocked FROM tract_status"
    )
    assert set(tracts) == {
        (line.tract, line.releasable, line.steps, line.expected, line.succeeded, line.failed, line.blocked)
        for line in report.tracts
    }
    assert number(sql, "SELECT count(*) FROM group_status WHERE night IS NOT NULL") == len(report.nights)


def test_failures(report: Report, sql: Connection) -> None:
    found = rows_of(
        sql, "SELECT step, task, verdict, exception, quanta, groups, tracts, example FROM failure_causes"
    )
    assert set(found) == {
        (
            line.step,
            line.task,
            line.verdict,
            line.exception,
            line.quanta,
            line.groups,
            line.tracts,
            line.example,
        )
        for line in report.causes
    }


def test_usage_and_throughput(sql: Connection) -> None:
    ran = number(sql, "SELECT count(*) FROM quantum WHERE attempts > 0")
    assert number(sql, "SELECT sum(quanta) FROM task_usage") == ran
    most = rows_of(sql, "SELECT task, max(peak_mb) FROM quantum WHERE attempts > 0 GROUP BY 1")
    assert set(rows_of(sql, "SELECT task, max(peak_mb) FROM task_usage GROUP BY 1")) == set(most)
    good = number(sql, "SELECT count(*) FROM quantum WHERE state = 'succeeded' AND ended IS NOT NULL")
    assert number(sql, "SELECT sum(succeeded) FROM throughput_by_hour") == good
    assert number(sql, "SELECT count(DISTINCT group_id) FROM group_usage") > 0
    off = number(
        sql,
        """
        SELECT count(*) FROM task_usage AS u JOIN (
            SELECT g.step, q.task, count(*) AS n, max(requested_mb) AS requested, sum(s.took) / 3600 AS hours,
                   percentile_disc(0.5) WITHIN GROUP (ORDER BY q.peak_mb) AS peak,
                   percentile_disc(0.5) WITHIN GROUP (ORDER BY s.took) AS took, max(s.took) AS longest
            FROM quantum q JOIN "group" g ON g.id = q.group_id
            CROSS JOIN LATERAL (SELECT extract(epoch FROM q.ended - q.started)::float8 AS took) AS s
            WHERE q.attempts > 0 GROUP BY 1, 2
        ) AS e ON e.step = u.step AND e.task = u.task
        WHERE u.quanta <> e.n OR u.requested_mb <> e.requested OR abs(u.hours - e.hours) > 1e-6
           OR abs(u.peak_mb_median - e.peak) > 1 + 0.0101 * e.peak OR u.seconds_longest <> e.longest
           OR abs(u.seconds_median - e.took) > 0.0101 * e.took
        """,
    )
    assert off == 0


def test_a_reader_reads_views_and_nothing_else(url: str, sql: Connection) -> None:
    with sql.cursor() as cursor:
        cursor.execute('CREATE ROLE "Reading Role"')
        try:
            grant(url, ["Reading Role"], access=Access.VIEWS)
            grant(url, ["Reading Role"], access=Access.VIEWS)
            cursor.execute('SET ROLE "Reading Role"')
            for view in VIEWS:
                cursor.execute(f"SELECT count(*) FROM {view}")
            for refused in ("SELECT * FROM quantum", "DELETE FROM campaign", "SELECT * FROM revision"):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(refused)
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute('DROP OWNED BY "Reading Role"; DROP ROLE "Reading Role"')
    with pytest.raises(BadInputError, match='no such role: role "nobody"'):
        grant(url, ["nobody"], access=Access.VIEWS)


def test_the_dashboards_queries_run(sql: Connection) -> None:
    board = json.loads(DASHBOARD.read_text())
    (campaigns,) = [one["query"] for one in board["templating"]["list"] if one["type"] == "query"]
    assert rows_of(sql, campaigns) == [("wide",)]
    for panel in board["panels"]:
        for target in panel["targets"]:
            query = target["rawSql"].replace("$campaign", "wide")
            query = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN '2020-01-01Z' AND '2030-01-01Z'", query)
            assert "$" not in query
            assert rows_of(sql, query), panel["title"]


def test_every_column_is_explained(sql: Connection) -> None:
    for view in VIEWS:
        bare = rows_of(
            sql,
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
            " AND col_description(attrelid, attnum) IS NULL",
            view,
        )
        assert bare == [], view
