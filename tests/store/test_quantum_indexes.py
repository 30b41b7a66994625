"""Quanta are stored small and found by index: digests as keys, short paths of logs, one visit, one day."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from store_help import Given, at, failed, quantum, rows, worked

from merian_campaign.domain.execution.quanta import Quantum
from merian_campaign.domain.states import QuantumState, SubmissionOutcome
from merian_campaign.store.reading import queries
from merian_campaign.store.reading.queries import within
from merian_campaign.store.reading.reader import Reader
from merian_campaign.store.server import migrate
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.store import PostgresStore

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
MANY = """
INSERT INTO campaign (name, state, file, created_at, updated_at) VALUES ('c', 'active', 'f', now(), now());
INSERT INTO "group" (campaign_id, step, key, ordinal, state, created_at, updated_at)
    SELECT id, 'step3', 'all', 1, 'running', now(), now() FROM campaign;
INSERT INTO submission (group_id, number, state, directory, remedy, created_at)
    SELECT id, 1, 'running', '/sub/1', '{}', now() FROM "group";
INSERT INTO quantum_kind (campaign_id, digest, task, data_id)
    SELECT id, gen_random_uuid(), 'isr', '' FROM campaign;
INSERT INTO quantum_common (campaign_id, digest) SELECT id, gen_random_uuid() FROM campaign;
INSERT INTO quantum_row (group_id, kind_id, common_id, visit, exposure, tract, patch, detector, state,
                         attempts, submission_id, ended, updated_at)
    SELECT s.group_id, k.id, c.id, n / 100, n / 100, n / 1000, n / 10 %% 100, n %% 10,
           CASE n %% 997 WHEN 1 THEN 'running' WHEN 2 THEN 'failed' END,
           CASE n %% 997 WHEN 3 THEN 2 END, s.id, t.at, t.at
    FROM submission AS s, quantum_kind AS k, quantum_common AS c, generate_series(1, 40000) AS n
    CROSS JOIN LATERAL (SELECT timestamptz '2026-11-01 00:00Z' + n * interval '1 min' AS at) AS t;
INSERT INTO quantum_failure (campaign_id, digest, state, charged)
    SELECT id, gen_random_uuid(), 'failed', true FROM campaign;
INSERT INTO attempt_row (quantum_id, submission_id, try, common_id, failure_id, recorded_at)
    SELECT q.id, q.submission_id, 1, q.common_id, f.id, q.updated_at
    FROM quantum_row AS q, quantum_failure AS f WHERE q.id %% 4 = 0;
ANALYZE
"""
ASKED = {
    "visit = 42": "ix_quantum_row_visit",
    "exposure = 42": "ix_quantum_row_exposure",
    "tract = 13": "ix_quantum_row_tract_patch",
    "tract = 13 AND patch = 7": "ix_quantum_row_tract_patch",
    "ended >= '2026-11-28 12:00Z'": "ix_quantum_row_ended",
    "updated_at >= '2026-11-28 12:00Z'": "ix_quantum_row_updated_at",
    "state = 'running'": "ix_quantum_row_open",
    "state = 'failed'": "ix_quantum_row_open",
}


def test_what_is_asked_most_reads_no_table_whole(empty_url: str) -> None:
    # In a database of its own: one that was vacuumed without rows is planned otherwise.
    migrate.upgrade(empty_url)
    with closing(open_connection(empty_url)) as connection:
        rows(connection, MANY)
        for condition, index in ASKED.items():
            query = f"SELECT task, data_id, log_path FROM quantum_status WHERE {condition}"
            plan = str(rows(connection, f"EXPLAIN {query}"))
            assert index in plan, condition
            assert "Seq Scan on quantum_row" not in plan, condition
            assert rows(connection, query), condition
        again = "EXPLAIN SELECT count(*) FROM quantum_attempt"
        assert "ix_quantum_row_again" in str(rows(connection, again))
        ((campaign,),) = rows(connection, "SELECT id FROM campaign")
        recovered = within(queries.FAILURES_AND_RECOVERED, tract=39)
        plan = str(explained(connection, recovered, {"campaign_id": campaign, "step": None, "tract": 39}))
        assert "Seq Scan on attempt_row" not in plan


def explained(connection: Connection, query: str, values: dict[str, object]) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {query}", values)
        return cursor.fetchall()


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
        assert cause.log_path in {"/elsewhere/c.log", beside, first}


def test_a_quantum_is_there_once(given: Given, sql: Connection) -> None:
    (group,) = given.campaign()
    given.harvested(given.prepared(group).id, quantum(1, worked()))
    with sql.cursor() as cursor, pytest.raises(psycopg2.errors.UniqueViolation):
        cursor.execute(
            "INSERT INTO quantum_row (group_id, kind_id, common_id, tract, patch, submission_id, updated_at)"
            " SELECT group_id, kind_id, common_id, tract, patch, submission_id, updated_at FROM quantum_row"
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


ATTEMPTS_IN_FULL = """
INSERT INTO campaign (name, state, file, created_at, updated_at) VALUES ('demo', 'active', 'f', now(), now());
INSERT INTO "group" (campaign_id, step, key, ordinal, state, created_at, updated_at)
    SELECT id, 'step3', 'all', 1, 'running', now(), now() FROM campaign;
