"""Campaigns, revisions, groups and their moves, events, ticks."""

from __future__ import annotations

from dataclasses import replace

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from sqlalchemy import event as sql_event
from store_help import DRIVER, Given, at, failed, quantum, rows, tract_group, worked

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.record.overlaps import Overlaps, SkyExposure
from merian_campaign.domain.record.records import Event
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.states import CampaignState, GroupState, IllegalMoveError, Verdict
from merian_campaign.store.store import PostgresStore


def test_apply_makes_a_campaign_with_waiting_groups(store: PostgresStore, given: Given) -> None:
    given.campaign(tracts=(9813, 9814))
    campaign = store.campaign("demo")
    assert campaign is not None
    assert (campaign.name, campaign.state, campaign.revision) == ("demo", CampaignState.ACTIVE, 1)
    assert campaign.spec == {"name": "demo", "steps": [{"name": "step3", "fraction": 0.5}]}
    groups = store.snapshot("demo").groups
    assert [(g.step, g.key, g.tract, g.state) for g in groups] == [
        ("step3", "tract9813", 9813, GroupState.WAITING),
        ("step3", "tract9814", 9814, GroupState.WAITING),
    ]
    assert groups[0].counts == Counts()
    assert store.campaign("other") is None
    assert [found.name for found in store.campaigns()] == ["demo"]


def test_applying_the_same_again_changes_nothing(store: PostgresStore, given: Given, sql: Connection) -> None:
    given.campaign()
    before = rows(sql, 'SELECT xmin, ctid FROM "group" UNION ALL SELECT xmin, ctid FROM campaign')
    given.campaign(now=at(5))
    assert rows(sql, 'SELECT xmin, ctid FROM "group" UNION ALL SELECT xmin, ctid FROM campaign') == before
    assert rows(sql, "SELECT count(*) FROM revision") == [(1,)]
    assert len(store.events("demo")) == 1


def test_a_new_revision_adds_drops_and_reorders(store: PostgresStore, given: Given) -> None:
    first, second = given.campaign(tracts=(1, 2))
    given.prepared(first)
    groups = [tract_group(3, ordinal=1), tract_group(1, ordinal=7)]
    given.campaign(sha256="def", groups=groups, dropped=[first, second], file="/moved.yaml", now=at(9))
    campaign = store.campaign("demo")
    assert campaign is not None
    assert (campaign.revision, campaign.sha256, campaign.file) == (2, "def", "/moved.yaml")
    # The first has run, so it stays whatever the revision says.
    assert [g.key for g in store.snapshot("demo").groups] == ["tract3", "tract1"]
    assert store.events("demo")[0].reason == "revision 2: 1 groups created, 1 dropped"


def test_the_record_outlives_a_dropped_group(store: PostgresStore, given: Given) -> None:
    (group,) = given.campaign()
    given.move(group, GroupState.READY)
    given.campaign(sha256="def", groups=[], dropped=[group])
    assert [(e.group, e.to_state) for e in store.events("demo", group_id=group)] == [("tract9813", "ready")]


def test_only_a_group_that_never_ran_may_select_anew(store: PostgresStore, given: Given) -> None:
    first, _ = given.campaign(tracts=(1, 2))
    given.prepared(first)
    other = [
        replace(tract_group(tract), selection=Selection(dimension="visit", values=(7, 8))) for tract in (1, 2)
    ]
    given.campaign(sha256="def", groups=other)
    selections = [group.selection for group in store.snapshot("demo").groups]
    assert selections == [
        Selection(dimension="tract", values=(1,)),
        Selection(dimension="visit", values=(7, 8)),
    ]


def test_a_moved_file_needs_no_revision(store: PostgresStore, given: Given) -> None:
    given.campaign()
    given.campaign(file="/elsewhere.yaml")
    campaign = store.campaign("demo")
    assert campaign is not None
    assert (campaign.file, campaign.revision) == ("/elsewhere.yaml", 1)


def test_campaign_state(store: PostgresStore, given: Given) -> None:
    given.campaign()
    said = Event(kind="campaign", actor="ana", reason="beam time", from_state="active", to_state="paused")
    store.set_campaign_state(name="demo", state=CampaignState.PAUSED, event=said, now=at(4))
    campaign = store.campaign("demo")
    assert campaign is not None
    assert campaign.state is CampaignState.PAUSED
    newest = store.events("demo")[0]
    assert (newest.at, newest.actor, newest.reason, newest.to_state) == (at(4), "ana", "beam time", "paused")


