"""Quanta are stored small and found by index: digests as keys, short paths of logs, one visit, one day."""

from __future__ import annotations

from datetime import timedelta

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from store_help import Given, at, failed, quantum, rows, worked

from merian_campaign.store.reader import Reader

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


@pytest.mark.parametrize(("condition", "index"), ASKED.items())
def test_what_is_asked_most_reads_no_table_whole(sql: Connection, condition: str, index: str) -> None:
    with sql.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
    plan = rows(sql, f"EXPLAIN SELECT task, data_id, log_path FROM quantum_status WHERE {condition}")
    assert index in str(plan)


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
