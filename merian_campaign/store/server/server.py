"""Where the tracking database is: the server a URL names, or the embedded one.

Cheap to import. Refuses to know what is in the database.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from merian_campaign.host.home import DEFAULT_HOME, HOME_VARIABLE, URL_VARIABLE, home_directory
from merian_campaign.store.server import embedded
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.server.schema_version import schema_version

__all__ = [
    "DEFAULT_HOME",
    "HOME_VARIABLE",
    "URL_VARIABLE",
    "database_url",
    "home_directory",
    "is_there",
    "prepared_url",
    "stop",
]


def database_url(environ: Mapping[str, str] | None = None) -> str:
    """Return the URL of the tracking database, starting the embedded server when there is no other.

    Parameters
    ----------
    environ : `~collections.abc.Mapping`, optional
        Environment to read; the process's own by default.

    Returns
    -------
    url : `str`
        For libpq, psql, SQLAlchemy and pandas alike.

    Raises
    ------
    UnavailableError
        Raised if the embedded server cannot be started.
    """
    environ = os.environ if environ is None else environ
    return environ.get(URL_VARIABLE) or embedded.ensure_running(home_directory(environ))


def is_there(environ: Mapping[str, str] | None = None) -> bool:
    """Say whether a tracking database is named, or the embedded one was made already."""
    environ = os.environ if environ is None else environ
    made = embedded.data_directory(home_directory(environ)) / "PG_VERSION"
    return bool(environ.get(URL_VARIABLE)) or made.exists()


def prepared_url(environ: Mapping[str, str] | None = None) -> str:
    """Return `database_url`; an embedded database that is still empty is given its tables.

    A server that somebody else runs is never changed unasked: that is what `db upgrade` is for.
    """
    environ = os.environ if environ is None else environ
    url = database_url(environ)
    if not environ.get(URL_VARIABLE):
        with closing(open_connection(url)) as connection:
            empty = schema_version(connection) is None
        if empty:
            from merian_campaign.store.server.migrate import upgrade  # noqa: PLC0415  (heavy, once in its life)

            upgrade(url)
    return url


def stop(home: Path | None = None) -> bool:
    """Stop the embedded server of a home directory.

    Parameters
    ----------
    home : `~pathlib.Path`, optional
        `home_directory` by default.

    Returns
    -------
    stopped : `bool`
        `False` if none was running.
    """
    return embedded.stop(home_directory() if home is None else home)
