"""The SQLAlchemy engine of one process, and its errors put into words.

Room for what every statement module needs; no statements of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError

from merian_campaign.store.server.connection import open_connection, refusal, unavailable
from merian_campaign.store.server.storable import dumps


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
        json_serializer=dumps,
        pool_pre_ping=True,
        # A driver beats and records progress at the same time, a tick does one thing: few suffice.
        pool_size=2,
        max_overflow=6,
    )


@contextmanager
def translated_sql(url: str) -> Iterator[None]:
    """Turn what the database says into errors that a person can act on; what is left are defects.

    A connection lost in mid-statement, no room, and locks become `UnavailableError`; rows that it refuses
    become `RefusedRowsError`. COPY and the merging go past SQLAlchemy, so both kinds of errors come here.
    """
    try:
        yield
    except DBAPIError as error:
        raise _translated(url, error.orig, lost=error.connection_invalidated) or error from error
    except psycopg2.Error as error:
        lost = error.pgcode is None and isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        raise _translated(url, error, lost=lost) or error from error


def _translated(url: str, error: BaseException | None, *, lost: bool) -> Exception | None:
    if error is not None and lost:
        return unavailable(url, error)
    return refusal(url, error) if isinstance(error, psycopg2.Error) else None
