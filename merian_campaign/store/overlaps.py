"""Which tracts the exposures of a campaign overlap: what was last seen, whole."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, text, update
from sqlalchemy.dialects.postgresql import JSONB

from merian_campaign.domain.record.overlaps import Overlaps, SkyExposure
from merian_campaign.domain.record.records import Event
from merian_campaign.store import events, schema
from merian_campaign.store.server.database import Database

# One row also when nothing was seen, none when nobody looked.
_LOAD = text("""
    SELECT c.overlaps_seen_at, c.overlaps_basis, o.exposure, o.day_obs, o.visits, o.tracts, o.taken, o.steps,
           o.raws, o.seen_at, o.raws_at
    FROM campaign AS c LEFT JOIN visit_overlap AS o ON o.campaign_id = c.id
    WHERE c.id = :campaign_id AND c.overlaps_seen_at IS NOT NULL
    ORDER BY o.exposure
""")

_NEW = """jsonb_to_recordset(:rows)
    AS new (exposure bigint, day_obs integer, visits bigint[], tracts integer[], taken boolean,
            steps text[], raws integer, seen_at timestamptz)"""

_PUT = text(f"""
    INSERT INTO visit_overlap AS old
        (campaign_id, exposure, day_obs, visits, tracts, taken, steps, raws, seen_at)
    SELECT :campaign_id, new.exposure, new.day_obs, new.visits, new.tracts, new.taken, new.steps, new.raws,
           new.seen_at
    FROM {_NEW}
    ON CONFLICT (campaign_id, exposure) DO UPDATE
    SET day_obs = excluded.day_obs, visits = excluded.visits, tracts = excluded.tracts,
        taken = excluded.taken, steps = excluded.steps, raws = excluded.raws,
        raws_at = CASE WHEN old.raws BETWEEN 1 AND excluded.raws - 1 THEN excluded.seen_at
                  ELSE old.raws_at END
    WHERE (old.day_obs, old.visits, old.tracts, old.taken, old.steps, old.raws)
        IS DISTINCT FROM (excluded.day_obs, excluded.visits, excluded.tracts, excluded.taken, excluded.steps,
        excluded.raws)
""").bindparams(bindparam("rows", type_=JSONB))  # noqa: S608 - constants

_DROP = text(f"""
    DELETE FROM visit_overlap AS old
    WHERE old.campaign_id = :campaign_id
      AND NOT EXISTS (SELECT 1 FROM {_NEW} WHERE new.exposure = old.exposure)
""").bindparams(bindparam("rows", type_=JSONB))  # noqa: S608


def load_overlaps(connection: Connection, *, campaign_id: int) -> Overlaps | None:
    """Return what was last seen, in one statement; `None` when nobody has looked."""
    rows = connection.execute(_LOAD, {"campaign_id": campaign_id}).all()
    if not rows:
        return None
    return Overlaps(
        exposures=tuple(
            SkyExposure(
                exposure=exposure,
                day_obs=day_obs,
                visits=tuple(visits),
                tracts=None if tracts is None else tuple(tracts),
                taken=taken,
                steps=frozenset(steps),
                raws=raws,
                seen_at=first,
                raws_at=more,
            )
            for _, _, exposure, day_obs, visits, tracts, taken, steps, raws, first, more in rows
            if exposure is not None
        ),
        basis=rows[0].overlaps_basis,
        seen_at=rows[0].overlaps_seen_at,
    )


def _document(row: SkyExposure) -> dict[str, object]:
    return {
        "exposure": row.exposure,
        "day_obs": row.day_obs,
        "visits": list(row.visits),
        "tracts": None if row.tracts is None else list(row.tracts),
        "taken": row.taken,
        "steps": sorted(row.steps),
        "raws": row.raws,
        "seen_at": None if row.seen_at is None else row.seen_at.isoformat(),
    }


class OverlapStore(Database):
    """The part of the store that knows which tracts exposures overlap."""

    def record_overlaps(self, *, campaign_id: int, overlaps: Overlaps, actor: str, now: datetime) -> bool:
        """Put what was seen in place of what was seen before; say whether there was news."""
        rows = [_document(row) for row in overlaps.exposures]
        with self._transaction() as connection:
            connection.execute(
                update(schema.campaign)
                .where(schema.campaign.c.id == campaign_id)
                .values(overlaps_seen_at=overlaps.seen_at, overlaps_basis=overlaps.basis)
            )
            values = {"campaign_id": campaign_id, "rows": rows}
            changed = connection.execute(_DROP, values).rowcount + connection.execute(_PUT, values).rowcount
            if changed:
                event = Event(kind="overlaps", actor=actor, reason=overlaps.in_words())
                events.record(connection, event, at=now, campaign_id=campaign_id)
            return bool(changed)
