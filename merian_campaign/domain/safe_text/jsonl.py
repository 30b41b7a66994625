"""What files of JSON lines have in common when several processes append to them and any may die in a line."""

from datetime import UTC, datetime

from merian_campaign.domain.safe_text import json_values
from merian_campaign.domain.safe_text.json_values import WrongValueError

__all__ = ["LONGEST_LINE", "last_object", "moment_of"]

LONGEST_LINE = 8 << 20
"""Characters of a line that are read at most; one job holds many quanta, but not that many."""

_TRIES = 8
_YEARS = range(1970, 2201)


def moment_of(text: str) -> datetime | None:
    """Return an ISO 8601 moment in UTC (taken as UTC where it does not say), or None when it is none.

    None too of centuries in which nothing ran: such a moment would only break what counts with it.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not UTC:
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment.year in _YEARS else None


def last_object(line: str, *, start: str) -> object:
    """Return the object of a line, or the last readable one in it, or None.

    What is in it is cleaned as by `~merian_campaign.domain.safe_text.json_values.loads`.

    Parameters
    ----------
    line : `str`
        One line; a writer that died in it leaves the next one's line glued to its own.
    start : `str`
        How objects of this file begin.
    """
    if len(line) > LONGEST_LINE:
        return None
    at = line.find(start)
    for _ in range(_TRIES):  # a few writers may have died in a line; more is no file of ours
        if at < 0:
            return None
        try:
            return json_values.loads(line[at:])
        except WrongValueError:
            at = line.find(start, at + 1)
    return None
