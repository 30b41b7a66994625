"""What the parts of the store share: the engine of one database, and its transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from sqlalchemy import Connection, Engine

from merian_campaign.store.server.engine import make_engine, translated_sql


class Database:
    """One tracking database, of the right schema version.

    Parameters
    ----------
    url : `str`
        Where it is.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: Engine = make_engine(url)
        self._requires: tuple[Callable[[], None], ...] = ()
        """Raise when a lock was lost without which nothing may be written."""

    @property
    def url(self) -> str:
        """Where the database is; may hold a password."""
        return self._url

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        for require in self._requires:
            require()
        with translated_sql(self._url), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """One moment of the database: every statement inside sees the same."""
        with (
            translated_sql(self._url),
            self._engine.connect().execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            ) as connection,
        ):
            yield connection


def raw(connection: Connection) -> Any:  # noqa: ANN401  (a psycopg2 connection behind SQLAlchemy's proxy)
    """Return the psycopg2 connection, for COPY and for the queries shared with `read`."""
    return connection.connection.driver_connection