def test_unknown_campaign_says_which_there_are(store: PostgresStore, given: Given) -> None:
    given.campaign()
    for call in (store.snapshot, store.board, store.failures, store.events):
        with pytest.raises(BadInputError, match=r"no campaign is called 'dmeo' \(there are: demo\)"):
            call("dmeo")


def test_ticks(store: PostgresStore, given: Given, sql: Connection) -> None:
    given.campaign()
    campaign = store.campaign("demo")
    assert campaign is not None
    tick = store.tick_started(campaign_id=campaign.id, host="h", pid=7, now=at(0))
    store.tick_finished(tick_id=tick, now=at(1), actions=3, error=None)
    assert rows(sql, "SELECT host, pid, started_at, finished_at, actions, error FROM tick") == [
        ("h", 7, at(0), at(1), 3, None)
    ]


def test_groups_move_along_the_table_only(store: PostgresStore, given: Given) -> None:
    (group,) = given.campaign()
    with pytest.raises(IllegalMoveError):
        given.move(group, GroupState.DONE)
    assert store.snapshot("demo").groups[0].state is GroupState.WAITING
    given.move(group, GroupState.BLOCKED, "step1 needs review")
    given.move(group, GroupState.BLOCKED, "step1 was cancelled")
    found = store.snapshot("demo").groups[0]
    assert (found.state, found.reason) == (GroupState.BLOCKED, "step1 was cancelled")
    assert [(e.from_state, e.to_state) for e in store.events("demo", limit=1)] == [("waiting", "blocked")]
    with pytest.raises(BadInputError, match="no group with the id 1000000000"):
        given.move(10**9, GroupState.READY)


def test_acceptance_is_remembered_until_the_group_runs_again(store: PostgresStore, given: Given) -> None:
    (group,) = given.campaign()
    submission = given.prepared(group)
    given.harvested(submission.id, quantum(1, failed(Verdict.ALGORITHM)))
    given.move(group, GroupState.NEEDS_REVIEW)
    store.move_group(
        group_id=group, state=GroupState.DONE, reason="fine", actor="ana", now=at(9), accepted=True
    )
    assert store.snapshot("demo").groups[0].accepted
    given.move(group, GroupState.READY)
    assert not store.snapshot("demo").groups[0].accepted


def test_retry_forgets_caps_but_not_attempts(store: PostgresStore, given: Given) -> None:
    (group,) = given.campaign()
    first = given.prepared(group).id
    given.harvested(first, quantum(1, failed(Verdict.OUT_OF_MEMORY)), quantum(2, failed(Verdict.ALGORITHM)))
    given.move(group, GroupState.NEEDS_REVIEW)
    assert [held.data_id for held in store.held_quanta(group_id=group)] == ["band=N540,patch=2,tract=9813"]
    store.retry_group(group_id=group, reason="fixed the pipeline", actor="ana", now=at(20))
    found = store.snapshot("demo").groups[0]
    assert (found.state, found.attempts_from, found.reason) == (GroupState.READY, 1, "fixed the pipeline")
    assert [(o.charged_attempts, o.memory_attempts) for o in found.open_quanta] == [(0, 1), (0, 0)]
    assert store.held_quanta(group_id=group) == ()
    assert len(store.attempts(group_id=group)) == 2
    # Harvested once more, the old attempts stay forgiven.
    given.harvested(first, quantum(1, failed(Verdict.OUT_OF_MEMORY)), quantum(2, failed(Verdict.ALGORITHM)))
    assert [o.charged_attempts for o in store.snapshot("demo").groups[0].open_quanta] == [0, 0]
    second = given.prepared(group, 2).id
    given.harvested(second, quantum(1, worked()), quantum(2, failed(Verdict.ALGORITHM)))
    (still,) = store.snapshot("demo").groups[0].open_quanta
    assert (still.charged_attempts, still.number) == (1, 1)
    assert [held.dimensions["patch"] for held in store.held_quanta(group_id=group)] == [2]


