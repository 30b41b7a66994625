"""Submissions: never two at once, one claim, one lease."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from store_help import DRIVER, Given, assert_rollup_is_right, at, quantum, rows, worked

from merian_campaign.domain.errors import BadInputError, BusyError
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.execution.runs import RunEnd, RunResult, to_json
from merian_campaign.domain.record.records import Claim
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.states import GroupState, IllegalMoveError, SubmissionOutcome, SubmissionState
from merian_campaign.host.atomic_files import write_json
from merian_campaign.middleware.submission_run import SubmissionRun, read_outcome
from merian_campaign.middleware.submit_in_process import Target
from merian_campaign.services.driver_loop import drive
from merian_campaign.services.stack_guard import StackGuard
from merian_campaign.store.store import PostgresStore


@pytest.fixture
def group(given: Given) -> int:
    return given.campaign()[0]


def claim(store: PostgresStore, submission_id: int, epoch: int = 0) -> int | None:
    found = store.claim(
        submission_id=submission_id, driver=DRIVER, lease_seconds=60, now=at(2), expected_epoch=epoch
    )
    return None if found is None else found.epoch


def test_prepared_submission_comes_back_as_it_went_in(store: PostgresStore, given: Given, group: int) -> None:
    made = given.prepared(group)
    found = store.snapshot("demo").groups[0]
    assert found.state is GroupState.RUNNING
    assert found.submissions == (made,)
    assert found.live == made
    assert made.remedy == Remedy(memory_mb=(("measure", 4096),), workers=1)
    assert (made.state, made.outcome, made.epoch, made.driver) == (SubmissionState.PREPARED, None, 0, None)
    assert [(e.kind, e.submission, e.to_state) for e in store.events("demo", limit=2)] == [
        ("submission", 1, "prepared"),
        ("group", None, "running"),
    ]


def test_no_second_submission_beside_an_unfinished_one(
    given: Given, group: int, store: PostgresStore, sql: Connection
) -> None:
    given.prepared(group)
    with pytest.raises(BusyError):
        given.prepared(group, 2)
    with pytest.raises(psycopg2.errors.UniqueViolation, match="uq_submission_unfinished"):
        rows(
            sql,
            "INSERT INTO submission (group_id, number, state, directory, remedy, created_at)"
            " VALUES (%s, 2, 'prepared', '/x', '{}', now())",
            group,
        )
    assert len(store.snapshot("demo").groups[0].submissions) == 1


def test_a_number_is_used_once(given: Given, group: int) -> None:
    given.harvested(given.prepared(group).id)
    given.move(group, GroupState.READY)
    with pytest.raises(BusyError):
        given.store.prepare_submission(**(given.new(group, 1) | {"run_collection": "other"}))


def test_a_run_collection_is_used_once_a_repository(given: Given, store: PostgresStore) -> None:
    first, second = given.campaign(tracts=(1, 2))
    given.prepared(first, run_collection="u/me/run")
    with pytest.raises(BadInputError, match="u/me/run already belongs"):
        given.prepared(second, run_collection="u/me/run")
    assert store.snapshot("demo").groups[1].state is GroupState.READY
    changes = {"run_collection": "u/me/run", "repository": "/another"}
    given.store.prepare_submission(**(given.new(second, 1) | changes))


def test_actions_have_no_run_collection(given: Given) -> None:
    for group in given.campaign(tracts=(1, 2)):
        given.prepared(group, run_collection="")


def test_a_waiting_group_cannot_be_submitted(given: Given, group: int, store: PostgresStore) -> None:
    with pytest.raises(IllegalMoveError):
        given.prepared(group, 2)
    assert store.snapshot("demo").groups[0].submissions == ()


def test_a_driver_that_is_not_on_its_way_after_all(store: PostgresStore, given: Given, group: int) -> None:
    submission = given.prepared(group, remedy=Remedy(blocks=3))
    store.launching(submission_id=submission.id, now=at(1), driver_job="night-driver0")
    ((found,),) = (entry.submissions for entry in store.snapshot("demo").groups)
    assert found.launches == 1
    store.not_launched(submission_id=submission.id)
    ((found,),) = (entry.submissions for entry in store.snapshot("demo").groups)
    assert found.launches == 0
    assert (found.launched_at, found.driver_job, found.remedy) == (None, "night-driver0", Remedy(blocks=3))


def test_a_successor_leaves_the_outcome_of_a_driver_as_it_is(
    store: PostgresStore, given: Given, group: int, tmp_path: Path
) -> None:
    submission = given.prepared(group, directory=str(tmp_path))
    target = Target(repository="/repo", run="run/1/1", chain="run/1")
    guard = StackGuard(store=store, changes_allowed=lambda _: False)

    def driven(expected_epoch: int) -> RunResult | None:
        def make_work(claim: Claim) -> SubmissionRun:
            return SubmissionRun(
                directory=str(tmp_path), epoch=claim.epoch, target=target, warm=True, environ={}
            )

        return drive(
            store=store, submission_id=submission.id, expected_epoch=expected_epoch, identity=DRIVER,
            make_work=make_work, guard=guard,
        )  # fmt: skip

    first = RunResult(end=RunEnd.EMPTY, reason="nothing to do")
    write_json(tmp_path / "outcome.json", to_json(first, epoch=1))
    assert driven(0) is None
    assert driven(0) is None  # the epoch is another's
    assert read_outcome(str(tmp_path)) == first


def test_claims_are_counted(store: PostgresStore, given: Given, group: int) -> None:
    submission = given.prepared(group)
    for minute in (1.2, 1.5):
        store.launching(submission_id=submission.id, now=at(minute))
    assert store.snapshot("demo").groups[0].submissions[0].launches == 2
    got = store.claim(
        submission_id=submission.id, driver=DRIVER, lease_seconds=60, now=at(2), expected_epoch=0
    )
    assert got is not None
    assert (got.epoch, got.submission.epoch, got.submission.driver) == (1, 1, DRIVER)
    assert (got.submission.state, got.submission.lease_expires_at) == (SubmissionState.RUNNING, at(3))
    assert (got.submission.launched_at, got.submission.launches) == (None, 0), "nobody is on the way any more"
    assert (got.campaign.name, got.group.key) == ("demo", "tract9813")
    assert got.group.submissions == (got.submission,)
    assert got.gap is None
    assert claim(store, submission.id, 0) is None
    again = store.claim(
        submission_id=submission.id, driver=DRIVER, lease_seconds=60, now=at(9), expected_epoch=1
    )
    assert again is not None
    assert (again.epoch, again.gap) == (2, (at(2), at(9))), "since the last sign of life of the first"
    assert claim(store, 10**9) is None
    newest = store.events("demo")[0]
    assert (newest.from_state, newest.to_state, newest.reason) == (
        "running",
        "running",
        "claimed by process 4711 on node1",
    )


def test_a_finished_submission_cannot_be_claimed(store: PostgresStore, given: Given, group: int) -> None:
    submission = given.prepared(group)
    given.harvested(submission.id, outcome=SubmissionOutcome.LOST)
    assert claim(store, submission.id) is None


def test_heartbeat(store: PostgresStore, given: Given, group: int) -> None:
    submission = given.prepared(group)

    def beat(epoch: int) -> bool | None:
        return store.heartbeat(submission_id=submission.id, epoch=epoch, lease_seconds=60, now=at(5))

    assert beat(0) is None, "nobody has claimed it"
    assert claim(store, submission.id) == 1
    assert beat(1) is True
    live = store.snapshot("demo").groups[0].live
    assert live is not None
    assert live.lease_expires_at == at(6)
    store.request_cancel(submission_id=submission.id, actor="ana", now=at(5))
    store.request_cancel(submission_id=submission.id, actor="ana", now=at(6))
    assert beat(1) is False
    assert [e.kind for e in store.events("demo")].count("cancel") == 1
    assert claim(store, submission.id, 1) == 2
    assert beat(1) is None, "another driver has taken over"
    given.harvested(submission.id, quantum(1, worked()))
    assert beat(2) is None, "it is over"


def _claim_elsewhere(where: tuple[str, int, int]) -> int | None:
    url, submission_id, pid = where
    with PostgresStore(url) as store:
        driver = ProcessIdentity(host="h", pid=pid, pid_start=1)
        found = store.claim(
            submission_id=submission_id, driver=driver, lease_seconds=60, now=at(2), expected_epoch=0
        )
    return None if found is None else pid


def _prepare_elsewhere(where: tuple[str, int, int]) -> int | None:
    url, group_id, number = where
    with PostgresStore(url) as store:
        try:
            Given(store).prepared(group_id, 2, run_collection=f"run/{group_id}/{number}")
        except (BusyError, IllegalMoveError):
            return None
    return number


@pytest.fixture(scope="module")
def others() -> Iterator[Executor]:
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def test_of_several_drivers_one_gets_the_claim(
    store: PostgresStore, given: Given, url: str, others: Executor
) -> None:
    for group in given.campaign(tracts=range(5)):
        submission = given.prepared(group)
        won = list(others.map(_claim_elsewhere, [(url, submission.id, pid) for pid in range(1, 5)]))
        (winner,) = [pid for pid in won if pid is not None]
        live = next(g.live for g in store.snapshot("demo").groups if g.id == group)
        assert live is not None
        assert live.driver is not None
        assert (live.driver.pid, live.epoch) == (winner, 1)


def test_of_several_ticks_one_submits(store: PostgresStore, given: Given, url: str, others: Executor) -> None:
    for group in given.campaign(tracts=range(5)):
        given.move(group, GroupState.READY)
        made = list(others.map(_prepare_elsewhere, [(url, group, number) for number in range(4)]))
        assert sum(number is not None for number in made) == 1
        assert len(next(g for g in store.snapshot("demo").groups if g.id == group).submissions) == 1


def test_versions_are_those_of_the_driver_that_has_it(
    given: Given, group: int, store: PostgresStore, sql: Connection
) -> None:
    first = given.prepared(group).id
    assert store.versions(submission_id=first) is None
    assert claim(store, first) == 1
    assert claim(store, first, epoch=1) == 2
    found = {"version": 1, "sha": "abc", "short": "w_2022_26"}
    store.record_versions(submission_id=first, epoch=1, versions=found | {"sha": "old"}, ran=True)
    assert store.versions(submission_id=first) is None
    store.record_versions(submission_id=first, epoch=2, versions=found, ran=True)
    assert store.versions(submission_id=first) == found
    (view,) = store.snapshot("demo").groups[0].submissions
    assert (view.versions_sha, view.versions_short) == ("abc", "w_2022_26")
    assert [row.stack for row in store.board("demo")] == ["w_2022_26"]
    # What was refused is shown, and binds nobody.
    store.record_versions(submission_id=first, epoch=2, versions=found, ran=False)
    assert rows(sql, "SELECT versions_sha, versions->>'short' FROM submission") == [("", "w_2022_26")]
    assert_rollup_is_right(sql)


def test_what_only_a_person_can_mend_and_what_a_person_allows(
    given: Given, group: int, store: PostgresStore
) -> None:
    first = given.prepared(group)
    store.harvest(
        submission_id=first.id,
        quanta=(),
        outcome=SubmissionOutcome.FAILED,
        reason="no such folder",
        actor="tick",
        now=at(3),
        needs_person=True,
    )
    given.move(group, GroupState.NEEDS_REVIEW)
    assert store.snapshot("demo").groups[0].submissions[0].needs_person
    store.retry_group(group_id=group, reason="mended", actor="ana", now=at(4))
    found = store.snapshot("demo").groups[0]
    assert (found.attempts_from, found.stack_from) == (1, 0)
    given.prepared(group, 2)
    given.harvested(found.submissions[0].id + 1, outcome=SubmissionOutcome.FAILED)
    given.move(group, GroupState.NEEDS_REVIEW)
    store.retry_group(group_id=group, reason="new", actor="ana", now=at(5), allow_stack_change=True)
    found = store.snapshot("demo").groups[0]
    assert (found.attempts_from, found.stack_from) == (2, 2)
