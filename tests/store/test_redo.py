"""Generations of a group: what a redo leaves, what counts afterwards, and which one readers see."""

from __future__ import annotations

from contextlib import closing

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection  # noqa: N812
from store_help import Given, assert_rollup_is_right, at, failed, quantum, rows, worked

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.execution.counts import COUNTED_STATES, Counts
from merian_campaign.domain.execution.quanta import Quantum
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.overlaps import Overlaps
from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.domain.resources.core_hours import TaskCost
from merian_campaign.domain.states import (
    GroupState,
    IllegalMoveError,
    QuantumState,
    SubmissionOutcome,
    Verdict,
)
from merian_campaign.store.reading.reader import Reader
from merian_campaign.store.server import migrate
from merian_campaign.store.server.connection import libpq_url, open_connection
from merian_campaign.store.store import PostgresStore

QUANTA = "SELECT patch, state, attempts, charged_attempts, memory_attempts FROM quantum ORDER BY patch"
ONE = Basis(exposures=frozenset({1, 2}), upstream={"step1/all": 2})
TWO = Basis(exposures=frozenset({1, 2, 3}))


@pytest.fixture
def group(given: Given) -> int:
    (only,) = given.campaign()
    return only


def seen(store: PostgresStore) -> GroupView:
    (only,) = store.snapshot("demo").groups
    return only


def done(given: Given, group: int, number: int, *quanta: Quantum, basis: Basis | None = None) -> int:
    """Submit, harvest, and call the group done; return the submission's id."""
    if number > 1:
        given.move(group, GroupState.READY)
    submission = given.prepared(group, number, basis=basis)
    given.harvested(submission.id, *quanta)
    given.move(group, GroupState.DONE)
    return submission.id


def again(given: Given, group: int, *, redo: bool = True) -> None:
    given.store.again(group_id=group, redo=redo, reason="3 new exposures", actor="tick", now=at(20))


def test_what_was_done_again_is_done_once(given: Given, group: int, url: str) -> None:
    def told() -> tuple[int, int, int]:
        with Reader(url) as reader:
            found = reader.report("demo", at=at(40))
        progress = found.progress
        return (
            sum(row.done for row in progress),
            sum(row.succeeded for row in progress),
            sum(row.executions for row in found.usage),
        )

    done(
        given,
        group,
        1,
        quantum(1, worked()),
        quantum(2, failed(Verdict.INFRASTRUCTURE), worked(try_number=2)),
    )
    assert told() == (2, 2, 3)
    again(given, group)
    assert told() == (0, 2, 3)
    done(
        given,
        group,
        2,
        quantum(1, worked()),
        quantum(2, failed(Verdict.INFRASTRUCTURE), worked(try_number=2)),
    )
    assert told() == (2, 4, 6)


