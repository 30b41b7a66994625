"""Bring the schema of the tracking database up to date, or say that it is not."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from merian_campaign.store.connection import open_connection, translated
from merian_campaign.store.engine import make_engine, translated_sql
from merian_campaign.store.schema_version import KNOWN, require_current, schema_version

# Any constant will do; it only has to be the same in every process.
_UPGRADE_LOCK = 7_306_221


def alembic_config() -> Config:
    """Return Alembic's configuration; the connection goes into its ``attributes``."""
    config = Config()
    # ConfigParser would take a % in a path for an interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def upgrade(url: str) -> bool:
    """Bring a database to the schema version of this program.

    Two processes may do it at once: the second waits and finds it done.

    Parameters
    ----------
    url : `str`
        Where the database is.

    Returns
    -------
    changed : `bool`
        Whether there was anything to do.

    Raises
    ------
    SchemaVersionError
        Raised if the database is newer than this program.
    UnavailableError
        Raised if it does not answer.
    """
    engine = make_engine(url)
    config = alembic_config()
    try:
        with translated_sql(url), engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
            found = connection.execute(text("SELECT to_regclass('alembic_version')")).scalar()
            if found is not None:
                found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            if found == KNOWN[-1]:
                return False
            if found is not None and found not in KNOWN:
                require_current(str(found), url=url)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return True
    finally:
        engine.dispose()


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
