"""Times that people write on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.safe_text.text import one_line

__all__ = ["coming_moment", "moment", "past_moment"]

_SPAN: Final = re.compile(r"([0-9]{1,6})([mhd])")
_SPANS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def moment(text: str, *, now: datetime, option: str) -> datetime:
    """Return the moment that a person means by a span before now or by a time, UTC unless it says otherwise.

    Raises
    ------
    BadInputError
        Raised if it is neither.
    """
    return _moment(text, now=now, option=option, direction=-1)


def coming_moment(text: str, *, now: datetime, option: str) -> datetime:
    """Return the moment that a person means by a span after now or by a time, UTC unless it says otherwise.

    Raises
    ------
    BadInputError
        Raised if it is neither.
    """
    return _moment(text, now=now, option=option, direction=1)


def _moment(text: str, *, now: datetime, option: str, direction: int) -> datetime:
    span = _SPAN.fullmatch(text.strip())
    try:
        if span is not None:
            return now + direction * timedelta(**{_SPANS[span[2]]: int(span[1])})
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadInputError(
            f"{option}: found {one_line(text)!r}; write 30m, 6h, 2d, 2026-11-25, or 2026-11-25T20:00 (UTC)"
        ) from None


def past_moment(text: str, *, now: datetime, began: datetime) -> datetime:
    """Return the moment in the life of a campaign that a person means with ``--at``.

    Parameters
    ----------
    text : `str`
        What was written.
    now, began : `datetime.datetime`
        The end and the beginning of that life so far.

    Raises
    ------
    BadInputError
        Raised if it is no time, to come, or before the campaign.
    """
    found = moment(text, now=now, option="--at")
    if found > now:
        raise BadInputError(
            f"--at: found {one_line(text)!r}, which is to come; `status --eta` tells what is expected"
        )
    if found < began:
        raise BadInputError(
            f"--at: found {one_line(text)!r}, before the campaign: it was applied first at "
            f"{began.astimezone(UTC):%Y-%m-%dT%H:%M:%S} UTC; name a later time"
        )
    return found
