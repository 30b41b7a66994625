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

SUMMARISE: Final = (
    *FORGET_SUMMARY,
    "INSERT INTO group_usage SELECT * FROM counted_usage WHERE group_id = %(group_id)s",
    "INSERT INTO group_hours SELECT * FROM counted_hours WHERE group_id = %(group_id)s",
)
"""What follows a change after which, for now, none is expected: a harvest, a redo."""
