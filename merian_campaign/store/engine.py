"""The SQLAlchemy engine of one process, and its errors put into words.

Room for what every statement module needs; no statements of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError

from merian_campaign.store.connection import open_connection, unavailable


def make_engine(url: str) -> Engine:
    """Return an engine that connects as `open_connection` does and survives a restarted server.

    Parameters
    ----------
    url : `str`
        Where the database is.
    """
    return create_engine(
        "postgresql+psycopg2://",
        creator=lambda: open_connection(url),
        pool_pre_ping=True,
        # A driver beats and records progress at the same time, a tick does one thing: few suffice.
        pool_size=2,
        max_overflow=6,
    )


@contextmanager
def translated_sql(url: str) -> Iterator[None]:
    """Turn a connection lost in mid-statement into `UnavailableError`; other errors are defects."""
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated:
            raise unavailable(url, error.orig or error) from error
        raise
