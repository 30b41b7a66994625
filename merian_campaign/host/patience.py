"""Waiting for the tracking database when it is away: asked again, longer apart each time, up to a bound."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Final

from merian_campaign.domain.errors import DatabaseUnavailableError

__all__ = ["AWAY_SECONDS", "patiently", "pauses"]

_LOG = logging.getLogger(__name__)

AWAY_SECONDS: Final = 600.0
"""How long a database may be away before what needs it gives up: a restart, a failover, a reboot."""

_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 2.0


def patiently[T](
    ask: Callable[[], T], *, go_on: Callable[[], bool] = lambda: True, bound: float = AWAY_SECONDS
) -> T:
    """Ask something of the tracking database, and again while that does not answer.

    Parameters
    ----------
    ask : callable
        What to ask; it may be asked again.
    go_on : callable, optional
        Says whether it is still worth waiting.
    bound : `float`, optional
        How long the database may be away, seconds.

    Raises
    ------
    DatabaseUnavailableError
        Raised if it does not answer within ``bound``, or nobody waits any more.
    """
    deadline = time.monotonic() + bound
    told = False
    for pause in pauses():
        try:
            answer = ask()
        except DatabaseUnavailableError as error:
            if time.monotonic() > deadline or not go_on():
                raise
            if not told:
                _LOG.warning("%s; it is waited for, %g minutes at most", error, bound / 60)
            told = True
            time.sleep(pause)
        else:
            if told:
                _LOG.warning("the tracking database answers again")
            return answer
    raise AssertionError  # pauses have no end


def pauses() -> Iterator[float]:
    """Return how long to wait before each next try, seconds: spread, so that waiters do not ask at once."""
    wait = _FIRST_WAIT_SECONDS
    while True:
        yield wait * random.uniform(0.5, 1)  # noqa: S311 - only to spread the waiters
        wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
