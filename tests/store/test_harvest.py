"""Harvest and live progress: nothing lost, nothing doubled, nothing written twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection  # noqa: N812
from store_help import Given, assert_rollup_is_right, at, failed, quantum, rows, worked

from merian_campaign.domain.execution.counts import COUNTED_STATES, Counts
from merian_campaign.domain.execution.quanta import Attempt, Quantum
from merian_campaign.domain.states import QuantumState, SubmissionOutcome, SubmissionState, Verdict
from merian_campaign.store.store import PostgresStore

NUMBERS = "SELECT patch, state, attempts, charged_attempts, memory_attempts FROM quantum ORDER BY patch"
ATTEMPTS = """
    SELECT q.patch, s.number, a.try, a.state, a.verdict
    FROM quantum_attempt a JOIN quantum q ON q.id = a.quantum_id JOIN submission s ON s.id = a.submission_id
    ORDER BY 1, 2, 3
"""


@pytest.fixture
def group(given: Given) -> int:
    return given.campaign()[0]


@pytest.fixture
def first(given: Given, group: int) -> int:
    return given.prepared(group).id


def written(sql: Connection) -> list[tuple[Any, ...]]:
    """Which version of each row is current: changes whenever a row is written."""
    return [
        row
        for table in (
            "quantum_row",
            "attempt_row",
            "quantum_failure",
            "quantum_count",
            "submission",
            '"group"',
            "event",
        )
        for row in rows(sql, f"SELECT '{table}', xmin::text, ctid::text FROM {table} ORDER BY ctid")
    ]


def test_success_at_first_try_needs_no_attempt_row(given: Given, first: int, sql: Connection) -> None:
    counts = given.harvested(first, quantum(1, worked()), outcome=SubmissionOutcome.SUCCEEDED)
    assert counts == Counts(succeeded=1)
    assert rows(sql, NUMBERS) == [(1, "succeeded", 1, 1, 0)]
    assert rows(sql, ATTEMPTS) == []
    assert rows(sql, "SELECT peak_mb, host, log_path FROM quantum") == [(900, "node1", "/logs/one.log")]


def test_quanta_that_never_ran_have_no_attempts(given: Given, first: int, sql: Connection) -> None:
    states = (QuantumState.PENDING, QuantumState.BLOCKED, QuantumState.UNKNOWN)
    counts = given.harvested(first, *(quantum(i, state=state) for i, state in enumerate(states)))
    assert counts == Counts(pending=1, blocked=1, unknown=1)
    assert [row[2:] for row in rows(sql, NUMBERS)] == [(0, 0, 0)] * 3


def test_failed_then_recovered_keeps_both_attempts(
    given: Given, group: int, first: int, sql: Connection
) -> None:
    given.harvested(first, quantum(1, failed(Verdict.OUT_OF_MEMORY)), quantum(2, worked()))
    assert rows(sql, NUMBERS) == [(1, "failed", 1, 1, 1), (2, "succeeded", 1, 1, 0)]
    counts = given.harvested(given.again(group, 2), quantum(1, worked(peak_mb=3000)))
    assert counts == Counts(succeeded=2)
    assert rows(sql, NUMBERS) == [(1, "succeeded", 2, 2, 1), (2, "succeeded", 1, 1, 0)]
    assert rows(sql, ATTEMPTS) == [
        (1, 1, 1, "failed", "out_of_memory"),
        (1, 2, 1, "succeeded", None),
    ]
    assert rows(sql, "SELECT verdict, exception_type, peak_mb FROM quantum WHERE patch = 1") == [
        (None, None, 3000)
    ]
    assert_rollup_is_right(sql)


def test_several_tries_in_one_submission(given: Given, first: int, sql: Connection) -> None:
    tries = (
        failed(Verdict.NODE_LOST, charged=False),
        failed(Verdict.OUT_OF_MEMORY, try_number=2),
        worked(try_number=3),
    )
    given.harvested(first, quantum(1, *tries))
    assert rows(sql, NUMBERS) == [(1, "succeeded", 3, 2, 1)]
    assert len(rows(sql, ATTEMPTS)) == 3


def test_blocked_attempts_are_stored_but_not_counted(given: Given, first: int, sql: Connection) -> None:
    given.harvested(first, quantum(1, Attempt(try_number=1, state=QuantumState.BLOCKED)))
    assert rows(sql, NUMBERS) == [(1, "blocked", 0, 0, 0)]
    assert len(rows(sql, ATTEMPTS)) == 1


def test_second_identical_harvest_writes_nothing(
    given: Given, group: int, first: int, sql: Connection
) -> None:
    one = (quantum(1, failed()), quantum(2, worked()), quantum(3, state=QuantumState.BLOCKED))
    given.harvested(first, *one)
    second = given.again(group, 2)
    two = (quantum(1, failed(), worked(try_number=2)), quantum(3, worked()))
    given.harvested(second, *two)
    before = written(sql)
    given.harvested(second, *two, minutes=20)
    assert written(sql) == before
    given.harvested(first, *one, minutes=30)
    assert written(sql) == before
    assert rows(sql, NUMBERS) == [
        (1, "succeeded", 3, 3, 0),
        (2, "succeeded", 1, 1, 0),
        (3, "succeeded", 1, 1, 0),
    ]


def test_later_facts_replace_earlier_ones_but_tell_why_it_failed(
    given: Given, group: int, first: int, sql: Connection
) -> None:
    given.harvested(first, quantum(1, failed(Verdict.ALGORITHM)))
    given.harvested(given.again(group, 2), quantum(1, state=QuantumState.UNKNOWN))
    assert rows(sql, "SELECT state, verdict, attempts FROM quantum") == [("unknown", "algorithm", 1)]
    # An earlier submission harvested late does not turn it back.
    given.harvested(first, quantum(1, failed(Verdict.ALGORITHM)))
    assert rows(sql, "SELECT state FROM quantum") == [("unknown",)]


@pytest.mark.parametrize("state", [state for state in COUNTED_STATES if state is not QuantumState.SUCCEEDED])
def test_succeeded_stays_succeeded(
    given: Given, group: int, first: int, sql: Connection, state: QuantumState
) -> None:
    given.harvested(first, quantum(1, worked()))
    second = given.again(group, 2)
    late = quantum(1, failed(), state=state)
    given.store.record_progress(submission_id=second, quanta=[late], now=at(5))
    given.harvested(second, late)
    assert rows(sql, "SELECT state, verdict, peak_mb FROM quantum") == [("succeeded", None, 900)]
    # Still, nothing that ran is forgotten.
    assert rows(sql, NUMBERS) == [(1, "succeeded", 2, 2, 0)]
    given.harvested(first, quantum(1, failed()))
    assert rows(sql, "SELECT state FROM quantum") == [("succeeded",)]


def test_harvest_may_correct_the_progress_of_its_own_submission(
    given: Given, first: int, sql: Connection
) -> None:
    given.store.record_progress(submission_id=first, quanta=[quantum(1, worked())], now=at(2))
    given.store.record_progress(submission_id=first, quanta=[quantum(1, failed())], now=at(3))
    assert rows(sql, "SELECT state FROM quantum") == [("succeeded",)]
    given.harvested(first, quantum(1, failed()))
    assert rows(sql, NUMBERS) == [(1, "failed", 1, 1, 0)]
    assert rows(sql, ATTEMPTS) == [(1, 1, 1, "failed", "infrastructure")]


@pytest.mark.parametrize("state", [state for state in COUNTED_STATES if state is not QuantumState.SUCCEEDED])
def test_a_harvest_may_correct_a_live_success_to_anything(
    given: Given, first: int, sql: Connection, state: QuantumState
) -> None:
    live = [quantum(patch, state=QuantumState.SUCCEEDED) for patch in (1, 2)]
    given.store.record_progress(submission_id=first, quanta=live, now=at(2))
    counts = given.harvested(first, quantum(1, state=state), quantum(2, worked()))
    assert rows(sql, NUMBERS) == [(1, state.value, 0, 0, 0), (2, "succeeded", 1, 1, 0)]
    assert (counts.succeeded, counts.of(state)) == (1, 1)
    assert_rollup_is_right(sql)


def test_a_live_success_that_the_harvest_does_not_know_is_none(
    given: Given, group: int, first: int, sql: Connection
) -> None:
    given.harvested(first, quantum(1, failed()), quantum(2, worked()))
    second = given.again(group, 2)
    live = [quantum(patch, state=QuantumState.SUCCEEDED) for patch in (1, 2, 3)]
    given.store.record_progress(submission_id=second, quanta=live, now=at(12))
    given.harvested(second)
    assert rows(sql, NUMBERS) == [(1, "failed", 1, 1, 0), (2, "succeeded", 1, 1, 0), (3, "unknown", 0, 0, 0)]
    assert_rollup_is_right(sql)


def test_the_bases_of_exceptions_are_kept(given: Given, first: int, sql: Connection) -> None:
    given.harvested(first, quantum(1, failed(exception_bases=("a.Alg", "a.Error"))), quantum(2, worked()))
    assert rows(sql, "SELECT patch, exception_bases FROM quantum ORDER BY 1") == [
        (1, "a.Alg a.Error"), (2, ""),
    ]  # fmt: skip
    assert rows(sql, "SELECT exception_bases FROM quantum_attempt") == [("a.Alg a.Error",)]


def test_an_attempt_that_its_quantum_tells_has_the_uuid_that_its_log_is_called_after(
    given: Given, group: int, first: int, sql: Connection
) -> None:
    uuid = "0194a215-091b-7181-bc15-00000000000c"
    given.harvested(first, quantum(1, failed()))
    log = f"/copied/elsewhere/logs/isr/{uuid}_isr_970613_2.stderr"
    given.harvested(given.again(group, 2), quantum(1, worked(uuid=uuid, log_path=log)))
    told = "SELECT try, uuid, log_path FROM quantum_attempt WHERE state = 'succeeded'"
    assert rows(sql, told) == [(1, uuid, log)]


def test_a_success_after_failures_is_told_by_its_quantum(
    given: Given, group: int, first: int, sql: Connection
) -> None:
    """It has no row of its own, like one at first try, and counts like any other attempt."""
    stored = "SELECT q.patch, s.number, a.state FROM stored_attempt a JOIN quantum q ON q.id = a.quantum_id"
    stored += " JOIN submission s ON s.id = a.submission_id ORDER BY 1, 2"
    given.harvested(first, quantum(1, failed()), quantum(2, failed()))
    second = given.again(group, 2)
    given.store.record_progress(
        submission_id=second, quanta=[quantum(1, worked()), quantum(2, worked())], now=at(50)
    )
    assert rows(sql, NUMBERS) == [(1, "succeeded", 2, 2, 0), (2, "succeeded", 2, 2, 0)]
    assert rows(sql, stored) == [(1, 1, "failed"), (2, 1, "failed")]
    # A journal may be wrong.
    oom = failed(Verdict.OUT_OF_MEMORY)
    given.harvested(second, quantum(1, worked()), quantum(2, oom))
    assert rows(sql, NUMBERS) == [(1, "succeeded", 2, 2, 0), (2, "failed", 2, 2, 1)]
    assert rows(sql, stored) == [(1, 1, "failed"), (2, 1, "failed"), (2, 2, "failed")]
    assert rows(sql, ATTEMPTS) == [
        (1, 1, 1, "failed", "infrastructure"),
        (1, 2, 1, "succeeded", None),
        (2, 1, 1, "failed", "infrastructure"),
        (2, 2, 1, "failed", "out_of_memory"),
    ]
    before = written(sql)
    given.harvested(second, quantum(1, worked()), quantum(2, oom))
    assert written(sql)[: len(before) - 2] == before[:-2]
    # What has a row keeps it.
    given.harvested(second, quantum(1, worked()), quantum(2, worked()))
    assert rows(sql, NUMBERS) == [(1, "succeeded", 2, 2, 0), (2, "succeeded", 2, 2, 0)]
    assert rows(sql, stored)[1:] == [(2, 1, "failed"), (2, 2, "succeeded")]
    with sql.cursor() as cursor:
        cursor.execute('UPDATE "group" SET attempts_from = 1')
    sql.commit()
    given.harvested(second, quantum(1, worked()), quantum(2, worked()))
    assert rows(sql, NUMBERS) == [(1, "succeeded", 2, 1, 0), (2, "succeeded", 2, 1, 0)]
    assert [(row.submission, row.state) for row in given.store.attempts(group_id=group)] == [
        *((1, "failed"), (2, "succeeded")),
    ] * 2


def test_words_of_one_quantum_alone_make_no_entry(given: Given, first: int, sql: Connection) -> None:
    lonely = {"evidence": "peak 14410 MiB", "exception_message": "visit 971020"}
    common = {"evidence": "rule 3", "exception_message": "in patch 7"}
    given.harvested(
        first, quantum(1, failed(**lonely)), quantum(2, failed(**common)), quantum(3, failed(**common))
    )
    told = "SELECT evidence, exception_message FROM {}"
    entries = [(None, None), ("rule 3", "in patch 7")]
    assert sorted(rows(sql, told.format("quantum_failure")), key=str) == sorted(entries, key=str)
    assert [row for row in rows(sql, told.format("attempt_row")) if any(row)] == [tuple(lonely.values())]
    shown = sorted(rows(sql, told.format("quantum_attempt")))
    assert shown == [tuple(lonely.values()), *[tuple(common.values())] * 2]


def test_the_evidence_of_an_attempt_is_kept_and_costs_a_first_success_eight_bytes(
    given: Given, first: int, sql: Connection
) -> None:
    given.harvested(first, quantum(1, worked()))
    # Rows lie on multiples of eight bytes.
    room = "SELECT (pg_column_size(q.*) + 7) / 8 * 8 FROM quantum_row AS q WHERE patch = 1"
    before = rows(sql, room)
    used = {"inputs": 99_999, "cpu_seconds": 61.5}
    told = {"certainty": "declared", "slurm_job": "4711", "log_tail": "Traceback\nx.Error: no\tstars"}
    given.harvested(first, quantum(1, worked(**used)), quantum(2, failed(**told, **used, cores=4)))
    assert rows(sql, room)[0][0] <= before[0][0] + 8
    assert rows(sql, "SELECT inputs, cpu_seconds, cores FROM quantum ORDER BY patch") == [
        (32767, 61.5, None), (32767, 61.5, 4),
    ]  # fmt: skip
    (row,) = given.store.failures("demo")
    assert {name: getattr(row, name) for name in (*told, "cores")} == told | {"cores": 4}
    (attempt,) = given.store.quantum_attempts(quantum_id=row.quantum_id)
    assert attempt.log_tail == told["log_tail"]


def test_a_blocked_quantum_points_at_what_blocks_it_while_it_is(
    given: Given, group: int, first: int, sql: Connection
) -> None:
    blocker = quantum(1, failed(), tolerated=True)
    behind = quantum(2, state=QuantumState.BLOCKED, blocked_by=(blocker.task, blocker.data_id), task="table")
    pointers = (
        "SELECT b.patch FROM quantum AS q LEFT JOIN quantum AS b ON b.id = q.blocked_by ORDER BY q.patch"
    )
    given.harvested(first, behind, blocker)
    assert rows(sql, pointers) == [(None,), (1,)]
    (row,) = [one for one in given.store.failures("demo") if one.state == "blocked"]
    assert row.blocked_by == next(one.quantum_id for one in given.store.failures("demo") if one.attempts)
    assert rows(sql, "SELECT tolerated FROM quantum") == [(True,)] * 2
    (snapshot,) = given.store.snapshot("demo").groups
    assert {(one.state, one.tolerated, one.behind_task) for one in snapshot.open_quanta} == {
        ("failed", True, None), ("blocked", True, "measure"),
    }  # fmt: skip
    before = written(sql)
    given.harvested(first, behind, blocker)
    assert written(sql) == before
    (cause,) = given.store.causes("demo", at=at(11)).causes
    assert (cause.quanta, cause.behind, cause.patches, cause.tracts) == (1, 1, 2, 1)
    second = given.again(group, 2)
    # Held back there, and in its graph all the same.
    live = [quantum(1, state=QuantumState.FAILED), quantum(2, state=QuantumState.PENDING, task="table")]
    given.store.record_progress(submission_id=second, quanta=live, now=at(12))
    given.harvested(second, behind)
    assert rows(sql, "SELECT tolerated FROM quantum") == [(True,)] * 2
    assert rows(sql, pointers) == [(None,), (1,)]
    third = given.again(group, 3)
    given.harvested(third, quantum(1, worked()), quantum(2, worked(), task="table"))
    assert rows(sql, pointers) == [(None,), (None,)]
    assert rows(sql, "SELECT tolerated FROM quantum") == [(None,)] * 2


def test_progress(given: Given, first: int, sql: Connection) -> None:
    def progress(*quanta: Quantum) -> int:
        return given.store.record_progress(submission_id=first, quanta=quanta, now=at(3))

    assert progress(quantum(1), quantum(2)) == 2
    before = written(sql)
    assert progress(quantum(1), quantum(2)) == 0
    assert progress() == 0
    assert written(sql) == before
    assert progress(quantum(1, state=QuantumState.RUNNING)) == 1
    assert progress(quantum(1, worked()), quantum(2, failed())) == 3
    assert rows(sql, NUMBERS) == [(1, "succeeded", 1, 1, 0), (2, "failed", 1, 1, 0)]
    assert_rollup_is_right(sql)
    given.harvested(first, quantum(1, worked(), caveats="N"), quantum(2, failed()))
    assert rows(sql, "SELECT caveats FROM quantum ORDER BY patch") == [("N",), ("",)]
    assert rows(sql, NUMBERS) == [(1, "succeeded", 1, 1, 0), (2, "failed", 1, 1, 0)]
    assert progress(quantum(2, worked())) == 0, "a driver that was given up has no say"


def test_nothing_of_a_quantum_is_lost(given: Given, first: int, sql: Connection) -> None:
    nasty = "tab\there, line\nfeed, return\r, back\\slash, \\N, nul\x00, é, \udcff and " + "x" * 3000
    given.harvested(
        first,
        quantum(1, failed(exception_message=nasty, evidence="\\N", host="a\tb", signal=9, exit_code=None)),
        quantum(2, failed(exception_message="", log_path=None, started=at(0).replace(microsecond=123457))),
    )
    kept = nasty[:2000].replace("\x00", "\\x00").replace("\udcff", "\\udcff")
    found = rows(
        sql, "SELECT exception_message, evidence, host, signal, exit_code FROM quantum WHERE patch = 1"
    )
    assert found == [(kept, "\\N", "a\tb", 9, None)]
    assert rows(sql, "SELECT exception_message, log_path FROM quantum_attempt ORDER BY 1")[0] == ("", None)
    (row,) = rows(sql, "SELECT tract, patch, band, visit, started, ended FROM quantum WHERE patch = 1")
    assert row == (9813, 1, "N540", None, at(1), at(2))
    assert rows(sql, "SELECT started FROM quantum WHERE patch = 2") == [(at(0).replace(microsecond=123457),)]
    assert rows(sql, "SELECT uuid, requested_mb FROM quantum_attempt LIMIT 1") == [("0191-1", 2048)]


def test_logs_as_bps_calls_them_are_told_as_they_are(given: Given, sql: Connection) -> None:
    """Whatever shape the path of a log has, and whether the one before had the same."""
    group, other = given.campaign(tracts=(9813, 9814))
    uuids = [f"01930000-0000-0000-0000-00000000{number:04x}" for number in range(9)]
    odd = "01930000-0000-0000-0000-00000000ffff"
    inside = "/submit/{}/bps/logs/measure/9813"
    shapes = [
        *[inside + "/{uuid}_measure_9813_{patch}_N540.stderr"] * 3,
        inside + "/100%/%1$s_{uuid}_measure_9813_{patch}.stderr",
        *["/elsewhere/9813/{uuid}_{patch}_%.log"] * 3,
        inside + f"/{odd}_{{patch}}_N540.stderr",
        inside + "/{uuid}_measure_9813_12345_N540.stderr",
    ]
    logs = [
        shape.replace("{uuid}", uuid).replace("{patch}", str(patch))
        for patch, (shape, uuid) in enumerate(zip(shapes, uuids, strict=True))
    ]

    def found(make: Callable[..., Attempt], where: str) -> list[Quantum]:
        common = {"slurm_job": "12", "cores": 2}
        return [
            quantum(i, make(log_path=path.replace("{}", where), uuid=uuid, host=f"n{i % 2}", **common))
            for i, (path, uuid) in enumerate(zip(logs, uuids, strict=True))
        ]

    def told(where: str) -> list[tuple[object, ...]]:
        return [(path.replace("{}", where), f"n{i % 2}", 2, 2048, 0) for i, path in enumerate(logs)]

    how = "log_path, host, cores, requested_mb, exit_code"
    given.harvested(given.prepared(group).id, *found(worked, f"{group}/1"))
    assert rows(sql, f"SELECT {how} FROM quantum_status ORDER BY patch") == told(f"{group}/1")
    assert rows(sql, "SELECT * FROM quantum_attempt") == []
    # Of a quantum that was tried before, the failure has a row, and its quantum tells of the success.
    given.harvested(given.prepared(other).id, *found(failed, f"{other}/1"))
    second = given.again(other, 2)
    given.harvested(second, *found(worked, f"{other}/2"))
    rest = "uuid, slurm_job, state, certainty, evidence, charged, try"
    assert rows(
        sql,
        f"SELECT replace(a.log_path, './', '/submit/{other}/2/'), {how.removeprefix('log_path, ')}, {rest}"
        " FROM quantum_attempt AS a JOIN (SELECT id, patch FROM quantum) AS q ON q.id = a.quantum_id"
        f" WHERE a.submission_id = {second} ORDER BY patch",
    ) == [
        (*one, uuid, None, "succeeded", "", "", True, 1)
        for one, uuid in zip(told(f"{other}/2"), [*uuids[:7], odd, uuids[8]], strict=True)
    ]


def test_duplicates_in_one_batch(given: Given, first: int, sql: Connection) -> None:
    counts = given.harvested(
        first, quantum(1, worked()), quantum(1, failed()), quantum(2), quantum(2, failed())
    )
    assert counts == Counts(succeeded=1, failed=1)
    assert_rollup_is_right(sql)


def test_harvest_finishes_the_submission_once(store: PostgresStore, given: Given, first: int) -> None:
    given.harvested(first, outcome=SubmissionOutcome.EMPTY, minutes=10)
    given.harvested(first, outcome=SubmissionOutcome.EMPTY, minutes=20)
    assert {row.no_graph for row in store.board("demo") if row.submissions} == {True}
    assert {row.no_graph for row in store.board("demo") if not row.submissions} <= {False}
    (submission,) = store.snapshot("demo").groups[0].submissions
    assert (submission.state, submission.outcome) == (SubmissionState.FINISHED, SubmissionOutcome.EMPTY)
    assert (submission.finished_at, submission.reason) == (at(10), "over")
    assert [e.to_state for e in store.events("demo") if e.to_state == "finished"] == ["finished"]
    given.harvested(first, quantum(1, worked()), outcome=SubmissionOutcome.SUCCEEDED, minutes=30)
    (submission,) = store.snapshot("demo").groups[0].submissions
    assert submission.outcome is SubmissionOutcome.SUCCEEDED


def test_counts_follow_states_that_disappear(given: Given, group: int, first: int, sql: Connection) -> None:
    given.harvested(first, quantum(1, failed()), quantum(2, failed(), task="detect"))
    given.harvested(given.again(group, 2), quantum(1, worked()), quantum(2, worked(), task="detect"))
    assert rows(sql, "SELECT DISTINCT state FROM quantum_count") == [("succeeded",)]
    assert_rollup_is_right(sql)


def test_what_progress_had_under_way_is_settled_by_the_harvest(
    given: Given, group: int, first: int, sql: Connection
) -> None:
    given.harvested(first, quantum(1, failed(Verdict.ALGORITHM)), quantum(2, worked()))
    second = given.again(group, 2)
    given.store.record_progress(
        submission_id=second,
        quanta=[quantum(1), quantum(3, state=QuantumState.RUNNING), quantum(4)],
        now=at(20),
    )
    assert rows(sql, "SELECT patch, state FROM quantum ORDER BY 1") == [
        (1, "pending"),
        (2, "succeeded"),
        (3, "running"),
        (4, "pending"),
    ]
    given.harvested(second, outcome=SubmissionOutcome.FAILED)
    assert rows(sql, "SELECT patch, state, verdict FROM quantum ORDER BY 1") == [
        (1, "failed", "algorithm"),
        (2, "succeeded", None),
        (3, "unknown", None),
        (4, "pending", None),
    ]
    assert_rollup_is_right(sql)


attempt_lists = st.lists(st.sampled_from(["ok", "oom", "lost", "bug"]), max_size=3)
histories = st.lists(st.dictionaries(st.integers(0, 3), attempt_lists, max_size=4), min_size=1, max_size=3)


def _attempts(kinds: list[str]) -> tuple[Attempt, ...]:
    made = {
        "ok": worked,
        "oom": lambda **c: failed(Verdict.OUT_OF_MEMORY, **c),
        "lost": lambda **c: failed(Verdict.NODE_LOST, charged=False, **c),
        "bug": lambda **c: failed(Verdict.ALGORITHM, **c),
    }
    return tuple(made[kind](try_number=i) for i, kind in enumerate(kinds, start=1))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories, extra=st.lists(st.integers(0, 2), max_size=3))
def test_numbers_are_those_of_the_history(
    store: PostgresStore, sql: Connection, history: list[dict[int, list[str]]], extra: list[int]
) -> None:
    """Whatever happened, and however often each submission is harvested again."""
    name = f"c{rows(sql, 'SELECT count(*) FROM campaign')[0][0]}"
    setting = Given(store)
    (group,) = setting.campaign(name)
    ids: list[int] = []
    for number, batch in enumerate(history, start=1):
        ids.append(setting.prepared(group).id if number == 1 else setting.again(group, number))
        setting.harvested(ids[-1], *(quantum(patch, *_attempts(kinds)) for patch, kinds in batch.items()))
    for position in extra:
        if position < len(ids):
            batch = history[position]
            setting.harvested(
                ids[position], *(quantum(patch, *_attempts(kinds)) for patch, kinds in batch.items())
            )
    expected = {}
    for batch in history:
        for patch, kinds in batch.items():
            before, states = expected.get(patch, ([], []))
            states = [*states, "pending" if not kinds else "succeeded" if kinds[-1] == "ok" else "failed"]
            expected[patch] = ([*before, *kinds], states)
    found = rows(
        sql,
        "SELECT patch, state, attempts, charged_attempts, memory_attempts FROM quantum WHERE group_id = %s",
        group,
    )
    assert sorted(found) == sorted(
        (
            patch,
            "succeeded" if "succeeded" in states else states[-1],
            len(kinds),
            len(kinds) - kinds.count("lost"),
            kinds.count("oom"),
        )
        for patch, (kinds, states) in expected.items()
    )
    assert_rollup_is_right(sql)
