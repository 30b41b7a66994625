"""Moments that other clocks wrote: what one says that is ahead of ours must not hold anything up.

A moment further ahead than clocks of one site differ was written by a clock that was wrong, and has since
been set right. It says nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

__all__ = ["LEASE", "holds", "is_recent"]

LEASE: Final = timedelta(minutes=3)
"""How long a driver counts as alive after its last sign of life, for hosts that cannot look at it."""

_CLOCKS_DIFFER: Final = timedelta(minutes=5)


def is_recent(moment: datetime | None, *, within: timedelta, now: datetime) -> bool:
    """Say whether a moment is less than so long ago; one that lies as far ahead is not."""
    return moment is not None and abs(now - moment) < within


def holds(lease_expires_at: datetime | None, *, now: datetime) -> bool:
    """Say whether a lease has not run out; one that runs longer than any that is given is void."""
    return lease_expires_at is not None and now < lease_expires_at <= now + LEASE + _CLOCKS_DIFFER
