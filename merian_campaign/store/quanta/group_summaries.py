"""SQL that keeps the summaries of groups, which stable views read in place of every quantum.

A group has a summary from its harvest on until one of its quanta changes. One without is counted by the views
from its quanta, so that a summary is never wrong, and live progress has nothing to add up.
"""

from __future__ import annotations

from typing import Final

__all__ = ["FORGET_SUMMARY", "SUMMARISE"]

FORGET_SUMMARY: Final = (
    "DELETE FROM group_usage WHERE group_id = %(group_id)s",
    "DELETE FROM group_hours WHERE group_id = %(group_id)s",
)
"""What goes with a change of a group's quanta."""


def _kept(table: str, *, source: str, key: str, values: tuple[str, ...]) -> str:
    """Return SQL that makes a group's rows what they are counted to be, and writes those that differ."""
    return f"""
WITH made AS MATERIALIZED (
    SELECT group_id, {key}, {", ".join(values)} FROM {source} WHERE group_id = %(group_id)s
), gone AS (
    DELETE FROM {table} AS k
    WHERE k.group_id = %(group_id)s AND NOT EXISTS (SELECT FROM made AS m WHERE m.{key} = k.{key})
)
INSERT INTO {table} AS old (group_id, {key}, {", ".join(values)})
SELECT * FROM made
ON CONFLICT (group_id, {key}) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in values)}
WHERE ({", ".join(f"old.{name}" for name in values)})
    IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in values)})
"""  # noqa: S608  (built from names)


_USAGE = (
    *("n", "requested_mb", "peak_mb", "seconds", "seconds_longest"),
    *("peaks", "peaks_n", "times", "times_n"),
)

SUMMARISE: Final = (
    _kept("group_usage", source="counted_usage", key="task", values=_USAGE),
    _kept("group_hours", source="counted_hours", key="hour", values=("succeeded", "failed")),
)
"""What follows a change after which, for now, none is expected: a harvest, a redo."""
