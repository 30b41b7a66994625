"""SQL that keeps what the board says of a group in the group's row.

Counted anew rather than added to, by all who change what is counted, in the same transaction and under the
group's lock; written where it differs.
"""

from __future__ import annotations

from typing import Final

from merian_campaign.domain.execution.counts import COUNTED_STATES

__all__ = ["BOARD", "BOARD_COUNTS", "KEEP_BOARD", "KEEP_COUNTS", "KEEP_SUBMISSIONS"]

BOARD_COUNTS: Final = {state: f"quanta_{state}" for state in COUNTED_STATES}
"""Columns of a group with its quanta by state."""

BOARD: Final = {
    "quantum_count": {
        column: f"coalesce(sum(n) FILTER (WHERE state = '{state}'), 0)::integer"
        for state, column in BOARD_COUNTS.items()
    },
    "submission": {
        "submissions": "count(*)::integer",
        "no_graph": "coalesce(bool_or(outcome = 'empty'), false)",
        "stack": "coalesce((array_agg(versions ->> 'short' ORDER BY number DESC)"
        " FILTER (WHERE versions IS NOT NULL))[1], '')",
    },
}
"""Columns of a group that are kept of rows of other tables, by these, and how each is counted."""


def _kept(source: str) -> str:
    """Return SQL that makes columns of a group what they are counted to be."""
    values = BOARD[source]
    named = ", ".join(f"{value} AS {name}" for name, value in values.items())
    ours, counted = (", ".join(f"{row}.{name}" for name in values) for row in ("g", "k"))
    return f"""
UPDATE "group" AS g SET {", ".join(f"{name} = k.{name}" for name in values)}
FROM (SELECT {named} FROM {source} WHERE group_id = %(group_id)s) AS k
WHERE g.id = %(group_id)s AND ({ours}) IS DISTINCT FROM ({counted})
"""  # noqa: S608  (built from constants of this module)


KEEP_COUNTS: Final = _kept("quantum_count")
"""What follows a change of `quantum_count`."""

KEEP_SUBMISSIONS: Final = _kept("submission")
"""What follows a new submission, the outcome of one, and the versions that one ran under."""

KEEP_BOARD: Final = (KEEP_COUNTS, KEEP_SUBMISSIONS)
