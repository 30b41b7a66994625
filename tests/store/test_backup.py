"""Backup, rights for others, and the outbox of notices."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from store_help import Given, at, database_of, failed, quantum, rows, worked

from merian_campaign.domain.errors import BadInputError, UnavailableError
from merian_campaign.domain.states import GroupState
from merian_campaign.domain.tick.notices import Notice, NoticeKind
from merian_campaign.store import open_reader
from merian_campaign.store.server.backup import dump, restore
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.server.rights import Access, grant, statements
from merian_campaign.store.store import PostgresStore


def contents(url: str) -> dict[str, list[tuple[object, ...]]]:
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    with closing(open_connection(url)) as connection:
        return {
            name: rows(connection, f'SELECT * FROM "{name}" AS t ORDER BY t::text')
            for (name,) in rows(connection, tables)
        }


def test_what_was_dumped_is_restored(url: str, empty_url: str, given: Given, tmp_path: Path) -> None:
    (group,) = given.campaign()
    given.harvested(given.again(group, 1), quantum(1))
    file = tmp_path / "night.dump"
    dump(url, file)
    with pytest.raises(BadInputError, match="is there already"):
        dump(url, file)
    restore(empty_url, file)
    assert contents(empty_url) == contents(url)
    with closing(open_connection(empty_url)) as connection:
        known = "SELECT reltuples::integer FROM pg_class WHERE relname IN ('quantum_row', 'submission')"
        assert rows(connection, known) == [(1,), (1,)], "of a table that nobody looked at it is -1"
    with PostgresStore(empty_url) as restored:  # its sequences too
        restored.move_group(group_id=group, state=GroupState.READY, reason="r", actor="a", now=at(9))
    with pytest.raises(BadInputError, match="has tables already, and nothing of it is overwritten"):
        restore(empty_url, file)
    assert [path.name for path in tmp_path.iterdir()] == ["night.dump"]


def test_a_file_that_is_no_dump(empty_url: str, tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("no dump")
    with pytest.raises(UnavailableError, match=r"pg_restore of .*does not appear to be a valid archive"):
        restore(empty_url, file)
    assert contents(empty_url) == {}


def test_rights(url: str, server: str, given: Given) -> None:
    (group,) = given.campaign()
    with closing(open_connection(server)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for role in ("looker", "worker", "nobody"):
                cursor.execute(f'CREATE ROLE "{role}"')
    grant(url, ["worker"], access=Access.OPERATOR)
    grant(url, ["looker"], access=Access.READER)
    database = database_of(url, "shared")

    def as_role(role: str) -> str:
        return f"{database}&options=-c%20role%3D{role}"

    with open_reader(as_role("looker")) as reader:
        assert reader.campaign_state("demo") == "active"
    with (
        PostgresStore(as_role("looker")) as store,
        pytest.raises(UnavailableError, match="does not allow it"),
    ):
        store.move_group(group_id=group, state=GroupState.READY, reason="r", actor="a", now=at(1))
    with PostgresStore(as_role("worker")) as store:
        store.move_group(group_id=group, state=GroupState.READY, reason="r", actor="a", now=at(1))
        given_submission = store.prepare_submission(**given.new(group, 1))
        assert given_submission.number == 1
    with pytest.raises(UnavailableError, match=r"does not allow it.*db grant"):
        open_reader(as_role("nobody"))
    assert statements(['x"; DROP TABLE event'], access=Access.READER)[0].endswith(
        'TO "x""; DROP TABLE event";'
    )
    for name in ("", "two\nlines", "x" * 64):
        with pytest.raises(BadInputError, match="no name of a role"):
            grant(url, [name], access=Access.READER)


def notice(key: str, kind: NoticeKind = NoticeKind.PERSON) -> Notice:
    return Notice(kind=kind, key=key, subject=f"about {key}", body="do this")


def test_the_outbox_takes_each_notice_once_and_keeps_it_until_it_got_there(
    given: Given, store: PostgresStore, sql: psycopg2.extensions.connection
) -> None:
    given.campaign()
    ((campaign,),) = rows(sql, "SELECT id FROM campaign")
    assert store.add_notices(campaign_id=campaign, notices=[notice("a"), notice("b")], now=at(0)) == (
        "a",
        "b",
    )
    assert store.add_notices(campaign_id=campaign, notices=[notice("b"), notice("c")], now=at(1)) == ("c",)

    def pending(*channels: str) -> list[str]:
        found = store.pending_notices(channels=channels, now=at(2))
        return [entry.notice.key for entry in found]

    assert pending("mail", "chat") == ["a", "b", "c"]
    ids = [entry.id for entry in store.pending_notices(channels=["mail"], now=at(2))]
    store.record_delivery(ids=ids, channel="mail", error="", now=at(2))
    store.record_delivery(ids=ids, channel="chat", error="it is down", now=at(2))
    store.record_delivery(ids=ids[:1], channel="chat", error="it is down", now=at(3))
    assert pending("mail") == []
    assert pending("chat") == ["a", "b", "c"]
    first, *_ = store.pending_notices(channels=["mail", "chat"], now=at(2))
    assert (first.delivered, first.tries) == (frozenset({"mail"}), 2)
    store.record_delivery(ids=ids, channel="chat", error="", now=at(4))
    assert pending("mail", "chat") == []
    assert store.pending_notices(channels=["new"], now=at(60 * 24 * 31)) == (), "after a month it is old"


def test_what_a_campaign_did(given: Given, store: PostgresStore, sql: psycopg2.extensions.connection) -> None:
    (group,) = given.campaign()
    given.harvested(given.again(group, 1), quantum(1))
    ((campaign,),) = rows(sql, "SELECT id FROM campaign")
    assert store.activity(campaign_id=campaign, since=None).moved_at is not None
    found = store.activity(campaign_id=campaign, since=at(-60))
    assert dict(found.ended)
    assert found.moved_at is not None
    assert store.activity(campaign_id=campaign, since=at(-120), until=at(-60)).quiet
    given.harvested(given.again(group, 2), quantum(1, failed(started=at(30), ended=at(60))))
    found = store.activity(campaign_id=campaign, since=at(-60), until=at(600))
    assert found.failed == (("step3 measure: infrastructure", 1),)
    assert [words.partition(":")[0] for words in found.retried] == ["step3/tract9813 submission 2"]
    assert not store.is_told(campaign_id=campaign, key="digest:2026-11-22")


def test_every_attempt_counts_among_the_core_hours(
    given: Given, store: PostgresStore, sql: psycopg2.extensions.connection
) -> None:
    (group,) = given.campaign()
    long = worked(started=at(0), ended=at(60))
    given.harvested(given.again(group, 1), quantum(1, long), quantum(2, failed(started=at(30), ended=at(60))))
    given.harvested(given.again(group, 2), quantum(2, worked(started=at(90), ended=at(120))))
    ((campaign,),) = rows(sql, "SELECT id FROM campaign")
    (found,) = store.run_times(campaign_id=campaign, since=at(45))
    assert (found.step, found.task, found.total, found.tonight) == ("step3", "measure", 2.0, 1.0)
    assert store.run_times(campaign_id=campaign, since=at(100))[0].tonight == 20 / 60