INSERT INTO submission (group_id, number, state, directory, remedy, created_at, claimed_at)
    SELECT id, n, 'running', '/sub/' || n, '{"memory_mb": {}, "workers": null}', now(), now()
    FROM "group", (VALUES (1)) AS v (n);
UPDATE submission SET state = 'finished', outcome = 'partial', finished_at = now();
INSERT INTO submission (group_id, number, state, directory, remedy, created_at, claimed_at)
    SELECT id, 2, 'running', '/sub/2', '{"memory_mb": {}, "workers": null}', now(), now() FROM "group";
INSERT INTO quantum_kind (campaign_id, digest, task, data_id)
    SELECT id, md5('=isr' || chr(31) || '=patch=%5$s')::uuid, 'isr', 'patch=%5$s' FROM campaign;
INSERT INTO quantum_common (campaign_id, digest, requested_mb, exit_code)
    SELECT id, gen_random_uuid(), 2048, 0 FROM campaign;
INSERT INTO quantum_row (group_id, kind_id, common_id, patch, submission_id, state, no_first_try, attempts,
                         charged_attempts, started, ended, peak_mb, updated_at)
    SELECT g.id, k.id, c.id, v.patch, s.id, v.state, true, v.n, v.n, now(), now(), 9, now()
    FROM "group" AS g, quantum_kind AS k, quantum_common AS c,
         (VALUES (1, 2, NULL, 2), (2, 2, 'failed', 2), (3, 2, NULL, 2)) AS v (patch, number, state, n)
    JOIN submission AS s ON s.number = v.number;
INSERT INTO quantum_attempt (quantum_id, submission_id, try, state, verdict, evidence, exception_type,
                             exception_message, exception_bases, exit_code, signal, peak_mb, requested_mb,
                             started, ended, host, log_path, uuid, charged, recorded_at, cores, certainty,
                             slurm_job, log_tail, rule)
    SELECT q.id, s.id, v.try, v.state, v.verdict, v.evidence, v.verdict || 'Error', v.message, v.bases, 0,
           nullif(v.try, 1), 9, 2048, now(), now(), v.host, './' || v.message, 'u', v.try = 1 OR v.number = 2,
           now(), 2, '', '12', v.tail, v.verdict
    FROM (VALUES
        (1, 1, 1, 'failed', 'algorithm', 'rule 3', 'no stars', 'a.B a.C', 'n1', 'last words'),
        (1, 2, 1, 'succeeded', NULL, '', NULL, '', 'n1', NULL),
        (2, 1, 1, 'failed', 'algorithm', 'rule 3', 'no stars', 'a.B a.C', NULL, NULL),
        (2, 2, 1, 'failed', 'walltime', 'after 36000 s', 'visit 971020', '', 'n2', NULL),
        (3, 2, 1, 'failed', 'node_lost', '', '', '', 'n2', NULL),
        (3, 2, 2, 'succeeded', NULL, '', NULL, '', 'n1', NULL)
    ) AS v (patch, number, try, state, verdict, evidence, message, bases, host, tail)
    JOIN quantum_row AS q ON q.patch = v.patch JOIN submission AS s ON s.number = v.number
