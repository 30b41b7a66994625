"""The time that all hosts of a campaign agree on."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

__all__ = ["SharedClock"]


class SharedClock:
    """The database's clock, asked once; from then on this host's uptime is added, which nobody sets.

    Parameters
    ----------
    ask : callable
        Returns what the database's clock says.
    """

    def __init__(self, ask: Callable[[], datetime]) -> None:
        self._ask = ask
        self._begin: tuple[datetime, float] | None = None

    def __call__(self) -> datetime:
        """Return the time, UTC."""
        if self._begin is None:
            self._begin = (self._ask(), time.monotonic())
        moment, uptime = self._begin
        return moment + timedelta(seconds=time.monotonic() - uptime)