def test_a_redo_begins_a_generation_of_which_nothing_has_run(
    given: Given, group: int, sql: Connection, store: PostgresStore
) -> None:
    first = (quantum(1, worked()), quantum(2, failed(Verdict.OUT_OF_MEMORY)), quantum(3))
    done(given, group, 1, *first, basis=ONE)
    given.store.move_group(
        group_id=group, state=GroupState.DONE, reason="fine", actor="ana", now=at(12), accepted=True
    )
    assert (seen(store).basis, seen(store).combines) == (ONE, True)

    again(given, group)
    found = seen(store)
    assert (found.state, found.reason, found.accepted) == (GroupState.WAITING, "3 new exposures", False)
    assert (found.generation, found.published, found.attempts_from) == (2, 1, 1)
    assert (found.counts, found.open_quanta) == (Counts(), ())
    assert (found.basis, found.combines) == (None, True)
    assert [entry.generation for entry in found.submissions] == [1]
    assert rows(sql, QUANTA) == [(patch, "superseded", int(patch < 3), 0, 0) for patch in (1, 2, 3)]
    assert store.failures("demo", recovered=True) == ()
    assert store.held_quanta(group_id=group) == ()
    assert store.board("demo")[0].counts == Counts()
    (event, *_) = store.events("demo", limit=1)
    assert (event.kind, event.from_state, event.to_state) == ("redo", "done", "waiting")
    assert_rollup_is_right(sql)

    # What the next graph has is counted by what becomes of it there; the attempts before it stay.
    given.move(group, GroupState.READY)
    second = given.prepared(group, 2, basis=TWO)
    assert second.generation == 2
    store.record_progress(submission_id=second.id, quanta=[quantum(1), quantum(2)], now=at(22))
    assert seen(store).counts == Counts(pending=2)
    assert store.failures("demo") == ()  # they wait for the first attempt of this generation
    counts = given.harvested(second.id, quantum(1, worked()), quantum(2, state=QuantumState.BLOCKED))
    assert counts == Counts(succeeded=1, blocked=1)
    assert rows(sql, QUANTA) == [
        (1, "succeeded", 2, 1, 0),
        (2, "blocked", 1, 0, 0),
        (3, "superseded", 0, 0, 0),
    ]
    (row,) = store.failures("demo")
    assert (row.state, row.verdict) == ("blocked", None)
    one, two, _ = (row[0] for row in rows(sql, "SELECT id FROM quantum ORDER BY patch"))
    told = [(row.submission, row.state, row.peak_mb) for row in store.quantum_attempts(quantum_id=one)]
    assert told == [(1, "succeeded", 900), (2, "succeeded", 900)]
    assert [row.verdict for row in store.quantum_attempts(quantum_id=two)] == ["out_of_memory"]
    assert [row.data_id for row in store.attempts(group_id=group)] == [quantum(2).data_id]
    assert seen(store).basis == TWO
    assert [(entry.number, entry.basis) for entry in store.generations(group_id=group)] == [
        (1, ONE),
        (2, TWO),
    ]
    assert_rollup_is_right(sql)


def test_a_redo_costs_what_the_outputs_that_readers_see_have_cost(
    given: Given, group: int, store: PostgresStore
) -> None:
    hour = (at(2) - at(1)).total_seconds() / 3600
    ((name, key),) = [(one.step, one.key) for one in store.snapshot("demo").groups]
    # Each asked for 2 GiB.
    cost = TaskCost(step=name, group=key, task="measure", quanta=2, hours=3 * hour, gb_hours=6 * hour)
    done(given, group, 1, quantum(1, worked()), quantum(2, failed(), worked(try_number=2)))
    assert store.costs("demo", groups=[f"{name}/{key}"]) == (cost,)
    assert store.costs("demo", groups=["step9/all"]) == ()
    again(given, group)
    assert store.costs("demo", groups=[f"{name}/{key}"]) == (cost,)
    # What is being made is not seen yet, and costs nothing more.
    done(given, group, 2, quantum(1, worked(ended=at(9))))
    assert store.costs("demo", groups=[f"{name}/{key}"]) == (cost,)
    store.published(group_id=group, generation=2, actor="tick", now=at(30))
    (now,) = store.costs("demo", groups=[f"{name}/{key}"])
    assert (now.quanta, now.hours) == (1, pytest.approx(8 * hour))


def test_going_on_keeps_what_is_there(
    given: Given, group: int, sql: Connection, store: PostgresStore
) -> None:
    done(given, group, 1, quantum(1, worked()), quantum(2, failed()))
    before = seen(store).counts
    again(given, group, redo=False)
    found = seen(store)
    assert (found.generation, found.counts, found.attempts_from) == (1, before, 1)
    assert rows(sql, QUANTA) == [(1, "succeeded", 1, 1, 0), (2, "failed", 1, 0, 0)]
    (event, *_) = store.events("demo", limit=1)
    assert (event.kind, event.reason) == ("extend", "3 new exposures")
    again(given, group, redo=False)  # of one that waits
    assert seen(store).state is GroupState.WAITING


