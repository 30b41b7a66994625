"""The last door before the database: no text whatever stops a statement, and refusals are put into words."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from psycopg2 import errors
from sqlalchemy import Column, DateTime, Table, insert, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from store_help import Given, quantum, rows, worked

from merian_campaign.domain.errors import DatabaseUnavailableError, RefusedRowsError, UnavailableError
from merian_campaign.domain.states import GroupState
from merian_campaign.store import schema
from merian_campaign.store.server.connection import refusal
from merian_campaign.store.server.storable import dumps, storable
from merian_campaign.store.store import PostgresStore

NASTY = "nul \x00, lone \ud800\udfff\udcff, \x1b[31m, \u202e, \\, ', %s, :name, {}, é" + "x" * 30_000
JSON = {"nul\x00": [NASTY, math.nan, {"deep": -math.inf}], "number": 1.5}
TABLES = [table for table in schema.metadata.sorted_tables if table.name != "alembic_version"]


def value_of(column: Column[Any]) -> object:
    if isinstance(column.type, JSONB):
        return JSON
    if isinstance(column.type, ARRAY):
        return [1]
    if isinstance(column.type, DateTime):
        return datetime.now(UTC)
    if column.type.python_type is UUID:
        return UUID(int=1)
    return NASTY if column.type.python_type is str else column.type.python_type(1)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_text_column_takes_any_text(store: PostgresStore, table: Table) -> None:
    """Into a table without constraints and of the same columns, which stands before the real one."""
    values = {column.name: value_of(column) for column in table.columns}
    texts = [column.name for column in table.columns if values[column.name] is NASTY]
    documents = [column.name for column in table.columns if values[column.name] is JSON]
    with store._engine.begin() as connection:
        connection.execute(text(f'CREATE TEMPORARY TABLE "{table.name}" (LIKE public."{table.name}")'))
        connection.execute(insert(table).values(values))
        row = connection.execute(select(table)).mappings().one()
        connection.execute(text(f'DROP TABLE pg_temp."{table.name}"'))
    assert all(row[name] == storable(NASTY) for name in texts)
    assert all(row[name]["nul\\x00"][0] == storable(NASTY) for name in documents)


def test_what_the_parts_of_the_store_are_told_can_be_any_text(given: Given, sql: Any) -> None:
    (group,) = given.campaign(actor="ana\x00", spec={"\udcff": "\x00"}, text="a\x00")
    made = given.prepared(group, reason="why\x00", actor="\udcff")
    given.harvested(made.id, quantum(1, worked(exception_message="a\x00\ud800", host="\x00")))
    given.move(group, GroupState.NEEDS_REVIEW, reason="\x00 \ud800")
    tick = given.store.tick_started(campaign_id=given.store.snapshot("demo").campaign.id, host="h\x00", pid=1,
                                    now=datetime.now(UTC))  # fmt: skip
    given.store.tick_finished(tick_id=tick, now=datetime.now(UTC), actions=0, error="x\x00")
    assert rows(sql, 'SELECT reason FROM "group"') == [("\\x00 \\ud800",)]
    assert rows(sql, "SELECT error FROM tick") == [("x\\x00",)]
    assert given.store.campaign("no such\x00\udcff") is None


def test_a_bare_connection_takes_any_text(sql: Any) -> None:
    assert rows(sql, "SELECT %s, %s", NASTY, ["a\x00"]) == [(storable(NASTY), ["a\\x00"])]


def test_json_is_whole() -> None:
    assert dumps({"a\x00": (1, True, None, "\ud800", math.nan)}) == (
        '{"a\\\\x00": [1, true, null, "\\\\ud800", "nan"]}'
    )


def test_rows_that_do_not_fit_are_refused_in_words(given: Given) -> None:
    (group,) = given.campaign()
    made = given.prepared(group)
    with pytest.raises(RefusedRowsError, match=r"the tracking database refuses the rows: .*out of range"):
        given.harvested(made.id, quantum(1, worked(peak_mb=2**40)))
    with pytest.raises(RefusedRowsError, match="index row"):
        given.harvested(made.id, quantum(1, task="".join(map(chr, range(0x4E00, 0x8000)))))
    # The submission is as it was.
    assert given.store.snapshot("demo").groups[0].live is not None
    given.harvested(made.id, quantum(1, worked()))


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("53100", DatabaseUnavailableError),  # disk full
        ("53300", DatabaseUnavailableError),  # too many connections
        ("40P01", DatabaseUnavailableError),  # deadlock
        ("25006", DatabaseUnavailableError),  # read-only
        ("57P01", DatabaseUnavailableError),  # shut down
        ("58030", DatabaseUnavailableError),  # input/output
        ("42501", UnavailableError),  # not allowed
        ("22003", RefusedRowsError),  # out of range
        ("23503", RefusedRowsError),  # foreign key
        ("42703", None),  # no such column: a defect
    ],
)
def test_codes_tell_whose_fault_it_is(code: str, found: type[Exception] | None) -> None:
    class Made(errors.lookup(code)):  # type: ignore[misc]
        pgcode = code

    made = refusal("postgresql://ana:secret@h/d", Made("could not extend file"))
    assert made is None if found is None else type(made) is found
    assert "secret" not in str(made)
