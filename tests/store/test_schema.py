"""The schema: migrations build what the metadata says; versions; the view others build on."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg2.extensions import connection as Connection  # noqa: N812
from sqlalchemy import text
from store_help import DRIVER, Given, assert_rollup_is_right, at, failed, quantum, rows, worked

from merian_campaign import store as room
from merian_campaign.domain.errors import BadInputError, SchemaVersionError, UnavailableError
from merian_campaign.domain.states import SubmissionOutcome
from merian_campaign.store import schema
from merian_campaign.store.server import fitness, migrate, schema_version
from merian_campaign.store.server.connection import libpq_url, open_connection, redacted
from merian_campaign.store.server.engine import make_engine
from merian_campaign.store.server.schema_version import KNOWN, MIGRATIONS

CATALOG = """
    SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT 'column', c.table_name, c.column_name,
        concat_ws(' ', ordinal_position, data_type, is_nullable, column_default, identity_generation)
    FROM information_schema.columns c
    JOIN information_schema.tables t USING (table_schema, table_name)
    WHERE c.table_schema = 'public' AND table_type = 'BASE TABLE'
    UNION ALL SELECT 'comment', relname, '', obj_description(oid) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""

VIEW = [
    *("campaign", "step", "group", "instrument", "tract", "patch", "band", "physical_filter", "visit"),
    *("exposure", "detector", "task", "data_id", "state", "caveats", "attempts", "verdict", "evidence"),
    *("exception", "exception_message", "exit_code", "signal", "peak_mb", "requested_mb", "started"),
    *("ended", "host", "log_path", "submission", "updated_at", "quantum_id", "blocked_by", "inputs"),
    *("cpu_seconds", "cores"),
]


def catalog(url: str) -> set[tuple[str, ...]]:
    with closing(open_connection(url)) as connection:
        return {row for row in rows(connection, CATALOG) if "alembic_version" not in str(row)}


def test_migrations_build_what_the_metadata_says(url: str, empty_url: str) -> None:
    engine = make_engine(empty_url)
    schema.metadata.create_all(engine)
    engine.dispose()
    assert catalog(url) == catalog(empty_url)


def test_what_the_board_says_is_counted_for_groups_that_were_there_before(
    given: Given, sql: Connection
) -> None:
    one, two, _ = given.campaign(tracts=(1, 2, 3))
    first = given.prepared(one).id
    given.store.claim(submission_id=first, driver=DRIVER, lease_seconds=60, now=at(2), expected_epoch=0)
    found = {"version": 1, "sha": "abc", "short": "w_2022_26"}
    given.store.record_versions(submission_id=first, epoch=1, versions=found, ran=True)
    given.harvested(first, quantum(7, failed()), quantum(8, worked()), quantum(8, worked(), task="coadd"))
    given.again(one, 2)
    given.harvested(given.prepared(two).id, outcome=SubmissionOutcome.EMPTY)
    board = 'SELECT quanta_succeeded, quanta_failed, submissions, no_graph, stack FROM "group" ORDER BY id'
    kept = rows(sql, board)
    assert kept == [(2, 1, 2, False, "w_2022_26"), (0, 0, 1, True, ""), (0, 0, 0, False, "")]
    columns, counting = MIGRATIONS["0021"].read_text().split("\n\nUPDATE ")
    names = re.findall(r"ADD COLUMN (\w+)", columns)
    rows(sql, f"""UPDATE "group" SET {", ".join(f"{name} = DEFAULT" for name in names)}""")
    assert {row[:3] for row in rows(sql, board)} == {(0, 0, 0)}
    rows(sql, f"UPDATE {counting}".replace("%", "%%"))
    assert rows(sql, board) == kept
    assert_rollup_is_right(sql)


def test_alembic_finds_nothing_to_change(url: str) -> None:
    engine = make_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_versions_follow_each_other() -> None:
    files = [file.name[:4] for file in MIGRATIONS[KNOWN[0]].parent.glob("*.sql")]
    assert tuple(sorted(files)) == KNOWN, "no number is there twice"
    assert tuple(f"{number:04d}" for number in range(1, len(KNOWN) + 1)) == KNOWN


def test_upgrade_is_done_once(empty_url: str) -> None:
    with pytest.raises(SchemaVersionError, match="merian-campaign db upgrade"):
        schema_version.check(empty_url)
    with pytest.raises(SchemaVersionError):
        room.open_reader(empty_url)
    assert migrate.upgrade(empty_url)
    assert not migrate.upgrade(empty_url)
    room.connect(empty_url).close()
    room.open_reader(empty_url).close()


def test_two_upgrades_at_once(empty_url: str) -> None:
    program = (
        "import sys; from merian_campaign.store.server import migrate; print(migrate.upgrade(sys.argv[1]))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", program, empty_url], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert sorted(process.communicate()[0].strip() for process in both) == ["False", "True"]


