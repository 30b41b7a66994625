"""Attempts that failed, with the evidence on record, to hold failure rules against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from merian_campaign.domain.execution.quanta import ATTEMPT_FACTS, Attempt
from merian_campaign.domain.failures.rule_trial import PastFailure
from merian_campaign.domain.states import QuantumState, Verdict
from merian_campaign.store.server.connection import fetch

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  (psycopg2 spells it small)

_FACTS = ", ".join(f"a.{name}" for name in ATTEMPT_FACTS)

# The newest first.
_HISTORY = f"""
SELECT g.step, g.key AS "group", q.task, q.data_id, a.try AS try_number, {_FACTS}, a.exception_bases,
       coalesce(a.certainty, '') AS certainty, a.charged, coalesce(s.versions->>'short', '') AS release
FROM stored_attempt AS a
JOIN quantum AS q ON q.id = a.quantum_id
JOIN submission AS s ON s.id = a.submission_id
JOIN "group" AS g ON g.id = s.group_id
WHERE g.campaign_id = %(campaign_id)s AND a.state = 'failed'
ORDER BY a.recorded_at DESC, a.quantum_id, a.submission_id, a.try
LIMIT %(limit)s
"""  # noqa: S608  (built from constants of this module)

_OF_QUANTUM = ("step", "group", "task", "data_id", "release")


def read_history(connection: Connection, *, campaign_id: int, limit: int) -> tuple[PastFailure, ...]:
    """Return the newest attempts that failed; logs relative to the directories of their submissions."""
    found = []
    for row in fetch(connection, _HISTORY, {"campaign_id": campaign_id, "limit": limit}):
        place = {name: row.pop(name) for name in _OF_QUANTUM}
        verdict, bases = row.pop("verdict"), row.pop("exception_bases").split()
        attempt = Attempt(
            **row,
            state=QuantumState.FAILED,
            verdict=Verdict(verdict or Verdict.UNKNOWN),
            exception_bases=tuple(bases),
        )
        found.append(PastFailure(**place, attempt=attempt))
    return tuple(found)
