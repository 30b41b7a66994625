"""The database's clock, which all hosts of a campaign share: theirs may be minutes apart, or set back."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from merian_campaign.domain.errors import CampaignError
from merian_campaign.store.server.database import Database

__all__ = ["ClockStore", "DatabaseClock"]


class ClockStore(Database):
    """The part of the store that tells the time."""

    def now(self) -> datetime:
        """Return what time it is by the database's clock, UTC."""
        with self._transaction() as connection:
            found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
            return found.astimezone(UTC)


class DatabaseClock:
    """Tells the database's time, asked once; what is done to this host's clock after that does nothing to it.

    While the database cannot be asked, this host's clock has to do.

    Parameters
    ----------
    ask : callable
        Asks the database.
    """

    def __init__(self, ask: Callable[[], datetime]) -> None:
        self._ask = ask
        self._began: tuple[datetime, float] | None = None

    def __call__(self) -> datetime:
        """Return the time, UTC."""
        if self._began is None:
            try:
                self._began = (self._ask(), _passed())
            except CampaignError:
                return datetime.now(UTC)
        at, since = self._began
        return at + timedelta(seconds=_passed() - since)


def _passed() -> float:
    """Return seconds since this host booted, sleep included; nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
