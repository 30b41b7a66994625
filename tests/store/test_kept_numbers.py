"""Numbers that are kept of groups are held against what they are counted from, and counted anew."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from store_help import Given, at, failed, quantum, rows, worked

from merian_campaign.domain.states import GroupState, Verdict
from merian_campaign.store.kept_numbers import WrongNumbersError, count_anew, different, require_right
from merian_campaign.store.store import PostgresStore

DAMAGES = {
    "UPDATE \"group\" SET quanta_succeeded = 5 WHERE key = 'tract9813'": (
        "demo: step3/tract9813: of succeeded quanta the board has 5, there are 1",
    ),
    'UPDATE "group" SET quanta_blocked = 1, submissions = 0': (
        "demo: step3/tract9813: of blocked quanta the board has 1, there are 0",
        "demo: step3/tract9813: of submissions the board has 0, there are 1",
        "demo: step3/tract9814: of blocked quanta the board has 1, there are 0",
        "demo: step3/tract9814: of submissions the board has 0, there are 1",
        "demo: step3/tract9815: of blocked quanta the board has 1, there are 0",
    ),
    "UPDATE \"group\" SET no_graph = true, stack = 'w_1' WHERE key = 'tract9814'": (
        "demo: step3/tract9814: the board says that its graph was empty, and its submissions say otherwise",
        "demo: step3/tract9814: the board shows the stack 'w_1', its last submission ran with ''",
    ),
    "UPDATE quantum_count SET n = 7 WHERE state = 'failed'": (
        "demo: step3/tract9813: of failed quanta the board has 1, there are 7",
    ),
}
OF_QUANTA = {
    "DELETE FROM quantum_count WHERE state = 'failed'": (
        "of quanta, counts by task and state have 1 in all, there are 2"
    ),
    "UPDATE quantum_count SET state = 'blocked' WHERE state = 'failed'": (
        "of 2 quanta, counts by task and state are wrong"
    ),
    "UPDATE group_usage SET seconds = seconds + 1 WHERE task = 'measure'": (
        "wrong in the summary of memory and run time by task, lines: 1"
    ),
    "UPDATE group_hours SET hour = hour + interval '1 hour'": (
        "wrong in the summary of quanta by hour, lines: 2"
    ),
    "UPDATE group_cells SET n = 9": "wrong in the summary of quanta by tract and band, lines: 2",
    "UPDATE quantum_row SET state = 'blocked' WHERE state = 'failed'": (
        "of 2 quanta, counts by task and state are wrong"
    ),
}


@pytest.fixture
def filled(given: Given) -> None:
    """Three groups: one with a loss, one that is fine, one that has not begun."""
    first, second, _ = given.campaign(tracts=(9813, 9814, 9815))
    given.harvested(given.prepared(first).id, quantum(1, worked()), quantum(2, failed(Verdict.ALGORITHM)))
    given.harvested(given.prepared(second).id, quantum(3, worked(), task="isr"))
    given.move(second, GroupState.DONE, "fine")


def said(url: str, *, quanta: bool = False) -> tuple[str, ...]:
    return tuple(f"{entry.group}: {entry.words}" for entry in different(url, quanta=quanta))


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(("damage", "words"), DAMAGES.items(), ids=str)
def test_what_the_board_says_is_compared_with_what_is_counted(
    url: str, sql: Connection, damage: str, words: tuple[str, ...]
) -> None:
    assert said(url, quanta=True) == ()
    before = rows(sql, 'SELECT * FROM "group" ORDER BY id')
    with sql.cursor() as cursor:
        cursor.execute(damage)
    assert said(url) == words
    found = different(url, quanta=False)
    with pytest.raises(WrongNumbersError, match=r"`merian-campaign db check --repair` counts them anew"):
        require_right(found, repair="merian-campaign db check --repair")
    assert count_anew(url, found) == len({entry.group_id for entry in found})
    assert said(url, quanta=True) == ()
    assert rows(sql, 'SELECT * FROM "group" ORDER BY id') == before


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(("damage", "words"), OF_QUANTA.items(), ids=str)
def test_counts_and_summaries_are_compared_with_every_quantum(
    url: str, sql: Connection, damage: str, words: str
) -> None:
    with sql.cursor() as cursor:
        cursor.execute(damage)
    assert f"demo: step3/tract9813: {words}" in said(url, quanta=True)
    count_anew(url, different(url, quanta=True))
    assert said(url, quanta=True) == ()


def test_nothing_differs_while_quanta_run(url: str, given: Given, store: PostgresStore) -> None:
    (group,) = given.campaign()
    first = given.prepared(group).id
    store.record_progress(submission_id=first, quanta=[quantum(1, worked()), quantum(2)], now=at(3))
    assert said(url, quanta=True) == ()
    given.harvested(first, quantum(1, worked()), quantum(2, failed()))
    given.move(group, GroupState.DONE, "fine")
    store.again(group_id=group, redo=True, reason="new exposures", actor="ana", now=at(90))
    assert said(url, quanta=True) == ()
