"""Advisory locks: one tick a campaign, one graph-builder a butler repository.

Each on a connection of its own. PostgreSQL releases a lock when its connection ends, however it ends, so
a killed holder blocks nobody. A holder whose connection was lost stops: that of a campaign before it next
writes (`campaign_lock`), that of a repository at once (`~merian_campaign.store.lock_watch`).
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from merian_campaign.domain.errors import BusyError, CalledOffError, DatabaseUnavailableError
from merian_campaign.host.patience import patiently, pauses
from merian_campaign.store.connection import open_connection, translated
from merian_campaign.store.lock_watch import LockWatch

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  (psycopg2 spells it small)

_LOG = logging.getLogger(__name__)

LOCK_SECONDS = 24 * 3600.0
"""How long a repository's lock is waited for: the largest graphs take hours, and several may queue."""

_HOLDER = """
SELECT a.application_name, to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS "UTC"')
FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = %(key)s
"""

_HELD = """
SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid())
"""

_STAY = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"

_END_OWN = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND application_name = %s"


def campaign_key(name: str) -> int:
    """Return the lock key of a campaign: positive."""
    return _hash(name)


def repository_key(repository: str) -> int:
    """Return the lock key of a butler repository: negative, so never a campaign's.

    Parameters
    ----------
    repository : `str`
        A path, whose links are followed, or a URI.
    """
    place = repository if "://" in repository else str(Path(repository).expanduser().resolve())
    return -1 - _hash(place)


@contextmanager
def campaign_lock(url: str, name: str) -> Iterator[Callable[[], None]]:
    """Hold a campaign's lock; yield what raises `BusyError` when it was lost meanwhile.

    Raises
    ------
    BusyError
        Raised if it is taken; names the holder.
    """

    def require() -> None:
        if not _holds(connection, url):
            raise BusyError(
                f"the lock of campaign {name} was lost with its connection to the tracking database, and "
                "another process may have it; run the command again"
            )

    with closing(_connect(url)) as connection:
        with translated(url):
            if not _try_lock(connection, campaign_key(name)):
                raise BusyError(
                    f"campaign {name} is being worked on by {_holder(connection, campaign_key(name))}; "
                    "run the command again when that has ended"
                )
        yield require


@contextmanager
def repository_lock(
    url: str, repository: str, *, go_on: Callable[[], bool] = lambda: True, bound: float = LOCK_SECONDS
) -> Iterator[None]:
    """Hold a butler repository's lock; wait for it, and for a database that is away.

    Parameters
    ----------
    url : `str`
        Where the database is.
    repository : `str`
        Butler repository.
    go_on : callable, optional
        Says whether it is still wanted.
    bound : `float`, optional
        How long to wait for its holder, seconds.

    Raises
    ------
    BusyError
        Raised if it is still taken after ``bound``; names the holder.
    DatabaseUnavailableError
        Raised if the database is away for longer than is waited for it.
    CalledOffError
        Raised if it is not wanted any more.
    """
    with closing(_Waiter(url, repository_key(repository))) as waiter:
        deadline = time.monotonic() + bound
        told = False
        # Asking again and again instead of waiting in the server: psycopg2 would not let a signal through.
        for pause in pauses():
            holder = patiently(waiter.ask, go_on=go_on)
            if not holder:
                break
            if time.monotonic() > deadline:
                raise BusyError(f"the lock of {repository} is held by {holder}, for too long to wait for it")
            if not go_on():
                raise CalledOffError(f"stopped while the lock of {repository} was waited for")
            if not told:
                _LOG.warning("the lock of %s is waited for; it is held by %s", repository, holder)
            told = True
            time.sleep(pause)
        with LockWatch(still=waiter.still, what=repository):
            yield


class _Waiter:
    """Asks for a lock on a connection of its own, which is opened again when it was lost."""

    def __init__(self, url: str, key: int) -> None:
        self._url = url
        self._key = key
        self._connection: Connection | None = None
        self._before = 0  # pid of a session that was lost, and that the server may take for alive

    def still(self) -> str:
        """Return who else holds the lock, or nothing; take it again when the connection was lost."""
        if self._connection is not None and _holds(self._connection, self._url):
            return ""
        if self._connection is not None:
            self._before = self._connection.info.backend_pid
            self.close()
        holder = self.ask()
        if not holder:
            _LOG.warning("a lock was lost with its connection, and is held again")
        return holder

    def ask(self) -> str:
        """Try to take the lock; return who else holds it, or nothing."""
        try:
            if self._connection is None:
                self._connection = _connect(self._url)
            with translated(self._url):
                _end_own(self._connection, self._before)
                self._before = 0
                return "" if _try_lock(self._connection, self._key) else _holder(self._connection, self._key)
        except DatabaseUnavailableError:
            self.close()
            raise

    def close(self) -> None:
        """Give the lock back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _hash(value: str) -> int:
    return int.from_bytes(hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()[:8]) >> 1


def _connect(url: str) -> Connection:
    connection = open_connection(url, application=_application())
    connection.autocommit = True
    with translated(url), connection.cursor() as cursor:
        cursor.execute(_STAY)  # it waits for hours without a word, which servers end sessions for
    return connection


def _application() -> str:
    # The name is what the others see of the holder; PostgreSQL keeps 63 bytes of it.
    return f"process {os.getpid()} on {socket.gethostname()}"[:63]


def _end_own(connection: Connection, pid: int) -> None:
    """End an earlier session of this process: one that a firewall cut would hold its locks for hours."""
    if pid:
        with connection.cursor() as cursor:
            cursor.execute(_END_OWN, (pid, _application()))


def _holds(connection: Connection, url: str) -> bool:
    """Say whether a connection lives, and has the lock that was taken on it."""
    try:
        with translated(url), connection.cursor() as cursor:
            cursor.execute(_HELD)
            row = cursor.fetchone()
    except DatabaseUnavailableError:
        return False
    return row is not None and bool(row[0])


def _try_lock(connection: Connection, key: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (key,))
        row = cursor.fetchone()
    return row is not None and bool(row[0])


def _holder(connection: Connection, key: int) -> str:
    with connection.cursor() as cursor:
        cursor.execute(_HOLDER, {"key": key})
        row = cursor.fetchone()
    return "a process that has just ended" if row is None else f"{row[0]} since {row[1]}"
