"""Overlaps of exposures and tracts as last seen, and the groups that follow from them."""

from __future__ import annotations

from dataclasses import replace

from psycopg2.extensions import connection as Connection  # noqa: N812
from sqlalchemy import event as sql_event
from store_help import Given, at, rows, tract_group

from merian_campaign.domain.record.overlaps import Overlaps, SkyExposure
from merian_campaign.domain.states import GroupState
from merian_campaign.store.store import PostgresStore

SEEN = Overlaps(
    exposures=(
        SkyExposure(exposure=1, day_obs=20210318, visits=(1,), tracts=(7, 8)),
        SkyExposure(exposure=2, day_obs=20210318),
        SkyExposure(exposure=3, day_obs=20210319, visits=(30, 31), tracts=(), taken=False),
        SkyExposure(exposure=10**12, day_obs=20210319, tracts=None),
    ),
    basis="what it rests on",
    seen_at=at(3),
)


def recorded(store: PostgresStore, overlaps: Overlaps, *, minutes: float = 3, name: str = "demo") -> bool:
    campaign = store.campaign(name)
    assert campaign is not None
    return store.record_overlaps(campaign_id=campaign.id, overlaps=overlaps, actor="tick", now=at(minutes))


def test_what_was_seen_comes_back_as_it_was(store: PostgresStore, given: Given) -> None:
    given.campaign()
    given.campaign("other")
    assert store.snapshot("demo").overlaps is None
    assert recorded(store, SEEN)
    assert store.snapshot("demo").overlaps == SEEN
    assert store.snapshot("other").overlaps is None
    newest = store.events("demo")[0]
    assert (newest.kind, newest.reason) == (
        "overlaps",
        "1 visits on 2 tracts, 1 exposures wait for their visits",
    )


def test_raws_that_come_late_have_a_time_of_their_own(store: PostgresStore, given: Given) -> None:
    given.campaign()

    def look(raws: int, *, minutes: float) -> SkyExposure:
        row = SkyExposure(exposure=1, day_obs=20210318, raws=raws, seen_at=at(minutes))
        recorded(store, replace(SEEN, exposures=(row,)), minutes=minutes)
        overlaps = store.snapshot("demo").overlaps
        assert overlaps is not None
        return overlaps.exposures[0]

    assert look(60, minutes=3).raws_at is None
    later = look(62, minutes=9)
    assert (later.seen_at, later.raws_at, later.last_at) == (at(3), at(9), at(9))
    assert look(61, minutes=12).raws_at == at(9)  # one was removed


def test_nothing_seen_is_not_never_looked(store: PostgresStore, given: Given) -> None:
    given.campaign()
    nothing = replace(SEEN, exposures=())
    assert not recorded(store, nothing)
    assert store.snapshot("demo").overlaps == nothing


def test_the_same_again_writes_the_moment_only(store: PostgresStore, given: Given, sql: Connection) -> None:
    given.campaign()
    recorded(store, SEEN)
    before = rows(sql, "SELECT xmin, ctid FROM visit_overlap")
    later = replace(SEEN, basis="another", seen_at=at(9))
    assert not recorded(store, later, minutes=9)
    assert rows(sql, "SELECT xmin, ctid FROM visit_overlap") == before
    assert store.snapshot("demo").overlaps == later
    assert [event.kind for event in store.events("demo")] == ["overlaps", "applied"]


def test_what_is_seen_anew_replaces_what_was_seen(
    store: PostgresStore, given: Given, sql: Connection
) -> None:
    given.campaign()
    recorded(store, SEEN)
    kept = rows(sql, "SELECT xmin, ctid FROM visit_overlap WHERE exposure = 2")
    visits = SkyExposure(exposure=10**12, day_obs=20210319, visits=(5,), tracts=(9,))
    new = replace(SEEN, exposures=(*SEEN.exposures[1:3], visits, replace(visits, exposure=10**12 + 1)))
    assert recorded(store, new)
    assert store.snapshot("demo").overlaps == new
    assert rows(sql, "SELECT xmin, ctid FROM visit_overlap WHERE exposure = 2") == kept


def test_they_are_loaded_in_one_statement_however_many(store: PostgresStore, given: Given) -> None:
    given.campaign()
    statements: list[str] = []
    sql_event.listen(store._engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    numbers = []
    for exposures in (SEEN.exposures[:1], tuple(replace(SEEN.exposures[0], exposure=n) for n in range(3000))):
        recorded(store, replace(SEEN, exposures=exposures))
        statements.clear()
        found = store.snapshot("demo").overlaps
        assert found is not None
        assert len(found.exposures) == len(exposures)
        numbers.append(len(statements))
    assert numbers[0] == numbers[1] <= 6


def test_groups_are_added_once(store: PostgresStore, given: Given, sql: Connection) -> None:
    given.campaign(tracts=(1,))
    campaign = store.campaign("demo")
    assert campaign is not None

    def add(*tracts: int) -> int:
        groups = [tract_group(tract) for tract in tracts]
        return store.add_groups(
            campaign_id=campaign.id, groups=groups, reason="40 visits", actor="tick", now=at(5)
        )

    assert add(1, 2, 3) == 2
    assert [(g.key, g.state) for g in store.snapshot("demo").groups] == [
        ("tract1", GroupState.WAITING),
        ("tract2", GroupState.WAITING),
        ("tract3", GroupState.WAITING),
    ]
    newest = store.events("demo")[0]
    assert (newest.kind, newest.reason, newest.actor) == ("groups", "2 of step3: 40 visits", "tick")
    before = rows(sql, 'SELECT xmin, ctid FROM "group"')
    assert add(1, 2, 3) == 0
    assert rows(sql, 'SELECT xmin, ctid FROM "group"') == before
    assert store.events("demo")[0] == newest


def test_the_board_shows_that_tracts_are_to_be_discovered(store: PostgresStore, given: Given) -> None:
    steps = [
        {"name": "step2b", "group_by": {"kind": "tract"}},
        {"name": "own", "group_by": {"kind": "tract", "tracts": [5]}},
        {"name": "step3", "group_by": "tract"},
        {"name": "step4"},
    ]
    for tracts in ("discover", {"discover": True, "min_visits": 2}):
        name = f"by{len(tracts)}"
        given.campaign(name, spec={"tracts": tracts, "steps": steps}, groups=[tract_group(1, ordinal=2)])
        board = [(row.step, row.group, row.ordinal, row.state, row.tract) for row in store.board(name)]
        assert board == [("step2b", "discover", 0, "waiting", None), ("step3", "tract1", 2, "waiting", 1)]
    given.campaign("listed", spec={"tracts": [1], "steps": steps}, groups=[])
    assert store.board("listed") == ()