def test_open_quanta_are_summed_by_what_a_retry_depends_on(store: PostgresStore, given: Given) -> None:
    (group,) = given.campaign()
    oom = failed(Verdict.OUT_OF_MEMORY, exception_type="MemoryError", exception_message="3 GiB")
    given.harvested(
        given.prepared(group).id,
        quantum(1, oom),
        quantum(2, oom),
        quantum(3, oom, oom.__class__(try_number=2, state=oom.state, verdict=oom.verdict, requested_mb=4096)),
        quantum(4, task="warp"),
        quantum(5, worked()),
    )
    found = store.snapshot("demo").groups[0]
    assert found.counts == Counts(pending=1, succeeded=1, failed=3)
    sums = [
        (o.task, o.state, o.verdict, o.charged_attempts, o.memory_attempts, o.requested_mb, o.number)
        for o in found.open_quanta
    ]
    assert sums == [
        ("measure", "failed", "out_of_memory", 1, 1, 2048, 2),
        ("measure", "failed", "out_of_memory", 2, 2, 4096, 1),
        ("warp", "pending", None, 0, 0, None, 1),
    ]
    assert (found.open_quanta[0].exception_type, found.open_quanta[0].exception_message) == (
        "MemoryError",
        "3 GiB",
    )
    assert found.open_quanta[2].exception_type == ""


def test_a_snapshot_costs_the_same_number_of_statements_however_large(
    store: PostgresStore, given: Given
) -> None:
    statements: list[str] = []
    sql_event.listen(store._engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    given.campaign(tracts=range(2))
    statements.clear()
    store.snapshot("demo")
    few = len(statements)
    given.campaign(tracts=range(300), sha256="def")
    statements.clear()
    assert len(store.snapshot("demo").groups) == 300
    assert len(statements) == few <= 6


def test_events_are_append_only(given: Given, sql: Connection) -> None:
    given.campaign()
    for statement in ("UPDATE event SET reason = 'x'", "DELETE FROM event", "TRUNCATE event"):
        with pytest.raises(psycopg2.errors.RestrictViolation, match="append-only"):
            rows(sql, statement)


def test_forgetting_takes_one_campaign_and_all_of_it(
    store: PostgresStore, given: Given, sql: Connection
) -> None:
    for name in ("demo", "other"):
        (group,) = given.campaign(name)
        given.harvested(given.prepared(group).id, quantum(1, failed()), quantum(2, worked()))
        campaign = store.campaign(name)
        assert campaign is not None
        store.tick_started(campaign_id=campaign.id, host="h", pid=1, now=at(0))
        seen = Overlaps(exposures=(SkyExposure(exposure=1, day_obs=20210318),), basis="b", seen_at=at(0))
        store.record_overlaps(campaign_id=campaign.id, overlaps=seen, actor="tick", now=at(0))
    tables = [
        "revision",
        "visit_overlap",
        '"group"',
        "submission",
        "quantum",
        "quantum_attempt",
        "quantum_count",
        "event",
        "tick",
    ]
    before = {table: rows(sql, f"SELECT count(*) FROM {table}")[0][0] for table in tables}
    store.forget("demo")
    assert store.campaign("demo") is None
    assert store.board("other")[0].counts == Counts(succeeded=1, failed=1)
    assert {table: 2 * rows(sql, f"SELECT count(*) FROM {table}")[0][0] for table in tables} == before
    # The door to the record closes behind it.
    with pytest.raises(psycopg2.errors.RestrictViolation):
        rows(sql, "DELETE FROM event")


def test_a_campaign_takes_the_identity_that_its_directories_bear(store: PostgresStore, given: Given) -> None:
    given.campaign()
    store.adopt(name="demo", uuid="of the lost database")
    assert store.snapshot("demo").campaign.uuid == "of the lost database"


def test_who_claims_a_submission_does_not_look_through_all_events(store: PostgresStore, given: Given) -> None:
    """When a person last let a campaign go on is asked of all its events, for a snapshot alone."""
    (group,) = given.campaign()
    for minute in (3, 5):
        event = Event(kind="resume", actor="ana")
        store.set_campaign_state(name="demo", state=CampaignState.ACTIVE, event=event, now=at(minute))
    assert store.snapshot("demo").campaign.resumed_at == at(5)
    statements: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    submission = given.prepared(group)
    sql_event.listen(store._engine, "before_cursor_execute", note)
    claim = store.claim(
        submission_id=submission.id, driver=DRIVER, lease_seconds=60, now=at(6), expected_epoch=0
    )
    sql_event.remove(store._engine, "before_cursor_execute", note)
    assert claim is not None
    assert claim.campaign.name == "demo"
    assert not [one for one in statements if "FROM event" in one]
