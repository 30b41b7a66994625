"""SQL that keeps the summaries of groups, which stable views read in place of every quantum.

A group has a summary from its harvest on until one of its quanta changes. One without is counted by the views
from its quanta, so that a summary is never wrong, and live progress has nothing to add up.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DIFFERENT_SUMMARIES", "FORGET_SUMMARY", "SUMMARIES", "SUMMARISE", "summary"]


def _kept(table: str, *, source: str, key: tuple[str, ...], values: tuple[str, ...]) -> str:
    """Return SQL that makes a group's rows what they are counted to be, and writes those that differ."""
    keys = ", ".join(key)
    same = " AND ".join(f"m.{name} = k.{name}" for name in key)
    return f"""
WITH made AS MATERIALIZED (
    SELECT group_id, {keys}, {", ".join(values)} FROM {source} WHERE group_id = %(group_id)s
), gone AS (
    DELETE FROM {table} AS k
    WHERE k.group_id = %(group_id)s AND NOT EXISTS (SELECT FROM made AS m WHERE {same})
)
INSERT INTO {table} AS old (group_id, {keys}, {", ".join(values)})
SELECT * FROM made
ON CONFLICT (group_id, {keys}) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in values)}
WHERE ({", ".join(f"old.{name}" for name in values)})
    IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in values)})
"""  # noqa: S608  (built from names)


_TABLES: Final = {
    "group_usage": (
        "counted_usage",
        ("task",),
        (
            *("n", "requested_mb", "peak_mb", "seconds", "seconds_longest"),
            *("peaks", "peaks_n", "times", "times_n"),
            *("runs", "runs_failed", "runs_requested_mb", "runs_peak_mb", "runs_seconds", "runs_longest"),
            *("requests", "requests_runs", "peaks_runs", "times_runs"),
        ),
    ),
    "group_hours": ("counted_hours", ("hour",), ("succeeded", "failed", "runs_succeeded", "runs_failed")),
    "group_cells": (
        "counted_cells",
        ("tract", "band", "state"),
        ("n", "caveats", "no_work", "upstream", "unprocessable", "partial"),
    ),
}

SUMMARIES: Final = frozenset(_TABLES)
"""The tables."""

FORGET_SUMMARY: Final = tuple(
    f"DELETE FROM {table} WHERE group_id = %(group_id)s"  # noqa: S608  (names)
    for table in _TABLES
)
"""What goes with a change of a group's quanta."""

SUMMARISE: Final = tuple(
    _kept(table, source=source, key=key, values=values) for table, (source, key, values) in _TABLES.items()
)
"""What follows a change after which, for now, none is expected: a harvest, a redo."""


_FLOATS: Final = frozenset({"seconds", "seconds_longest", "runs_seconds", "runs_longest"})
"""Sums of what need not be added up in the same order twice."""


def _differ(name: str) -> str:
    """Return the condition under which a column of a summary is not what it is counted to be."""
    if name in _FLOATS:
        same = f"abs(k.{name} - m.{name}) <= 1e-6 * (1 + abs(m.{name}))"
        return f"NOT coalesce({same}, (k.{name}, m.{name}) IS NOT DISTINCT FROM (NULL, NULL))"
    return f"k.{name} IS DISTINCT FROM m.{name}"


def _different(table: str, *, source: str, key: tuple[str, ...], values: tuple[str, ...]) -> str:
    """Return SQL for the groups of whose summary rows are wrong, missing, or too many, and how many."""
    keys = ", ".join(("group_id", *key))
    return f"""
SELECT group_id, count(*)
FROM {table} AS k
FULL JOIN (
    SELECT * FROM {source} WHERE group_id IN (SELECT group_id FROM {table})
) AS m USING ({keys})
WHERE {" OR ".join(map(_differ, values))}
GROUP BY group_id
"""  # noqa: S608  (built from names)


DIFFERENT_SUMMARIES: Final = {
    table: _different(table, source=source, key=key, values=values)
    for table, (source, key, values) in _TABLES.items()
}
"""Of each table, which groups have rows there that are not what the quanta say."""


def summary(table: str) -> str:
    """Return SQL for summaries, those of groups of the campaign that have none counted now."""
    source, _, _ = _TABLES[table]
    return f"""(
    SELECT * FROM {table}
    UNION ALL
    SELECT * FROM {source} AS u
    WHERE u.group_id IN (SELECT id FROM "group" WHERE campaign_id = %(campaign_id)s)
      AND NOT EXISTS (SELECT 1 FROM {table} AS k WHERE k.group_id = u.group_id)
)"""  # noqa: S608  (names)