"""
OF_ATTEMPTS = """
SELECT to_jsonb(a) FROM quantum_attempt AS a ORDER BY quantum_id, submission_id, try
"""


def test_attempts_in_full_become_small_ones_and_say_the_same(empty_url: str) -> None:
    """A database of the schema before: every attempt keeps its row and all that it says."""
    migrate.upgrade(empty_url, version="0019")
    counted = "SELECT patch, state, attempts, charged_attempts FROM quantum ORDER BY patch"
    runs = "SELECT task, n, runs, runs_failed, requests_runs FROM counted_usage"
    with closing(open_connection(empty_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(ATTEMPTS_IN_FULL)
        before = [row[0] for row in rows(connection, OF_ATTEMPTS)]
        numbers = [rows(connection, query) for query in (counted, runs)]
    migrate.upgrade(empty_url)
    with closing(open_connection(empty_url)) as connection:
        assert [row[0] for row in rows(connection, OF_ATTEMPTS)] == before
        assert rows(connection, "SELECT count(*) FROM attempt_row") == [(6,)]
        assert rows(connection, "SELECT count(*), count(evidence) FROM quantum_failure") == [(4, 1)]
        assert [rows(connection, query) for query in (counted, runs)] == numbers
    with PostgresStore(empty_url) as store:
        names = {"task": "isr", "data_id": "patch=1", "dimensions": {"patch": 1}}
        done = Quantum(**names, state=QuantumState.SUCCEEDED, attempts=(worked(),))
        values = {"outcome": SubmissionOutcome.PARTIAL, "reason": "", "actor": "ana", "now": at(60)}
        store.harvest(submission_id=before[1]["submission_id"], quanta=[done], **values)
    with closing(open_connection(empty_url)) as connection:
        assert rows(connection, counted) == numbers[0]
        assert rows(connection, "SELECT count(*) FROM attempt_row") == [(6,)]


UUID = "01a21427-61c9-770b-bf67-fb6a9a272b68"
IN_FULL = f"""
INSERT INTO campaign (name, state, file, created_at, updated_at) VALUES ('demo', 'active', 'f', now(), now());
INSERT INTO "group" (campaign_id, step, key, ordinal, state, created_at, updated_at)
    SELECT id, 'step3', 'all', 1, 'running', now(), now() FROM campaign;
INSERT INTO submission (group_id, number, state, directory, remedy, created_at, claimed_at)
    SELECT id, 1, 'running', '/sub/1', '{{"memory_mb": {{}}, "workers": null}}', now(), now() FROM "group";
INSERT INTO quantum (
    group_id, task, data_id, instrument, band, visit, detector, tract, patch, state, caveats, attempts,
    charged_attempts, verdict, evidence, exit_code, peak_mb, requested_mb, started, ended, host, log_path,
    state_submission_id, submission_id, first_try_submission_id, updated_at, cores
)
SELECT s.group_id, v.task, v.data_id, v.instrument, v.band, v.visit, v.detector, v.tract, v.patch, v.state,
       v.caveats, v.attempts, v.attempts, v.verdict, v.evidence, nullif(v.attempts, 0) - 1, 900,
       2048 * nullif(v.attempts, 0), now(),
       now() + interval '1 min', v.host, v.log_path, s.id, CASE WHEN v.attempts > 0 THEN s.id END,
       CASE WHEN v.state = 'succeeded' THEN s.id END, now(), v.cores