def test_what_is_under_way_is_left_alone(given: Given, group: int, store: PostgresStore) -> None:
    given.prepared(group)
    before = seen(store)
    with pytest.raises(IllegalMoveError):
        again(given, group)
    with pytest.raises(BadInputError):
        again(given, group + 1000)
    assert seen(store) == before


def test_a_harvest_of_an_older_generation_changes_no_quantum(
    given: Given, group: int, sql: Connection, store: PostgresStore
) -> None:
    first = done(given, group, 1, quantum(1, worked()))
    again(given, group)
    counts = given.harvested(first, quantum(1, worked()), quantum(2, failed()))
    assert counts == Counts()
    assert rows(sql, QUANTA) == [(1, "superseded", 1, 0, 0)]
    assert_rollup_is_right(sql)


def test_a_generation_is_put_in_force_once(given: Given, group: int, store: PostgresStore) -> None:
    done(given, group, 1, quantum(1, worked()))
    again(given, group)
    for _ in range(2):
        store.published(group_id=group, generation=2, actor="tick", now=at(30))
    assert seen(store).published == 2
    assert seen(store).state is GroupState.WAITING
    told = [event.reason for event in store.events("demo") if event.kind == "publish"]
    assert told == ["generation 2 has taken the place of generation 1"]


def test_whether_a_graph_combines_is_told_by_its_quanta(
    given: Given, sql: Connection, store: PostgresStore
) -> None:
    groups = given.campaign(tracts=(1, 2, 3))
    for group, dimensions in zip(
        groups, ({"visit": 7}, {"exposure": 7, "detector": 1}, {"detector": 1}), strict=True
    ):
        one = quantum(1, worked(), dimensions=dimensions)
        given.harvested(given.prepared(group).id, one)
    none = given.again(groups[2], 2)
    given.harvested(none, outcome=SubmissionOutcome.EMPTY)
    found = store.snapshot("demo").groups
    assert [group.combines for group in found] == [False, False, True]
    assert [group.gathers for group in found] == [True, False, False]
    assert rows(sql, "SELECT combines FROM submission ORDER BY id") == [(False,), (False,), (True,), (None,)]


STATES = st.sampled_from([state for state in COUNTED_STATES if state is not QuantumState.RUNNING])
GRAPHS = st.dictionaries(st.integers(1, 5), STATES, min_size=1)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@drawn(st.lists(st.tuples(st.booleans(), GRAPHS), min_size=2, max_size=5))
def test_counts_are_those_of_the_current_generation(
    given: Given, sql: Connection, store: PostgresStore, graphs: list[tuple[bool, dict[int, QuantumState]]]
) -> None:
    """Whatever submissions and redos come after each other."""
    if store.campaign("demo") is not None:
        store.forget("demo")
    (group,) = given.campaign()
    expected: dict[int, QuantumState] = {}
    attempts: dict[int, int] = {}
    for number, (redo, graph) in enumerate(graphs, start=1):
        if number > 1:
            again(given, group, redo=redo)
            expected = {} if redo else expected
        given.move(group, GroupState.READY)
        submission = given.store.prepare_submission(**given.new(group, number))
        ran = {QuantumState.SUCCEEDED: worked(), QuantumState.FAILED: failed()}
        quanta = [
            quantum(patch, *([ran[state]] if state in ran else []), state=state)
            for patch, state in graph.items()
        ]
        given.harvested(submission.id, *quanta)
        given.move(group, GroupState.DONE)
        for patch, state in graph.items():
            attempts[patch] = attempts.get(patch, 0) + (state in ran)
            if expected.get(patch) is not QuantumState.SUCCEEDED:
                expected[patch] = state
        counts = seen(store).counts
        states = list(expected.values())
        assert {state: counts.of(state) for state in COUNTED_STATES} == {
            state: states.count(state) for state in COUNTED_STATES
        }
        assert dict(rows(sql, "SELECT patch, attempts FROM quantum")) == attempts
        assert_rollup_is_right(sql)


