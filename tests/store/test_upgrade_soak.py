"""A million quanta in a database of an earlier schema are brought up to date in minutes, and say the same.

``UPGRADE_QUANTA`` is how many; a million unless it is said.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import closing

import pytest
from made_campaign import MadeCampaign
from psycopg2.extensions import connection as Connection  # noqa: N812
from store_help import rows

from merian_campaign.store.server import migrate
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.server.schema_version import KNOWN
from merian_campaign.store.store import PostgresStore

pytestmark = pytest.mark.soak

QUANTA = int(os.environ.get("UPGRADE_QUANTA", "1_000_000"))
EARLIER = "0018"
MINUTES = 10
"""That it may take, on a loaded machine; see the documentation for what it took."""

COLUMNS = """
SELECT t.table_name, t.table_type, array_agg(c.column_name::text ORDER BY c.ordinal_position)
FROM information_schema.tables AS t JOIN information_schema.columns AS c USING (table_schema, table_name)
WHERE t.table_schema = 'public' AND t.table_name <> 'alembic_version' GROUP BY 1, 2 ORDER BY 1
"""
SEQUENCES = """
SELECT c.table_name, c.column_name FROM information_schema.columns AS c
WHERE c.table_schema = 'public' AND c.is_identity = 'YES'
"""
# Every attempt but a success at first try had a row, that of the last success too.
HAS_A_ROW = {
    "first_try_submission_id": "CASE WHEN attempts IS NULL THEN first_try_submission_id END",
    "no_first_try": "CASE WHEN attempts IS NULL OR submission_id IS NULL THEN no_first_try ELSE true END",
}
SAID = (
    *("quantum_status", "quantum_attempt", "group_status", "failure_causes", "task_usage"),
    *("group_usage", "group_hours", "group_cells", "quantum_count"),
)
UNKNOWN = ("wait_seconds_median", "wait_seconds_longest", "wait_hours")
"""Of waits there was nothing on record."""


def said(connection: Connection) -> dict[str, object]:
    """Return of each table and view how many rows there are, and what they add up to."""
    # Sums of times differ in their last digits with the order of what is summed.
    rows(connection, "SET extra_float_digits = -4")
    query = "SELECT count(*), sum(hashtextextended((to_jsonb(t) - %s)::text, 0)) FROM {} AS t"
    return {name: rows(connection, query.format(name), list(UNKNOWN)) for name in SAID}


@pytest.fixture
def made(empty_url: str) -> str:
    """URL of a database with a campaign, through `decide` and the store of today."""
    migrate.upgrade(empty_url)
    with PostgresStore(empty_url) as store:
        MadeCampaign(tracts=min(400, max(10, QUANTA // 1000)), quanta=QUANTA).fill(store)
    return empty_url


def write_earlier(made: str, url: str) -> None:
    """Fill a database of the earlier schema with what a campaign's tables and views say."""
    with closing(open_connection(made)) as source, closing(open_connection(url)) as target:
        there = {name: set(columns) for name, _, columns in rows(source, COLUMNS)}
        tables = [(name, columns) for name, kind, columns in rows(target, COLUMNS) if kind == "BASE TABLE"]
        with target, target.cursor() as put, source.cursor() as get:
            put.execute("SET LOCAL session_replication_role = replica")
            for name, columns in tables:
                names = [column for column in columns if column in there[name]]
                of_rows = HAS_A_ROW if name == "quantum_row" else {}
                values = ", ".join(of_rows.get(column, f'"{column}"') for column in names)
                with tempfile.TemporaryFile() as file:
                    get.copy_expert(f'COPY (SELECT {values} FROM "{name}") TO STDOUT', file)
                    file.seek(0)
                    quoted = ", ".join(f'"{column}"' for column in names)
                    put.copy_expert(f'COPY "{name}" ({quoted}) FROM STDIN', file)
            for name, column in rows(target, SEQUENCES):
                last = f'(SELECT coalesce(max("{column}"), 0) + 1 FROM "{name}")'
                put.execute(f"SELECT setval(pg_get_serial_sequence('\"{name}\"', '{column}'), {last}, false)")
            put.execute("ANALYZE")


def test_a_large_database_is_upgraded_in_minutes_and_says_the_same(
    made: str, another_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    migrate.upgrade(another_url, version=EARLIER)
    write_earlier(made, another_url)
    begin = time.perf_counter()
    migrate.upgrade(another_url)
    seconds = time.perf_counter() - begin
    with closing(open_connection(made)) as old, closing(open_connection(another_url)) as new:
        ((number,),) = rows(new, "SELECT count(*) FROM quantum_row")
        before, after = said(old), said(new)
    with capsys.disabled():
        print(f"\nfrom {EARLIER} to {KNOWN[-1]}: {number:,} quanta in {seconds:.0f} s")  # noqa: T201
    assert number > 0.9 * QUANTA
    assert after == before
    assert seconds < 60 * MINUTES
