"""Advisory locks: one tick a campaign; of a butler repository one that writes, or some that build graphs.

Each on a connection of its own. PostgreSQL releases a lock when its connection ends, however it ends, so
a killed holder blocks nobody. A holder whose connection was lost stops: that of a campaign before it next
writes (`campaign_lock`), that of a repository at once (`~merian_campaign.store.server.lock_watch`).

Who writes to a repository first takes its *gate*, then waits until those that read it have ended; who reads
goes through the gate and leaves it open. So a stream of readers keeps no writer waiting. How many read at
once is said by as many *places*, each a lock of its own.

Who gives a repository's lock back says so to those that wait for it (``NOTIFY``). They ask from time to time
too, for a holder that was killed says nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Literal

import psycopg2

from merian_campaign.domain.errors import (
    BusyError,
    CalledOffError,
    DatabaseUnavailableError,
    UnavailableError,
)
from merian_campaign.host.home import expanded
from merian_campaign.host.patience import patiently, pauses
from merian_campaign.store.server.connection import open_connection, redacted, translated
from merian_campaign.store.server.lock_watch import LockWatch

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  (psycopg2 spells it small)

_LOG = logging.getLogger(__name__)

LOCK_SECONDS = 24 * 3600.0
"""How long a repository's lock is waited for: the largest graphs take hours, and several may queue."""

ORDER_SECONDS = 60.0
"""How long what a person orders waits for a campaign's lock: most ticks end within seconds."""

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

_GIVE_BACK = "SELECT pg_advisory_unlock_all(), pg_notify(%s, '')"

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
    return -1 - _hash(_place(repository))


@contextmanager
def campaign_lock(url: str, name: str, *, bound: float = 0.0) -> Iterator[Callable[[], None]]:
    """Hold a campaign's lock; yield what raises `BusyError` when it was lost meanwhile.

    Parameters
    ----------
    url : `str`
        Where the database is.
    name : `str`
        Campaign.
    bound : `float`, optional
        How long to wait for its holder, seconds.

    Raises
    ------
    BusyError
        Raised if it is still taken after ``bound``; names the holder.
    """

    def require() -> None:
        if not _holds(connection, url):
            raise BusyError(
                f"the lock of campaign {name} was lost with its connection to the tracking database, and "
                "another process may have it; run the command again"
            )

    with closing(_connect(url)) as connection:
        with translated(url):
            _await(connection, name, bound=bound)
        yield require


def _await(connection: Connection, name: str, *, bound: float) -> None:
    """Take a campaign's lock; ask again and again, for a signal would not get through to psycopg2."""
    deadline = time.monotonic() + bound
    told = False
    for pause in pauses():
        if _try_lock(connection, campaign_key(name)):
            return
        holder = _holder(connection, campaign_key(name))
        left = deadline - time.monotonic()
        if left <= 0:
            raise BusyError(
                f"campaign {name} is being worked on by {holder}; run the command again when that has ended"
            )
        if not told:
            _LOG.warning("campaign %s is being worked on by %s; waiting for it", name, holder)
        told = True
        time.sleep(min(pause, left))


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
    channel = f"merian_lock_{_hash(_place(repository)):x}"
    with closing(_Waiter(url, asks, channel=channel)) as waiter:
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
            waiter.wait(pause)
        with LockWatch(still=waiter.still, what=repository):
            yield


type _Ask = Callable[["Connection"], str]
"""Try to take a lock; say who else holds it, or nothing."""


class _Waiter:
    """Asks for locks, one after the other, on a connection of its own, opened again when it was lost."""

    def __init__(self, url: str, asks: Sequence[_Ask], *, channel: str) -> None:
        self._url = url
        self._asks = asks
        self._channel = channel
        self._listens = False
        self._taken = 0
        self._connection: Connection | None = None
        self._before = 0  # pid of a session that was lost, and that the server may take for alive

    def still(self) -> str:
        """Return who else holds the lock, or nothing; take it again when the connection was lost."""
        if self._connection is not None and _holds(self._connection, self._url):
            return ""
        if self._connection is not None:
            self._before = self._connection.info.backend_pid
            self._drop()
        # Place and gate only say who comes first; the last one keeps readers and writers apart.
        self._taken = len(self._asks) - 1
        holder = self.ask()
        if not holder:
            _LOG.warning("a lock was lost with its connection, and is held again")
        return holder

    def ask(self) -> str:
        """Try to take what is not taken yet; return who else holds the next one, or nothing."""
        try:
            if self._connection is None:
                self._connection = _connect(self._url)
            with translated(self._url):
                _end_own(self._connection, self._before)
                self._before = 0
                for ask in self._asks[self._taken :]:
                    holder = ask(self._connection)
                    if holder:
                        return holder
                    self._taken += 1
                self._hear_no_more(self._connection)
                return ""
        except DatabaseUnavailableError:
            self._drop()
            raise

    def wait(self, pause: float) -> None:
        """Wait until a lock of the repository is given back, for so many seconds at most."""
        try:
            heard = self._connection is not None and self._hear(self._connection, pause)
        except psycopg2.Error:  # if it is lost, asking tells; a server that has no such thing is asked slowly
            heard = False
        if not heard:
            time.sleep(pause)

    def _hear(self, connection: Connection, pause: float) -> bool:
        """Listen, the first time; then wait for a word, which may have come with an answer already."""
        if not self._listens:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {self._channel}")
            self._listens = True
            return True  # what was given back before nobody will say again
        if not connection.notifies:
            said = select.poll()  # not select: a driver may have more files open than that knows
            said.register(connection, select.POLLIN)
            said.poll(1000 * pause)
            connection.poll()
        connection.notifies.clear()
        return True

    def _hear_no_more(self, connection: Connection) -> None:
        """Listen no more: what a holder is told it would never read."""
        if self._listens:
            with connection.cursor() as cursor:
                cursor.execute(f"UNLISTEN {self._channel}")
            self._listens = False

    def close(self) -> None:
        """Give the locks back, and say so."""
        if self._connection is not None:
            with suppress(psycopg2.Error), self._connection.cursor() as cursor:
                cursor.execute(_GIVE_BACK, (self._channel,))
        self._drop()

    def _drop(self) -> None:
        self._taken = 0
        self._listens = False
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
    return repository if "://" in repository else str(expanded(repository).resolve())


def _gate_key(repository: str) -> int:
    return -1 - _hash(f"{_place(repository)}#gate")


def _hash(value: str) -> int:
    return int.from_bytes(hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()[:8]) >> 1


def _connect(url: str) -> Connection:
    connection = open_connection(url, application=_application())
    connection.autocommit = True
    with translated(url), connection.cursor() as cursor:
        cursor.execute(_STAY)  # it waits for hours without a word, which servers end sessions for
        _refuse_pooling(connection, url)
    return connection


def _refuse_pooling(connection: Connection, url: str) -> None:
    """Refuse a pooler that gives a connection's session to others between two transactions.

    Raises
    ------
    UnavailableError
        Raised if it does: a lock would be held by nobody, or for ever.
    """
    mine = _backend(connection)
    if mine == connection.info.backend_pid:
        return  # no pooler, or one that says whose session it gives
    with closing(open_connection(url)) as other:
        other.autocommit = True
        if _backend(other) == mine:
            raise UnavailableError(
                f"the tracking database at {redacted(url)} is behind a pooler that pools transactions, where "
                "no lock can be held: name the server itself, or a pool with pool_mode = session"
            )


def _backend(connection: Connection) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        row = cursor.fetchone()
    return 0 if row is None else int(row[0])


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