def test_a_database_of_the_release_before_is_upgraded(empty_url: str) -> None:
    """Done groups are of the first generation, and what graphs combine is read off their quanta."""
    assert migrate.upgrade(libpq_url(empty_url), version="0006")
    with closing(open_connection(empty_url)) as sql:
        sql.autocommit = True
        rows(sql, _OLD)
    assert migrate.upgrade(libpq_url(empty_url))
    with PostgresStore(empty_url) as store:
        unknown, visits, tract, nothing = store.snapshot("old").groups
        for group in (visits, tract, nothing):
            assert (group.state, group.generation, group.published) == (GroupState.DONE, 1, 1)
            assert [entry.generation for entry in group.submissions] == [1]
        assert [visits.combines, tract.combines, nothing.combines] == [False, True, None]
        # Exposure 43 came before the upgrade and after all that was made; 42 was in the graph of its visit.
        assert [one.basis and one.basis.exposures for one in (visits, tract, nothing, unknown)] == [
            {42}, {42}, frozenset(), None
        ]  # fmt: skip
        assert [visits.gathers, tract.gathers, nothing.gathers] == [True, True, None]
        assert tract.counts == Counts(succeeded=1, failed=1)
        overlaps = store.snapshot("old").overlaps
        assert isinstance(overlaps, Overlaps)
        assert [row.exposure for row in overlaps.exposures] == [42, 43]
        store.again(group_id=tract.id, redo=True, reason="new", actor="ana", now=at(1))
        assert store.snapshot("old").group(tract.id).counts == Counts()
    with closing(open_connection(empty_url)) as sql:
        assert rows(sql, "SELECT DISTINCT steps, seen_at, raws_at FROM visit_overlap") == [([], None, None)]
        assert_rollup_is_right(sql)


_OLD = """
INSERT INTO campaign (name, state, file, created_at, updated_at, overlaps_seen_at)
    VALUES ('old', 'active', '/f', now(), now(), now());
INSERT INTO revision (campaign_id, number, text, sha256, spec, actor, applied_at)
    SELECT id, 1, '', '', '{"name": "old", "steps": []}', 'ana', now() FROM campaign;
INSERT INTO "group" (campaign_id, step, key, ordinal, state, created_at, updated_at)
    SELECT c.id, s.step, 'all', s.ordinal, 'done', now(), now()
    FROM campaign AS c,
        (VALUES ('visits', 1), ('tract', 2), ('nothing', 3), ('unknown', 0)) AS s (step, ordinal);
UPDATE "group" SET selection_dimension = 'tract', selection_values = '{1}' WHERE step IN ('tract', 'unknown');
INSERT INTO submission (group_id, number, state, outcome, directory, remedy, created_at, finished_at)
    SELECT id, 1, 'finished', CASE step WHEN 'nothing' THEN 'empty' ELSE 'partial' END, '/d',
        '{"memory_mb": {}, "workers": null}', now() + ordinal * interval '1 hour',
        now() + (ordinal + 1) * interval '1 hour' FROM "group";
INSERT INTO quantum (group_id, task, data_id, visit, state, state_submission_id, updated_at)
    SELECT g.id, t.task, 'x', t.visit, t.state, s.id, now()
    FROM "group" AS g JOIN submission AS s ON s.group_id = g.id
    JOIN (VALUES ('visits', 'isr', 7, 'succeeded'), ('tract', 'warp', 7, 'succeeded'),
        ('tract', 'coadd', NULL, 'failed'), ('unknown', 'ask', NULL, 'succeeded'))
        AS t (step, task, visit, state) ON t.step = g.step;
INSERT INTO quantum_count (group_id, task, state, n)
    SELECT group_id, task, state, count(*) FROM quantum GROUP BY 1, 2, 3;
INSERT INTO visit_overlap (campaign_id, exposure, day_obs, visits, tracts, taken)
    SELECT id, x.exposure, 20210318, ARRAY[x.visit], '{1}', true
    FROM campaign, (VALUES (42, 7), (43, 8)) AS x (exposure, visit)
"""
