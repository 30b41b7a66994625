"""Bring the schema of the tracking database up to date, or say that it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from alembic import op
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionMap
from sqlalchemy import Connection, text

from merian_campaign.store.server.engine import make_engine, translated_sql
from merian_campaign.store.server.schema_version import KNOWN, MIGRATIONS, require_current

# Any constant will do; it only has to be the same in every process.
_UPGRADE_LOCK = 7_306_221


def upgrade(url: str, *, version: str = KNOWN[-1]) -> bool:
    """Bring a database to the schema version of this program.

    Two processes may do it at once: the second waits and finds it done.

    Parameters
    ----------
    url : `str`
        Where the database is.
    version : `str`, optional
        An earlier version to stop at.

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
    try:
        with translated_sql(url), engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
            found = connection.execute(text("SELECT to_regclass('alembic_version')")).scalar()
            if found is not None:
                found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            if found == version:
                return False
            if found is not None and found not in KNOWN:
                require_current(str(found), url=url)
            _run(connection, to=version)
            return True
    finally:
        engine.dispose()


def _run(connection: Connection, *, to: str) -> None:
    """Run the statements of each version that a database has not had, in the transaction of its caller."""
    scripts = ScriptDirectory(MIGRATIONS[to].parent)
    scripts.revision_map = RevisionMap(_revisions)

    def steps(rev: str | tuple[str, ...], _: MigrationContext) -> list[MigrationStep]:
        wanted = reversed(list(scripts.iterate_revisions(to, rev or None)))
        return [MigrationStep.upgrade_from_script(scripts.revision_map, script) for script in wanted]

    with EnvironmentContext(Config(), scripts, fn=steps) as environment:
        environment.configure(connection=connection, transaction_per_migration=False)
        environment.run_migrations()


def _revisions() -> Iterator[Script]:
    """Yield what Alembic calls revisions: each is a file of SQL, and comes after the one before it."""
    before = None
    for version, file in MIGRATIONS.items():
        module = ModuleType(f"migration_{version}")
        vars(module).update(revision=version, down_revision=before, upgrade=_statements_of(file))
        yield Script(module, version, file)
        before = version


def _statements_of(file: Path) -> Callable[[], None]:
    def run() -> None:
        op.get_bind().exec_driver_sql(file.read_text(encoding="utf-8"))

    return run
