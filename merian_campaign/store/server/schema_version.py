"""Which schema version a database has, and whether this program can use it.

psycopg2 only, so that `status` can ask without importing Alembic.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from merian_campaign.domain.errors import SchemaVersionError
from merian_campaign.store.server.connection import open_connection, redacted, translated

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  (psycopg2 spells it small)

_VERSIONS = Path(__file__).parents[1] / "migrations" / "versions"
MIGRATIONS = {file.name[:4]: file for file in sorted(_VERSIONS.glob("[0-9]*.sql"))}
"""The statements of each schema version, in order."""

KNOWN = tuple(MIGRATIONS)
"""Schema versions in order; the last is the one this program uses."""


def schema_version(connection: Connection) -> str | None:
    """Return the schema version of a database; `None` if it has no schema yet."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('alembic_version') IS NOT NULL")
        row = cursor.fetchone()
        found = None
        if row is not None and row[0]:
            cursor.execute("SELECT version_num FROM alembic_version")
            version = cursor.fetchone()
            found = None if version is None else str(version[0])
    connection.rollback()
    return found


def require_current(found: str | None, *, url: str) -> None:
    """Raise unless the schema version found is the one this program uses.

    Raises
    ------
    SchemaVersionError
        Raised if the database is older, newer, or empty; the message says what to type.
    """
    if found == KNOWN[-1]:
        return
    where = redacted(url)
    if found is None:
        raise SchemaVersionError(
            f"the database at {where} has no tables of merian-campaign yet: run `merian-campaign db upgrade`"
        )
    if found in KNOWN:
        raise SchemaVersionError(
            f"the database at {where} has schema version {found}, this program uses {KNOWN[-1]}: "
            "run `merian-campaign db upgrade` (running drivers of the old version must have ended)"
        )
    raise SchemaVersionError(
        f"the database at {where} has schema version {found}, newer than {KNOWN[-1]} which this program "
        "uses: install the newer merian-campaign; `merian-campaign db upgrade` cannot go back"
    )


def check(url: str) -> None:
    """Raise unless a database has the schema version of this program.

    Parameters
    ----------
    url : `str`
        Where the database is.

    Raises
    ------
    SchemaVersionError
        Raised if it is older, newer, or empty; the message says what to type.
    UnavailableError
        Raised if it does not answer.
    """
    with closing(open_connection(url)) as connection:
        with translated(url):
            found = schema_version(connection)
        require_current(found, url=url)
