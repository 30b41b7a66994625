"""Advisory locks: one tick a campaign; of a butler repository one that writes, or some that build graphs.

Each on a connection of its own. PostgreSQL releases a lock when its connection ends, however it ends, so
a killed holder blocks nobody.

Who writes to a repository first takes its *gate*, then waits until those that read it have ended; who reads
goes through the gate and leaves it open. So a stream of readers keeps no writer waiting. How many read at
once is said by as many *places*, each a lock of its own.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from merian_campaign.domain.errors import BusyError, CalledOffError, DatabaseUnavailableError
from merian_campaign.host.patience import patiently, pauses
from merian_campaign.store.connection import open_connection, translated

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
    return -1 - _hash(_place(repository))


@contextmanager
def campaign_lock(url: str, name: str) -> Iterator[None]:
    """Hold a campaign's lock.

    Raises
    ------
    BusyError
        Raised if it is taken; names the holder.
    """
    with closing(_connect(url)) as connection:
        with translated(url):
            if not _try_lock(connection, campaign_key(name)):
                raise BusyError(
                    f"campaign {name} is being worked on by {_holder(connection, campaign_key(name))}; "
                    "run the command again when that has ended"
                )
        yield


@contextmanager
def repository_lock(
    url: str,
    repository: str,
    *,
    readers: int | None = None,
    go_on: Callable[[], bool] = lambda: True,
    bound: float = LOCK_SECONDS,
) -> Iterator[None]:
    """Hold a butler repository's lock; wait for it, and for a database that is away.

    Parameters
    ----------
    url : `str`
        Where the database is.
    repository : `str`
        Butler repository.
    readers : `int` or `None`, optional
        `None` to write to it, and hold the lock alone; otherwise it is shared by so many that read at once,
        0 for as many as this host has cores, two at least.
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
    asks = _to_write(repository) if readers is None else _to_read(repository, readers or _cores())
    with closing(_Waiter(url, asks)) as waiter:
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
        yield


type _Ask = Callable[["Connection"], str]
"""Try to take a lock; say who else holds it, or nothing."""


class _Waiter:
    """Asks for locks, one after the other, on a connection of its own, opened again when it was lost."""

    def __init__(self, url: str, asks: Sequence[_Ask]) -> None:
        self._url = url
        self._asks = asks
        self._taken = 0
        self._connection: Connection | None = None

    def ask(self) -> str:
        """Try to take what is not taken yet; return who else holds the next one, or nothing."""
        try:
            if self._connection is None:
                self._connection = _connect(self._url)
            with translated(self._url):
                for ask in self._asks[self._taken :]:
                    holder = ask(self._connection)
                    if holder:
                        return holder
                    self._taken += 1
                return ""
        except DatabaseUnavailableError:
            self.close()
            raise

    def close(self) -> None:
        """Give the locks back."""
        self._taken = 0
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _to_write(repository: str) -> Sequence[_Ask]:
    gate, main = _gate_key(repository), repository_key(repository)

    def close_the_gate(connection: Connection) -> str:
        return "" if _try_lock(connection, gate) else _holder(connection, gate)

    def be_alone(connection: Connection) -> str:
        return "" if _try_lock(connection, main) else _holder(connection, main)

    return close_the_gate, be_alone


def _to_read(repository: str, number: int) -> Sequence[_Ask]:
    gate, main = _gate_key(repository), repository_key(repository)
    places = [-1 - _hash(f"{_place(repository)}#{at}") for at in range(number)]

    def have_a_place(connection: Connection) -> str:
        free = any(_try_lock(connection, place) for place in places)
        return "" if free else f"{number} that build graphs, {_holder(connection, places[0])} among them"

    def go_through(connection: Connection) -> str:
        if not _try_lock(connection, gate, how="_shared"):
            return _holder(connection, gate)
        try:
            return "" if _try_lock(connection, main, how="_shared") else _holder(connection, main)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock_shared(%s)", (gate,))

    return have_a_place, go_through


def _cores() -> int:
    return max(2, len(os.sched_getaffinity(0)))


def _place(repository: str) -> str:
    return repository if "://" in repository else str(Path(repository).expanduser().resolve())


def _gate_key(repository: str) -> int:
    return -1 - _hash(f"{_place(repository)}#gate")


def _hash(value: str) -> int:
    return int.from_bytes(hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()[:8]) >> 1


def _connect(url: str) -> Connection:
    # The name is what the others see of the holder; PostgreSQL keeps 63 bytes of it.
    connection = open_connection(url, application=f"process {os.getpid()} on {socket.gethostname()}"[:63])
    connection.autocommit = True
    return connection


def _try_lock(connection: Connection, key: int, *, how: Literal["", "_shared"] = "") -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_try_advisory_lock{how}(%s)", (key,))
        row = cursor.fetchone()
    return row is not None and bool(row[0])


def _holder(connection: Connection, key: int) -> str:
    with connection.cursor() as cursor:
        cursor.execute(_HOLDER, {"key": key})
        row = cursor.fetchone()
    return "a process that has just ended" if row is None else f"{row[0]} since {row[1]}"
