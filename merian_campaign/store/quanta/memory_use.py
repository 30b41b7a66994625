"""What quanta were measured to use of memory, in bins: small enough to be read by every tick."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from sqlalchemy import text

from merian_campaign.domain.resources.memory_model import MemoryBin
from merian_campaign.store.server.database import Database

__all__ = ["ADD_MEMORY_USE", "MemoryUseStore"]


def _octave(number: str) -> str:
    """Return SQL for the power of two that a number of at most 31 bits has reached."""
    return f"CASE WHEN {number} > 0 THEN 1 << floor(ln({number}) / ln(2) + 1e-12)::integer ELSE 0 END"


# Once for each submission, in the transaction that finishes it. What was killed needed more than it used.
ADD_MEMORY_USE: Final = f"""
INSERT INTO memory_use AS old (campaign_id, step, task, inputs, datasets, needed_more, peak_mb, n, seconds)
SELECT g.campaign_id, g.step, k.task, {_octave("e.number")}, u.datasets, u.needed_more, u.peak_mb, sum(u.n),
       sum(u.seconds)
FROM (
    SELECT kind_id, {_octave("inputs")} AS datasets, needed_more,
           ceil(exp(ceil(ln(peak_mb) / 0.05) * 0.05))::integer AS peak_mb, count(*) AS n,
           coalesce(sum(ended - started), 0) AS seconds
    FROM (
        SELECT kind_id, inputs, false AS needed_more, peak_mb, started, ended
        FROM stage_quantum WHERE first_try AND peak_mb > 0
        UNION ALL
        SELECT kind_id, inputs, attempt_state = 'failed', peak_mb, started, ended
        FROM stage_attempt
        WHERE peak_mb > 0
          AND (attempt_state = 'succeeded' OR (attempt_state = 'failed' AND verdict = 'out_of_memory'))
    ) AS measured
    GROUP BY 1, 2, 3, 4
) AS u
JOIN quantum_kind AS k ON k.id = u.kind_id
CROSS JOIN "group" AS g
CROSS JOIN (
    SELECT coalesce(jsonb_array_length(s.basis -> 'exposures'), 0) AS number
    FROM submission AS s WHERE s.id = %(submission_id)s
) AS e
WHERE g.id = %(group_id)s
GROUP BY 1, 2, 3, 4, 5, 6, 7
ON CONFLICT (campaign_id, step, task, inputs, datasets, needed_more, peak_mb)
DO UPDATE SET n = old.n + excluded.n, seconds = old.seconds + excluded.seconds
"""  # noqa: S608  (built from names)

# Campaigns alike: of the same instrument, with the same pipeline in a step of the same name.
_USE = text("""
    WITH applied AS (
        SELECT DISTINCT ON (r.campaign_id) r.campaign_id, r.spec FROM revision AS r
        ORDER BY r.campaign_id, r.number DESC
    ), steps AS (
        SELECT a.campaign_id, a.spec ->> 'instrument' AS instrument, s.step ->> 'name' AS name,
               s.step ->> 'pipeline' AS pipeline
        FROM applied AS a CROSS JOIN jsonb_array_elements(a.spec -> 'steps') AS s (step)
        WHERE s.step ? 'pipeline'
    )
    SELECT m.step, m.task, m.inputs, m.datasets, m.needed_more, m.peak_mb, sum(m.n)::integer AS number,
           sum(m.seconds) AS seconds
    FROM steps AS own
    JOIN steps AS alike USING (instrument, name, pipeline)
    JOIN memory_use AS m ON m.campaign_id = alike.campaign_id AND m.step = alike.name
    WHERE own.campaign_id = :campaign_id
    GROUP BY 1, 2, 3, 4, 5, 6
""")


class MemoryUseStore(Database):
    """The part of the store that knows what quanta were measured to use."""

    def memory_use(self, *, campaign_id: int) -> Mapping[str, Mapping[str, tuple[MemoryBin, ...]]]:
        """Return what quanta used, by step and task, in this campaign and in those like it."""
        found: dict[str, dict[str, list[MemoryBin]]] = defaultdict(lambda: defaultdict(list))
        with self._reading() as connection:
            for row in connection.execute(_USE, {"campaign_id": campaign_id}).mappings():
                values = {name: value for name, value in row.items() if name not in {"step", "task"}}
                found[row["step"]][row["task"]].append(MemoryBin(**values))
        return {step: {task: tuple(bins) for task, bins in tasks.items()} for step, tasks in found.items()}