FROM submission AS s, (VALUES
    ('isr', 'detector=3,instrument=DECam,visit=42', 'DECam', 'r', 42, 3, NULL, NULL, 'succeeded', 'N', 1,
     NULL, '', 'n1', './bps/logs/isr/42/{UUID}_isr_42_3.stderr', 2),
    ('isr', 'detector=4,instrument=DECam,visit=42', 'DECam', 'r', 42, 4, NULL, NULL, 'failed', '', 1,
     'algorithm', 'rule 3', 'n2', './bps/logs/isr/42/{UUID}_isr_42_4.stderr', NULL),
    ('isr', 'detector=40000,instrument=DECam,visit=42', 'DECam', 'r', 42, 40000, NULL, NULL, 'succeeded', '',
     1, NULL, '', 'n1', './bps/logs/isr/{UUID}_123456.stderr', NULL),
    ('warp', 'patch=5,skymap=100%,tract=7,visit=42', NULL, 'r', 42, NULL, 7, 5, 'pending', '', 0, NULL, '',
     NULL, NULL, NULL),
    ('warp', 'patch=6,skymap=100%,tract=7,visit=42', NULL, 'r', 42, NULL, 7, 6, 'succeeded', '', 1, NULL,
     '', 'n1', '/else/where/100%/{UUID}_42_7_6_6.log', NULL)
) AS v (task, data_id, instrument, band, visit, detector, tract, patch, state, caveats, attempts, verdict,
        evidence, host, log_path, cores)
"""
WHOLE = """
SELECT id, group_id, task, data_id, instrument, visit, tract, patch, band, state, caveats, attempts,
       charged_attempts, memory_attempts, verdict, evidence, exit_code, peak_mb, started, ended, log_path,
       state_submission_id, submission_id, first_try_submission_id, updated_at, exception_bases,
       requested_mb, host, cores
FROM quantum ORDER BY id
"""

STATUS = """
SELECT to_jsonb(s) - 'detector', CASE WHEN detector < 32768 THEN detector END FROM quantum_status AS s
ORDER BY quantum_id
"""
"""A number that no camera has is said by the data ID alone."""


def test_rows_in_full_become_small_ones_and_say_the_same(empty_url: str) -> None:
    """A database of the schema before: all columns say what they said, and its quanta are found again."""
    migrate.upgrade(empty_url, version="0014")
    with closing(open_connection(empty_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(IN_FULL)
        before = rows(connection, WHOLE)
        shown = rows(connection, STATUS)
    migrate.upgrade(empty_url)
    with closing(open_connection(empty_url)) as connection:
        assert (rows(connection, WHOLE), rows(connection, STATUS)) == (before, shown)
        kinds = rows(connection, "SELECT task, data_id FROM quantum_kind ORDER BY 1, 2")
        assert kinds == [
            ("isr", "detector=%3$s,instrument=DECam,visit=%1$s"),
            ("isr", "detector=40000,instrument=DECam,visit=%1$s"),
            ("warp", "patch=%5$s,skymap=100%%,tract=%4$s,visit=%1$s"),
        ]
        logs = rows(
            connection, "SELECT DISTINCT log_path FROM quantum_common WHERE log_path <> '' ORDER BY 1"
        )
        assert [row[0] for row in logs] == [
            "./bps/logs/isr/%1$s/%6$s_isr_%1$s_%3$s.stderr",
            "/else/where/100%%/%6$s_%1$s_%4$s_%5$s_%5$s.log",
        ]
    with PostgresStore(empty_url) as store:
        again = [
            Quantum(
                task=row[2], data_id=row[3], dimensions={}, state=QuantumState.SUCCEEDED, attempts=(worked(),)
            )
            for row in before
        ]
        values = {"outcome": SubmissionOutcome.SUCCEEDED, "reason": "", "actor": "ana", "now": at(60)}
        store.harvest(submission_id=before[0][22], quanta=again, **values)
    with closing(open_connection(empty_url)) as connection:
        found = rows(connection, WHOLE)
    # Those that were there, and no others.
    assert [(row[0], row[3], row[9]) for row in found] == [(row[0], row[3], "succeeded") for row in before]
