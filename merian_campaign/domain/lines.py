"""What files of JSON lines have in common when several processes append to them and any may die in a line."""

from datetime import UTC, datetime

from merian_campaign.domain import json_values

__all__ = ["last_object", "moment_of"]


def moment_of(text: str) -> datetime | None:
    """Return an ISO 8601 moment, timezone aware (UTC where it does not say), or None when it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def last_object(line: str, *, start: str) -> object:
    """Return the object of a line, or the last readable one in it, or None.

    Parameters
    ----------
    line
        One line; a writer that died in it leaves the next one's line glued to its own.
    start
        How objects of this file begin.
    """
    at = line.find(start)
    while at >= 0:
        try:
            return json_values.loads(line[at:])
        except json_values.WrongValueError:
            at = line.find(start, at + 1)
    return None
