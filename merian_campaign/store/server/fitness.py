"""Whether a database can be a tracking database at all, before anything is put into it.

psycopg2 only, as `~merian_campaign.store.server.connection`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import closing

from merian_campaign.domain.errors import DatabaseUnavailableError, UnavailableError
from merian_campaign.host.patience import pauses
from merian_campaign.store.server.connection import open_connection, redacted, translated
from merian_campaign.store.server.locks import campaign_lock

__all__ = ["CONNECTIONS", "once_free", "require_fit", "require_writable"]

_FACTS = """
SELECT current_setting('server_encoding'), pg_is_in_recovery(),
       current_setting('transaction_read_only') = 'on', current_user,
       ARRAY(SELECT c.relname::text FROM pg_class AS c
             WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
               AND c.relname <> 'alembic_version' AND NOT has_table_privilege(c.oid, 'INSERT')
             ORDER BY 1)
"""
_PROBE = "a name that no campaign has"

_OLDEST = 14
"""First release of PostgreSQL with what the tables use (a hash of several columns)."""

CONNECTIONS = 5
"""Connections that a tick (two: its work, its lock) and one driver beside it (three) may hold at once."""

_EACH_DRIVER = 3
_PROBE_SECONDS = 15.0


def require_fit(url: str) -> None:
    """Raise unless a database takes every text, can be written, holds locks, and has room for a driver.

    Raises
    ------
    UnavailableError
        Raised if it does not; says what to do.
    """
    require_writable(url)
    with campaign_lock(url, _PROBE):
        pass
    found = _connections(url, CONNECTIONS)
    if found < CONNECTIONS:
        many = "1 connection" if found == 1 else f"{found} connections"
        raise UnavailableError(
            f"the tracking database at {redacted(url)} gives {many} at once, and a tick with "
            f"one driver needs {CONNECTIONS} (each driver more {_EACH_DRIVER}): raise the limit of its role, "
            "database, server (max_connections) or pool"
        )


def _connections(url: str, number: int) -> int:
    """Return how many connections there are at once, of so many that are asked for."""
    opened: queue.SimpleQueue[bool] = queue.SimpleQueue()
    over = threading.Event()

    def hold() -> None:
        try:
            with closing(open_connection(url)):
                opened.put(True)  # noqa: FBT003 - says that it is open
                over.wait()
        except UnavailableError:
            opened.put(False)  # noqa: FBT003 - says that it is not

    # A pool that has no more of them lets who asks wait: then that thread is left behind.
    for _ in range(number):
        threading.Thread(target=hold, daemon=True).start()
    deadline = time.monotonic() + _PROBE_SECONDS
    found = 0
    try:
        for _ in range(number):
            found += opened.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        pass
    finally:
        over.set()
    return found


def once_free[T](ask: Callable[[], T]) -> T:
    """Ask something of a database as soon as the server has the connections back that `require_fit` opened.

    Raises
    ------
    DatabaseUnavailableError
        Raised if it has none left, or does not answer.
    """
    deadline = time.monotonic() + _PROBE_SECONDS
    for pause in pauses():
        try:
            return ask()
        except DatabaseUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(pause)
    raise AssertionError  # pauses have no end


def require_writable(url: str) -> None:
    """Raise unless a database takes every text and can be written by its user.

    Raises
    ------
    UnavailableError
        Raised if it does not; says what to do.
    """
    with closing(open_connection(url)) as connection, translated(url), connection.cursor() as cursor:
        cursor.execute(_FACTS)
        encoding, is_standby, is_read_only, user, lacking = cursor.fetchone() or ("", False, False, "", [])
        release = connection.server_version // 10_000
    where = f"the tracking database at {redacted(url)}"
    if release < _OLDEST:
        raise UnavailableError(f"{where} is PostgreSQL {release}: it takes {_OLDEST} or newer")
    if is_standby:
        raise UnavailableError(f"{where} is a standby, which cannot be written: name the primary server")
    if is_read_only:
        raise UnavailableError(f"{where} is read-only: its owner can set default_transaction_read_only off")
    if encoding != "UTF8":
        raise UnavailableError(
            f"{where} has the encoding {encoding}, which does not hold every text: make one with "
            "`createdb --encoding=UTF8 --template=template0`"
        )
    if lacking:
        raise UnavailableError(
            f"{where} may not be written by its user {user} ({lacking[0]}, {len(lacking) - 1} other tables); "
            "what it takes its owner gives by `merian-campaign db grant ROLE --as operator`"
        )
