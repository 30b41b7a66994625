"""Where tracts and visits lie on the sky: kept once, for reports."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.dialects.postgresql import insert as upsert

from merian_campaign.domain.sky_regions import SkyRegion
from merian_campaign.store import schema
from merian_campaign.store.campaigns import require_campaign
from merian_campaign.store.server.database import Database


class SkyRegionStore(Database):
    """The part of the store that knows where tracts and visits lie."""

    def record_regions(self, *, campaign: str, regions: Sequence[SkyRegion]) -> None:
        """Keep regions; what was there of the same tract or visit is replaced."""
        if not regions:
            return
        new = upsert(schema.sky_region)
        statement = new.on_conflict_do_update(
            index_elements=["campaign_id", "kind", "number"],
            set_={"ra": new.excluded.ra, "dec": new.excluded["dec"]},
        )
        with self._transaction() as connection:
            key = require_campaign(connection, campaign).id
            rows = [
                {
                    "campaign_id": key,
                    "kind": region.kind,
                    "number": region.number,
                    "ra": list(region.ra),
                    "dec": list(region.dec),
                }
                for region in regions
            ]
            connection.execute(statement, rows)
