"""Forgetting a campaign: the only deletion of what happened, and only of all of it."""

from __future__ import annotations

from sqlalchemy import text

from merian_campaign.store.campaigns import require_campaign
from merian_campaign.store.database import Database

_GROUPS = 'SELECT id FROM "group" WHERE campaign_id = :id'
_STATEMENTS = (
    f"DELETE FROM quantum_attempt WHERE quantum_id IN (SELECT id FROM quantum WHERE group_id IN ({_GROUPS}))",  # noqa: S608 - constants
    f"DELETE FROM quantum WHERE group_id IN ({_GROUPS})",  # noqa: S608
    f"DELETE FROM quantum_count WHERE group_id IN ({_GROUPS})",  # noqa: S608
    "DELETE FROM event WHERE campaign_id = :id",
    "DELETE FROM notice WHERE campaign_id = :id",
    "DELETE FROM tick WHERE campaign_id = :id",
    f"DELETE FROM slurm_job WHERE submission_id IN (SELECT id FROM submission WHERE group_id IN ({_GROUPS}))",  # noqa: S608
    f"DELETE FROM submission WHERE group_id IN ({_GROUPS})",  # noqa: S608
    'DELETE FROM "group" WHERE campaign_id = :id',
    "DELETE FROM memory_use WHERE campaign_id = :id",
    "DELETE FROM visit_overlap WHERE campaign_id = :id",
    "DELETE FROM sky_region WHERE campaign_id = :id",
    "DELETE FROM revision WHERE campaign_id = :id",
    "DELETE FROM campaign WHERE id = :id",
)


class ForgetStore(Database):
    """Deletes campaigns."""

    def forget(self, name: str) -> None:
        """Delete a campaign with everything that is recorded of it, events included."""
        with self._transaction() as connection:
            campaign = require_campaign(connection, name)
            connection.execute(text("SET LOCAL merian_campaign.forget = 'on'"))
            for statement in _STATEMENTS:
                connection.execute(text(statement), {"id": campaign.id})
