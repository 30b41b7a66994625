"""One embedded server for the session, and a database without rows for each test that asks."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from store_help import Given, database_of

from merian_campaign.store import schema
from merian_campaign.store.server import embedded, migrate
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.store import PostgresStore

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A home directory with a running embedded server."""
    place = Path(tempfile.mkdtemp(prefix="merian-store-")).resolve()
    try:
        with closing(open_connection(embedded.ensure_running(place))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                # What these tests write need not outlive a power cut.
                cursor.execute("ALTER SYSTEM SET fsync = off")
                cursor.execute("SELECT pg_reload_conf()")
        yield place
    finally:
        embedded.stop(place)
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def server(home: Path) -> str:
    """URL of the session's server."""
    return embedded.url(home)


@pytest.fixture(scope="session")
def upgraded(server: str) -> str:
    """URL of a database with tables, which tests share one after the other."""
    _create(server, "shared")
    migrate.upgrade(database_of(server, "shared"))
    return database_of(server, "shared")


@pytest.fixture
def empty_url(server: str) -> str:
    """URL of a database of the test's own, without tables."""
    name = f"empty{next(_NUMBERS)}"
    _create(server, name)
    return database_of(server, name)


@pytest.fixture
def another_url(server: str) -> str:
    """URL of one more, for what is copied from one to another."""
    name = f"empty{next(_NUMBERS)}"
    _create(server, name)
    return database_of(server, name)


@pytest.fixture
def url(upgraded: str) -> Iterator[str]:
    """URL of a database with tables and without rows."""
    yield upgraded
    with closing(open_connection(upgraded)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL merian_campaign.forget = 'on'")
        for table in reversed(schema.metadata.sorted_tables):
            cursor.execute(f'DELETE FROM "{table.name}"')


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    """A store on a database of its own."""
    with PostgresStore(url) as opened:
        yield opened


@pytest.fixture
def given(store: PostgresStore) -> Given:
    """Helper that brings the store into a state."""
    return Given(store)


@pytest.fixture
def sql(url: str) -> Iterator[psycopg2.extensions.connection]:
    """A bare connection to the test's database, every statement a transaction."""
    with closing(open_connection(url)) as connection:
        connection.autocommit = True
        yield connection


def _create(server: str, name: str) -> None:
    with closing(open_connection(server)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