def test_newer_schema(empty_url: str) -> None:
    migrate.upgrade(empty_url)
    with closing(open_connection(empty_url)) as connection, connection:
        rows(connection, "UPDATE alembic_version SET version_num = '0042'")
    for call in (schema_version.check, migrate.upgrade, room.connect, room.open_reader):
        with pytest.raises(
            SchemaVersionError, match=rf"version 0042, newer than {KNOWN[-1]}.*install the newer"
        ):
            call(empty_url)


def test_older_schema(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("merian_campaign.store.server.schema_version.KNOWN", (*KNOWN, "0099"))
    older = rf"{KNOWN[-1]}, this program uses 0099.*merian-campaign db upgrade"
    with pytest.raises(SchemaVersionError, match=older):
        schema_version.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ana:secret@127.0.0.1:1/merian",
        "postgresql+psycopg2://ana:secret@127.0.0.1:1/merian",
        "postgresql://ana@/merian?host=/nowhere/at/all&password=secret",
        "postgresql://ana:secret@[::1/merian",
    ],
)
def test_unreachable_database(url: str) -> None:
    for call in (schema_version.check, migrate.upgrade, room.connect, room.open_reader):
        with pytest.raises(UnavailableError) as caught:
            call(url)
        assert "secret" not in str(caught.value)
        assert "MERIAN_CAMPAIGN_DATABASE_URL" in str(caught.value)
        assert caught.value.exit_code == 69


def test_urls() -> None:
    assert libpq_url("postgresql+psycopg2://a@b/c?host=/d") == "postgresql://a@b/c?host=/d"
    assert redacted("postgresql://a:p@b:5/c?host=/d&password=x") == "postgresql://a@b:5/c?host=/d"
    assert redacted("postgresql:///c") == "postgresql:///c"
    with pytest.raises(BadInputError, match="not a PostgreSQL URL"):
        libpq_url("sqlite:///x.db")


def test_a_connection_lost_in_between_is_made_anew(given: Given, url: str) -> None:
    given.campaign()
    with closing(open_connection(url)) as other:
        other.autocommit = True
        rows(
            other,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
    assert given.store.campaign("demo") is not None


def test_the_view_others_build_on(given: Given, sql: Connection) -> None:
    (group,) = given.campaign()
    given.harvested(given.prepared(group).id, quantum(7, failed()))
    with sql.cursor() as cursor:
        cursor.execute("SELECT * FROM quantum_status")
        names = [column.name for column in cursor.description or ()]
        (row,) = cursor.fetchall()
    found = dict(zip(names, row, strict=True))
    # Names may be added at the end, never renamed or dropped.
    assert names == VIEW
    assert (found["campaign"], found["step"], found["group"]) == ("demo", "step3", "tract9813")
    assert (found["tract"], found["patch"], found["band"], found["visit"]) == (9813, 7, "N540", None)
    assert (found["state"], found["attempts"], found["verdict"]) == ("failed", 1, "infrastructure")
    assert (found["exception"], found["peak_mb"], found["submission"]) == ("RuntimeError", 900, 1)
    comments = rows(
        sql,
        "SELECT count(*), count(col_description(attrelid, attnum)) FROM pg_attribute"
        " WHERE attrelid = 'quantum_status'::regclass AND attnum > 0",
    )
    assert comments == [(len(VIEW), len(VIEW))]


@pytest.mark.parametrize("table", list(schema.metadata.tables))
def test_states_are_checked(url: str, table: str) -> None:
    """Every column with a state or verdict refuses words that are none."""
    columns = {"state", "outcome", "verdict"} & set(schema.metadata.tables[table].c.keys())
    with closing(open_connection(url)) as connection:
        checked = {
            row[0] for row in rows(connection, "SELECT conname FROM pg_constraint WHERE contype = 'c'")
        }
    assert {f"ck_{table}_{column}" for column in columns} <= checked


def test_a_wheel_holds_the_migrations() -> None:
    """Their folder is a package, and its files are of a kind that the wheel takes along."""
    folder = Path(room.__file__).parent / "migrations" / "versions"
    project = tomllib.loads((folder.parents[3] / "pyproject.toml").read_text())
    assert "*.sql" in project["tool"]["setuptools"]["package-data"]["*"]
    assert {file.parent for file in MIGRATIONS.values()} == {folder}
    assert (folder / "__init__.py").exists()


def test_sqlalchemy_users_reach_it_by_the_url(url: str) -> None:
    from sqlalchemy import create_engine  # noqa: PLC0415

    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM quantum_status")).scalar() == 0
    engine.dispose()


def test_a_server_that_is_too_old(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fitness.require_writable(empty_url)
    monkeypatch.setattr(fitness, "_OLDEST", 99)
    with pytest.raises(UnavailableError, match=r"is PostgreSQL \d+: it takes 99 or newer"):
        fitness.require_writable(empty_url)
