"""Quanta are stored small and found by index: digests as keys, short paths of logs, one visit, one day."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from store_help import Given, at, failed, quantum, rows, worked

from merian_campaign.store import migrate
from merian_campaign.store.connection import open_connection
from merian_campaign.store.reader import Reader

BEFORE = """
INSERT INTO campaign (name, state, file, created_at, updated_at) VALUES ('c', 'active', 'f', now(), now());
INSERT INTO "group" (campaign_id, step, key, ordinal, state, created_at, updated_at)
    SELECT id, 'step3', 'all', 1, 'running', now(), now() FROM campaign;
INSERT INTO submission (group_id, number, state, directory, remedy, created_at)
    SELECT id, 1, 'running', '/sub/1', '{}', now() FROM "group";
INSERT INTO quantum (group_id, task, data_id, state, state_submission_id, submission_id, updated_at, log_path)
    SELECT s.group_id, 'isr', v.data_id, 'succeeded', s.id, s.id, now(), v.log_path
    FROM submission AS s,
        (VALUES ('a=1', '/sub/1/bps/a.log'), ('a=2', '/other/b.log'), ('a=3', NULL)) AS v (data_id, log_path);
INSERT INTO quantum_attempt (quantum_id, submission_id, try, state, charged, recorded_at, log_path)
    SELECT min(id), min(submission_id), 1, 'failed', true, now(), '/sub/1/c.log' FROM quantum
"""
ASKED = {
    "visit = 42": "ix_quantum_visit",
    "exposure = 42": "ix_quantum_exposure",
    "tract = 9813": "ix_quantum_tract_patch",
    "tract = 9813 AND patch = 7": "ix_quantum_tract_patch",
    "ended >= '2026-11-22'": "ix_quantum_ended",
    "updated_at >= '2026-11-22'": "ix_quantum_updated_at",
    "state = 'running'": "ix_quantum_open",
    "state = 'failed'": "ix_quantum_open",
}


def test_what_is_asked_most_reads_no_table_whole(empty_url: str) -> None:
    # In a database of its own: one that was vacuumed without rows is planned otherwise.
    migrate.upgrade(empty_url)
    with closing(open_connection(empty_url)) as connection:
        rows(connection, "SELECT set_config('enable_seqscan', 'off', false)")
        for condition, index in ASKED.items():
            query = f"EXPLAIN SELECT task, data_id, log_path FROM quantum_status WHERE {condition}"
            assert index in str(rows(connection, query)), condition


def test_logs_are_said_relative_to_the_submission_and_shown_whole(
    given: Given, url: str, sql: Connection
) -> None:
    (group,) = given.campaign()
    first, later = f"/submit/{group}/1/bps/jobs/a.log", f"/submit/{group}/2/bps/jobs/b.log"
    given.harvested(
        given.prepared(group).id,
        quantum(1, failed(log_path=first)),
        quantum(2, failed(log_path="/elsewhere/c.log")),
        quantum(3, failed(log_path=f"/submit/{group}/10.log")),
        quantum(4, failed(log_path=first)),
    )
    given.harvested(given.again(group, 2), quantum(1, worked(log_path=later)))
    stored = rows(sql, "SELECT log_path FROM quantum ORDER BY patch")
    beside = f"/submit/{group}/10.log"
    assert [row[0] for row in stored] == ["./bps/jobs/b.log", "/elsewhere/c.log", beside, "./bps/jobs/a.log"]
    shown = rows(sql, "SELECT log_path FROM quantum_status ORDER BY patch")
    assert [row[0] for row in shown] == [later, "/elsewhere/c.log", beside, first]
    with Reader(url) as reader:
        failures = reader.failures("demo", recovered=True)
        assert [row.log_path for row in failures] == [first, "/elsewhere/c.log", beside, first]
        attempts = reader.quantum_attempts(quantum_id=failures[0].quantum_id)
        assert [row.log_path for row in attempts] == [first, later]
        assert [row.log_path for row in reader.attempts(group_id=group)][:2] == [first, later]
        (cause,) = reader.report("demo", at=at(60) + timedelta(days=9)).causes
        assert cause.log_path == "/elsewhere/c.log"


def test_a_quantum_is_there_once(given: Given, sql: Connection) -> None:
    (group,) = given.campaign()
    given.harvested(given.prepared(group).id, quantum(1, worked()))
    with sql.cursor() as cursor, pytest.raises(psycopg2.errors.UniqueViolation):
        cursor.execute(
            "INSERT INTO quantum (group_id, task, data_id, state, state_submission_id, updated_at)"
            " SELECT group_id, task, data_id, state, state_submission_id, updated_at FROM quantum"
        )


def test_what_is_there_is_shortened_and_shown_as_before(empty_url: str) -> None:
    migrate.upgrade(empty_url, version="0009")
    with closing(open_connection(empty_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(BEFORE)
    shown = "SELECT submission, log_path FROM quantum_status ORDER BY data_id"
    with closing(open_connection(empty_url)) as connection:
        before = rows(connection, shown)
    migrate.upgrade(empty_url)
    with closing(open_connection(empty_url)) as connection:
        assert rows(connection, shown) == before
        stored = rows(connection, "SELECT log_path FROM quantum ORDER BY data_id")
        assert [row[0] for row in stored] == ["./bps/a.log", "/other/b.log", None]
        assert rows(connection, "SELECT log_path FROM quantum_attempt") == [("./c.log",)]
