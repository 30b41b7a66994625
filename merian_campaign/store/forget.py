"""Forgetting a campaign: the only deletion of what happened, and only of all of it."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from merian_campaign.store.campaign_rows import rows_of, tables
from merian_campaign.store.campaigns import require_campaign
from merian_campaign.store.server.database import Database

__all__ = ["ForgetStore", "forget_rows", "vacuum"]


def forget_rows(connection: Connection, *, campaign_id: int) -> None:
    """Delete all rows of a campaign, those of the record included."""
    connection.execute(text("SET LOCAL merian_campaign.forget = 'on'"))
    for table in reversed(tables()):
        statement = f'DELETE FROM "{table.name}" WHERE {rows_of(table, campaign=":id")}'  # noqa: S608 - names of the schema
        connection.execute(text(statement), {"id": campaign_id})


class ForgetStore(Database):
    """Deletes campaigns."""

    def forget(self, name: str) -> None:
        """Delete a campaign with everything that is recorded of it, and give the space to what comes next."""
        with self._transaction() as connection:
            forget_rows(connection, campaign_id=require_campaign(connection, name).id)
        vacuum(self._engine)
        # Pages of indexes that one empties are free for the next: its analysis is a transaction between.
        vacuum(self._engine)


def vacuum(engine: Engine) -> None:
    """Let the server use the space of deleted rows again, and know how many there are of others.

    Without that it takes tables that were just filled for empty ones, and reads them whole. Nobody who reads
    or writes waits for it. Tables of another owner are left to the server's own vacuum.
    """
    listed = ", ".join(f'"{table.name}"' for table in tables())
    # What cannot be done now, the server's own vacuum does.
    with (
        suppress(DBAPIError),
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
    ):
        connection.execute(text(f"VACUUM (SKIP_LOCKED, ANALYZE) {listed}"))
