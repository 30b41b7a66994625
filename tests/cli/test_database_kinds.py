"""Databases as sites have them: one line, the right exit status, and `db check` finds it beforehand."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
from cli_help import run_program

from merian_campaign.store.server import embedded, migrate
from merian_campaign.store.server.fitness import CONNECTIONS


def url_of(home: Path, *, user: str, database: str, port: int = 5432) -> str:
    place = quote(str(embedded.data_directory(home)), safe="")
    return f"postgresql://{user}@/{database}?host={place}&port={port}"


def execute(url: str, *statements: str) -> None:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in statements:
            cursor.execute(statement)


def started(home: Path) -> None:
    """Start a server that takes everybody's word for who they are; each start of ours writes its rules."""
    owner = embedded.ensure_running(home)
    rules = embedded.data_directory(home) / "pg_hba.conf"
    rules.write_text(f"local all all trust\n{rules.read_text()}")
    execute(owner, "SELECT pg_reload_conf()")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A server of its own."""
    home = Path(tempfile.mkdtemp(prefix="merian-kinds-")).resolve()
    try:
        started(home)
        execute(embedded.url(home), "CREATE DATABASE tracking")
        migrate.upgrade(url_of(home, user="merian", database="tracking"))
        yield home
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def refused(home: Path, url: str, *words: str, operating: tuple[tuple[str, ...], ...]) -> None:
    """`db check` says it in one line, and so does what would write."""
    for command in (("db", "check"), *operating):
        done = run_program(*command, home=home, cwd=home, MERIAN_CAMPAIGN_DATABASE_URL=url)
        assert (done.code, done.stdout) == (69, ""), (command, done)
        assert len(done.stderr.splitlines()) == 1, (command, done)
        assert any(word in done.stderr for word in words), (command, done)


@pytest.fixture(scope="module")
def standby(place: Path) -> Iterator[str]:
    """A second server that replays what the first has written, and never ends doing so."""
    home = Path(f"{place}-standby")
    embedded.stop(place)
    try:
        copied(place, home)
        (embedded.data_directory(home) / "standby.signal").touch()
        started(place)
        embedded.ensure_running(home)
        yield url_of(home, user="merian", database="tracking")
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def copied(source: Path, target: Path) -> None:
    """Copy a folder with its owners, who are the server's."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


KINDS = {
    "sql_ascii": (
        "CREATE DATABASE kind ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    ),
    "latin1": ("CREATE DATABASE kind ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",),
    "read-only": (
        "CREATE DATABASE kind TEMPLATE tracking",
        "ALTER DATABASE kind SET default_transaction_read_only = on",
    ),
}


@pytest.mark.parametrize(
    ("kind", "words"), [("sql_ascii", "SQL_ASCII"), ("latin1", "LATIN1"), ("read-only", "read-only")]
)
def test_a_database_that_cannot_be_used(place: Path, kind: str, words: str) -> None:
    owner = embedded.url(place)
    execute(owner, *KINDS[kind])
    try:
        url = url_of(place, user="merian", database="kind")
        # What has no tables is told apart by what would make them.
        refused(place, url, words, operating=(("db", "upgrade"),))
    finally:
        execute(owner, "DROP DATABASE kind WITH (FORCE)")


def test_a_standby(place: Path, standby: str) -> None:
    refused(place, standby, "is a standby", operating=(("db", "upgrade"),))
    done = run_program("list", home=place, MERIAN_CAMPAIGN_DATABASE_URL=standby)
    assert (done.code, done.stderr) == (0, ""), "it can be looked at"


@pytest.mark.parametrize("granted", ["nothing", "reader"])
def test_a_user_without_rights(place: Path, granted: str) -> None:
    role = f"guest_{granted}"
    execute(url_of(place, user="merian", database="tracking"), f"CREATE ROLE {role} LOGIN")
    url = url_of(place, user=role, database="tracking")
    if granted == "reader":
        own = url_of(place, user="merian", database="tracking")
        done = run_program(
            "db", "grant", role, "--as", "reader", home=place, MERIAN_CAMPAIGN_DATABASE_URL=own
        )
        assert done.code == 0, done
    refused(place, url, f"may not be written by its user {role}", operating=(("db", "upgrade"),))


@pytest.mark.parametrize("limit", [1, 4])
def test_few_connections(place: Path, limit: int) -> None:
    role = f"few{limit}"
    own = url_of(place, user="merian", database="tracking")
    execute(own, f"CREATE ROLE {role} LOGIN CONNECTION LIMIT {limit}")
    done = run_program("db", "grant", role, "--as", "operator", home=place, MERIAN_CAMPAIGN_DATABASE_URL=own)
    assert done.code == 0, done
    url = url_of(place, user=role, database="tracking")
    # Of a single one the server may or may not have the last user's back when the next one asks.
    words = ("has no connection left", "gives 1 connection at once")
    refused(place, url, *(words if limit == 1 else (f"gives {limit} connections at once",)), operating=())
    execute(own, f"ALTER ROLE {role} CONNECTION LIMIT {CONNECTIONS}")
    done = run_program("db", "check", home=place, MERIAN_CAMPAIGN_DATABASE_URL=url)
    assert done.code == 0, done
