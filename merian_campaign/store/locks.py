"""Advisory locks: one tick a campaign, one graph-builder a butler repository.

Each on a connection of its own. PostgreSQL releases a lock when its connection ends, however it ends, so
a killed holder blocks nobody.
"""

from __future__ import annotations

import hashlib
import math
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from merian_campaign.domain.errors import BusyError
from merian_campaign.store.connection import open_connection, translated

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  (psycopg2 spells it small)

_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 2.0

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
    place = repository if "://" in repository else str(Path(repository).expanduser().resolve())
    return -1 - _hash(place)


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
def repository_lock(url: str, repository: str, *, patience: float = math.inf) -> Iterator[None]:
    """Hold a butler repository's lock, waiting for it as long as necessary, or for some seconds.

    Raises
    ------
    BusyError
        Raised if it was taken all that time; names the holder.
    """
    key = repository_key(repository)
    until = time.monotonic() + patience
    with closing(_connect(url)) as connection:
        wait = _FIRST_WAIT_SECONDS
        # Asking again and again instead of waiting in the server: psycopg2 would not let a signal through.
        while True:
            with translated(url):
                if _try_lock(connection, key):
                    break
                if time.monotonic() >= until:
                    raise BusyError(f"{repository} is being written by {_holder(connection, key)}")
            time.sleep(wait * random.uniform(0.5, 1))  # noqa: S311  (only to spread the waiters)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
        yield


def _hash(value: str) -> int:
    return int.from_bytes(hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()[:8]) >> 1


def _connect(url: str) -> Connection:
    # The name is what the others see of the holder; PostgreSQL keeps 63 bytes of it.
    connection = open_connection(url, application=f"process {os.getpid()} on {socket.gethostname()}"[:63])
    connection.autocommit = True
    return connection


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
