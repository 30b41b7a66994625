"""One way to open a connection to the tracking database, and to say why that failed.

psycopg2 only: `status` must start fast, so nothing here imports SQLAlchemy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2

from merian_campaign.domain.errors import (
    BadInputError,
    DatabaseUnavailableError,
    RefusedRowsError,
    UnavailableError,
)
from merian_campaign.domain.safe_text.credentials import WrongUrlError, read_url
from merian_campaign.domain.safe_text.text import one_line, redact
from merian_campaign.store.server import storable

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  (psycopg2 spells it small)

_SCHEME = re.compile(r"^(postgres(?:ql)?)(?:\+\w+)?://")
_CONNECT_TIMEOUT_SECONDS = 10
_NO_CONNECTION_LEFT = re.compile("too many (?:clients|connections)|connection slots are reserved")
_OF_THE_ROWS = ("22", "23", "54")
"""Classes of errors of what is written: data, constraints, what is too long for an index."""

_PASSING = ("25", "40", "55", "57", "58", "XX")
"""Classes of errors of the server and of other transactions: read-only, rolled back, locked, shut down."""


def libpq_url(url: str) -> str:
    """Return a URL that libpq understands, from one that may name a SQLAlchemy driver.

    Parameters
    ----------
    url : `str`
        ``postgresql://..`` or ``postgresql+psycopg2://..``.

    Raises
    ------
    BadInputError
        Raised if it is not a PostgreSQL URL.
    """
    try:
        read_url(url)
    except WrongUrlError as error:
        raise BadInputError(
            f"what MERIAN_CAMPAIGN_DATABASE_URL says {error}; write postgresql://USER@HOST/DATABASE, and the "
            "password into ~/.pgpass"
        ) from None
    return _SCHEME.sub(r"\1://", url)


def sqlalchemy_url(url: str) -> str:
    """Return a URL that SQLAlchemy and pandas understand; a driver that it names stays.

    Raises
    ------
    BadInputError
        Raised if it is not a PostgreSQL URL.
    """
    plain = libpq_url(url)
    return url if url.partition("://")[0].count("+") else _SCHEME.sub("postgresql+psycopg2://", plain)


def redacted(url: str) -> str:
    """Return the URL without its password, fit for messages and logs."""
    try:
        found = read_url(url)
    except WrongUrlError:
        return "(a URL that cannot be read)"
    # Where its password is kept says nothing of the database.
    place, _, query = found.url.partition("?")
    kept = [pair for pair in query.split("&") if pair and not pair.startswith("passfile=")]
    return redact(place + (f"?{'&'.join(kept)}" if kept else ""))


def open_connection(url: str, *, application: str = "merian-campaign") -> Connection:
    """Open a connection whose times are UTC.

    Parameters
    ----------
    url : `str`
        Where the database is.
    application : `str`, optional
        Shown in ``pg_stat_activity``.

    Raises
    ------
    DatabaseUnavailableError
        Raised if the server cannot be reached or refuses the connection.
    """
    storable.register()
    libpq_url(url)
    found = read_url(url)
    with translated(url):
        # The password apart: a URL that libpq cannot read stands in its message.
        secret: dict[str, Any] = {} if found.password is None else {"password": found.password}
        connection: Connection = psycopg2.connect(
            libpq_url(found.url),
            **secret,
            connect_timeout=_CONNECT_TIMEOUT_SECONDS,
            application_name=application,
            # A holder of a lock whose machine is gone must not hold it for hours.
            keepalives=1,
            keepalives_idle=60,
            keepalives_interval=15,
            keepalives_count=4,
        )
    # A statement instead of start-up options, which connection poolers refuse. Our statements are short:
    # compiling them (jit) costs more than it saves.
    connection.autocommit = True
    try:
        # A pool lets in whom it has no session for yet, and may end the connection here.
        with translated(url), connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'; SET jit = off")
    except BaseException:
        connection.close()
        raise
    connection.autocommit = False
    return connection


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn a lost or refused connection into `DatabaseUnavailableError`, which a person can act on."""
    try:
        yield
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise unavailable(url, error) from error
    except psycopg2.ProgrammingError as error:
        # libpq could not read the URL; an error of SQL carries a code.
        raise unavailable(url, error) if error.pgcode is None else refusal(url, error) or error from error


def refusal(url: str, error: psycopg2.Error) -> RefusedRowsError | UnavailableError | None:
    """Return the error for a statement that the database refused; `None` when that is a defect of ours.

    Parameters
    ----------
    url : `str`
        Where the database is.
    error : `psycopg2.Error`
        With its code; classes of codes are those of PostgreSQL's documentation, appendix A.
    """
    said = _said(error)
    code = error.pgcode or ""
    if code.startswith(_OF_THE_ROWS):
        return RefusedRowsError(f"the tracking database refuses the rows: {said}")
    if code.startswith("53"):  # insufficient resources
        return DatabaseUnavailableError(
            f"the tracking database at {redacted(url)} has run out of something: {said}. "
            "Free space on its file system, or raise the limit it names; then the same command goes on"
        )
    if code.startswith(_PASSING):
        return DatabaseUnavailableError(f"the tracking database at {redacted(url)} cannot do it now: {said}")
    if code == "42501":  # insufficient privilege
        return UnavailableError(
            f"the tracking database at {redacted(url)} does not allow it: {said}. "
            "Ask its owner for rights: `merian-campaign db grant`"
        )
    return None


def _said(error: BaseException) -> str:
    return one_line(str(error).partition("\nCONTEXT:")[0].partition("\nLINE ")[0]).rstrip(".?")


def unavailable(url: str, error: BaseException) -> DatabaseUnavailableError:
    """Return the error for a database that does not answer.

    Parameters
    ----------
    url : `str`
        Where the database should be.
    error : `BaseException`
        What psycopg2 said.
    """
    said = one_line(str(error)).rstrip(".?") or type(error).__name__
    # libpq quotes a URL it cannot read in full, password included.
    said = redact(re.sub(r' in URI: ".*', "", said))
    if _NO_CONNECTION_LEFT.search(said):
        return DatabaseUnavailableError(
            f"the tracking database at {redacted(url)} has no connection left: {said}. "
            "Wait, or raise the limit of its role, database, server (max_connections) or pool"
        )
    return DatabaseUnavailableError(
        f"the tracking database at {redacted(url)} does not answer: {said}. "
        "Check that the server runs and that MERIAN_CAMPAIGN_DATABASE_URL names it, "
        "or unset that variable to use the embedded server"
    )


def fetch(connection: Connection, query: str, values: Mapping[str, object]) -> list[dict[str, Any]]:
    """Return the rows of a query, by column."""
    with connection.cursor() as cursor:
        cursor.execute(query, dict(values))
        names: Sequence[str] = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
