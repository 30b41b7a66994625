"""Whether a lock is still held: PostgreSQL gives it away when the session that holds it ends, for any reason.

A server that restarts, fails over or ends idle sessions, and a firewall that forgets a connection, all end
it without a word to the holder.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Final, Self

from merian_campaign.domain.errors import BusyError, DatabaseUnavailableError
from merian_campaign.host.patience import AWAY_SECONDS

__all__ = ["LockWatch"]

_LOG = logging.getLogger(__name__)

_WATCH_SECONDS: Final = 1.0
_END_SECONDS: Final = 60.0
"""How long the holder may take to stop in good order."""


class LockWatch:
    """Looks again and again whether this process holds a lock, and ends the process when it does not.

    Nobody else can have taken it from a server that is away, so that is waited for, as long as everywhere.

    Parameters
    ----------
    still : callable
        Says who else holds it, or nothing; takes it again when its connection was lost.
    what : `str`
        What it is of, for messages.
    """

    def __init__(self, *, still: Callable[[], str], what: str) -> None:
        self._still = still
        self._what = what
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lock", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        answered = time.monotonic()
        while not self._ended.wait(_WATCH_SECONDS):
            try:
                holder = self._still()
            except DatabaseUnavailableError as error:
                if time.monotonic() - answered <= AWAY_SECONDS:
                    continue
                holder = f"nobody knows whom, for {error}"
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody knows any more who holds it
                holder = f"nobody knows whom, for {error}"
            answered = time.monotonic()
            if holder:
                self._stop(holder)

    def _stop(self, holder: str) -> None:
        """End this process, so that nothing writes beside the next holder."""
        _LOG.error("the lock of %s was lost, to %s; this process ends", self._what, holder)
        os.kill(os.getpid(), signal.SIGTERM)
        if not self._ended.wait(_END_SECONDS):
            os._exit(BusyError.exit_code)
