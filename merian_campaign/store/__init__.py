"""The tracking database: PostgreSQL, its schema, queries and locks, and the embedded server.

Imports nothing heavy by itself: `status` starts through `open_reader`, which needs psycopg2 alone. This
room never imports services, and never touches LSST code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from merian_campaign.store.reading.reader import Reader
    from merian_campaign.store.store import PostgresStore

__all__ = ["connect", "open_reader"]


def connect(url: str | None = None) -> PostgresStore:
    """Return the store.

    Parameters
    ----------
    url : `str`, optional
        Where the database is; by default what the environment says, else the embedded server, which is
        started and, when it is new, given its tables.

    Raises
    ------
    UnavailableError
        Raised if the database does not answer.
    SchemaVersionError
        Raised if it is older or newer than this program.
    """
    from merian_campaign.store.server.schema_version import check  # noqa: PLC0415  (not every command needs it)
    from merian_campaign.store.store import PostgresStore  # noqa: PLC0415  (heavy)

    where = _locate() if url is None else url
    check(where)
    return PostgresStore(where)


def open_reader(url: str | None = None) -> Reader:
    """Return the reading part of the store, which starts fast.

    Parameters and errors are those of `connect`.
    """
    from merian_campaign.store.reading.reader import Reader  # noqa: PLC0415  (not every command reads)

    return Reader(_locate() if url is None else url)


def _locate() -> str:
    from merian_campaign.store.server.server import prepared_url  # noqa: PLC0415  (not every command needs it)

    return prepared_url()
