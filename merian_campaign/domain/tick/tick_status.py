"""How a tick ends, for whatever started it."""

from __future__ import annotations

from typing import Final

from merian_campaign.domain.errors import DatabaseUnavailableError, UnavailableError

__all__ = ["BUSY", "CANNOT_START", "FAILED", "NOTHING", "PERSON", "RAN_OUT", "failed_status"]

NOTHING: Final = 0
"""Nothing for a person to do, or nothing that was not said before."""

PERSON: Final = 1
"""A person is needed, and this is said for the first time."""

FAILED: Final = 2
"""It failed; the next one goes on."""

CANNOT_START: Final = 69
"""Nothing can be started from here: the environment lacks something (``EX_UNAVAILABLE``)."""

RAN_OUT: Final = 74
"""The machine has run out of something, e.g. of room on a disk (``EX_IOERR``)."""

BUSY: Final = 75
"""Another tick is at work (``EX_TEMPFAIL`` of ``sysexits.h``)."""


def failed_status(error: BaseException | None) -> int:
    """Return how a tick ends that failed of an error: what only this machine lacks is told apart."""
    if isinstance(error, OSError | MemoryError):
        return RAN_OUT
    here = isinstance(error, UnavailableError) and not isinstance(error, DatabaseUnavailableError)
    return CANNOT_START if here else FAILED
