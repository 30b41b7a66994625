"""Slurm jobs in the database: what was seen last, once, and what ended stays ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812
from sqlalchemy import event
from store_help import Given, at, rows, worked
from store_help import quantum as quantum_of

from merian_campaign.domain.record.records import JobRecord, JobRow
from merian_campaign.domain.slurm.slurm_jobs import SlurmJob
from merian_campaign.domain.states import SubmissionOutcome


def record(state: str = "RUNNING", job_id: str = "12", *, role: str = "block", **changes: Any) -> JobRecord:
    busy, sure = changes.pop("busy_seconds", None), changes.pop("sure", True)
    values = {"job_id": job_id, "name": "night-ab12", "state": state, "nodes": "n1", "submitted": at(1)}
    return JobRecord(job=SlurmJob(**(values | changes)), role=role, busy_seconds=busy, sure=sure)


def stored(given: Given) -> list[JobRow]:
    return list(given.store.jobs("demo"))


def test_a_job_is_one_row_that_follows_what_is_seen(given: Given) -> None:
    (group,) = given.campaign()
    submission = given.prepared(group).id
    put = given.store.record_jobs
    assert put(submission_id=submission, jobs=[record("PENDING", nodes="")], now=at(1)) == 1
    assert put(submission_id=submission, jobs=[record("PENDING", nodes="")], now=at(2)) == 0
    seen = record(started=at(2), busy_seconds=3.0)
    assert put(submission_id=submission, jobs=[seen, record(job_id="13")], now=at(3)) == 2
    over = record("TIMEOUT", started=at(2), ended=at(9), exit_code=0, reason="TimeLimit", nodes="")
    assert put(submission_id=submission, jobs=[over], now=at(9)) == 1
    assert put(submission_id=submission, jobs=[seen], now=at(10)) == 0
    first, second = stored(given)
    assert (first.job_id, first.slurm_state, first.fate, first.nodes) == ("12", "TIMEOUT", "walltime", "n1")
    assert (first.started, first.ended, first.busy_seconds, first.reason) == (at(2), at(9), 3.0, "TimeLimit")
    assert (second.job_id, second.fate, second.step, second.group) == ("13", "alive", "step3", "tract9813")
    (left,) = given.store.open_jobs("demo")
    assert [entry.job.job_id for entry in left.jobs] == ["13"]
    assert (left.submission_id, left.directory) == (submission, f"/submit/{group}/1")


def test_jobs_come_with_progress_and_harvest(given: Given) -> None:
    (group,) = given.campaign()
    submission = given.prepared(group).id
    given.store.record_progress(submission_id=submission, quanta=[], now=at(2), jobs=[record()])
    assert [row.slurm_state for row in stored(given)] == ["RUNNING"]
    given.store.harvest(
        submission_id=submission,
        quanta=[quantum_of(7, worked())],
        outcome=SubmissionOutcome.SUCCEEDED,
        reason="over",
        actor="tick",
        now=at(3),
        jobs=[record("COMPLETED", ended=at(3)), record("FAILED", "9", role="driver", signal=9)],
    )
    assert {(row.job_id, row.role, row.fate) for row in stored(given)} == {
        ("12", "block", "completed"), ("9", "driver", "failed"),
    }  # fmt: skip
    assert given.store.open_jobs("demo") == ()


def test_second_hand_knowledge_fills_gaps_only(given: Given) -> None:
    (group,) = given.campaign()
    submission = given.prepared(group).id
    first_hand = record("TIMEOUT", ended=at(9))
    given.store.record_jobs(submission_id=submission, jobs=[first_hand], now=at(9))
    seen = [record("CANCELLED", sure=False), record("CANCELLED", "13", sure=False)]
    assert given.store.record_jobs(submission_id=submission, jobs=seen, now=at(10)) == 1
    assert [(row.job_id, row.slurm_state) for row in stored(given)] == [
        ("12", "TIMEOUT"),
        ("13", "CANCELLED"),
    ]


def test_words_that_slurm_may_yet_invent_are_kept(given: Given) -> None:
    (group,) = given.campaign()
    submission = given.prepared(group).id
    job = replace(record("POWERING_UP_AGAIN"))
    given.store.record_jobs(submission_id=submission, jobs=[job], now=at(1))
    assert [(row.slurm_state, row.fate) for row in stored(given)] == [("POWERING_UP_AGAIN", "unsure")]


def test_the_name_of_a_drivers_job_is_committed_before_it_is_submitted(given: Given) -> None:
    (group,) = given.campaign()
    submission = given.prepared(group)
    given.store.launching(submission_id=submission.id, now=at(2), driver_job="night-driver0")
    (view,) = given.store.snapshot("demo").groups
    assert view.live is not None
    assert (view.live.driver_job, view.live.launched_at) == ("night-driver0", at(2))
    given.store.launching(submission_id=submission.id, now=at(3))
    (view,) = given.store.snapshot("demo").groups
    assert view.live is not None
    assert view.live.driver_job == ""


def test_silence_of_the_scheduler_is_one_event_not_one_a_tick(given: Given, sql: Connection) -> None:
    given.campaign()
    campaign = given.store.snapshot("demo").campaign.id

    def note(words: str) -> bool:
        return given.store.note_scheduler(campaign_id=campaign, unreachable=words, actor="tick", now=at(1))

    assert [note(""), note("timed out"), note("refused"), note(""), note("")] == [
        False,
        True,
        False,
        True,
        False,
    ]
    found = rows(sql, "SELECT from_state, to_state, reason FROM event WHERE kind = 'scheduler' ORDER BY id")
    assert found == [("answers", "unreachable", "timed out"), ("unreachable", "answers", "")]


def test_forgetting_a_campaign_takes_its_jobs_along(given: Given, sql: Connection) -> None:
    (group,) = given.campaign()
    given.store.record_jobs(submission_id=given.prepared(group).id, jobs=[record()], now=at(1))
    given.store.forget("demo")
    assert rows(sql, "SELECT count(*) FROM slurm_job") == [(0,)]


def test_a_node_that_loses_block_after_block_is_bad_until_it_works_again(given: Given) -> None:
    (group,) = given.campaign()
    submission = given.prepared(group).id

    def lost(number: int, nodes: str, *, state: str = "NODE_FAIL") -> JobRecord:
        return record(state, str(number), nodes=nodes, started=at(number), ended=at(number))

    def bad(since: float = 0) -> list[tuple[str, int]]:
        return [(entry.node, entry.lost) for entry in given.store.bad_nodes(since=at(since), fewest=3)]

    jobs = [*(lost(n, "n7") for n in range(20, 23)), *(lost(n, "n[1-2]") for n in range(30, 34))]
    given.store.record_jobs(submission_id=submission, jobs=[*jobs, lost(40, "n8")], now=at(50))
    assert bad() == [("n7", 3)]
    assert bad(since=21) == [], "the first of them is long ago"
    given.store.record_jobs(submission_id=submission, jobs=[lost(60, "n7", state="COMPLETED")], now=at(61))
    assert bad() == []


def test_jobs_are_written_by_one_statement_however_many_they_are(given: Given) -> None:
    """One for each number of rows SQLAlchemy puts together anew, which takes longer than the server does."""
    (group,) = given.campaign()
    submission = given.prepared(group).id
    statements: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if "INSERT INTO slurm_job" in statement:
            statements.append(statement)

    event.listen(given.store._engine, "before_cursor_execute", note)
    for number in (1, 3):
        jobs = [record("RUNNING", str(100 * number + one)) for one in range(number)]
        assert given.store.record_jobs(submission_id=submission, jobs=jobs, now=at(number)) == number
    event.remove(given.store._engine, "before_cursor_execute", note)
    assert len(statements) == 2
    assert len(set(statements)) == 1
