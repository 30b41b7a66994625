"""A lock whose session the server ended: taken again, or the holder stops before it writes beside another."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path

import pytest
from store_help import holder, wait_until

from merian_campaign.domain.errors import BusyError
from merian_campaign.store.server import locks
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.store import PostgresStore

END = "SELECT pg_terminate_backend(pid, 60000) FROM pg_locks WHERE locktype = 'advisory'"
HELD_BY = """SELECT a.application_name FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND (l.classid::bigint << 32 | l.objid::bigint) = """


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(open_connection(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def end_sessions(url: str) -> None:
    """End the sessions that hold locks, as an administrator, an idle time-out or a failover does."""
    assert query(url, END)


def test_nothing_is_written_without_the_campaigns_lock(store: PostgresStore, url: str) -> None:
    with store.campaign_lock("demo"):
        with store._transaction():
            pass
        end_sessions(url)
        with (
            pytest.raises(BusyError, match="the lock of campaign demo was lost") as caught,
            store._transaction(),
        ):
            pass
    assert caught.value.exit_code == 75
    with store.campaign_lock("demo"), store._transaction():
        pass


def test_a_repositorys_lock_that_nobody_took_is_held_again(url: str) -> None:
    with holder("repository_lock", url, "s3://demo") as process:
        held_by = HELD_BY + str(locks.repository_key("s3://demo"))
        (before,) = query(url, held_by)
        end_sessions(url)
        wait_until(lambda: query(url, held_by) == [before])
        assert process.poll() is None
        process.communicate("\n")
        assert process.returncode == 0


def test_a_holder_ends_whose_lock_another_one_took(url: str, tmp_path: Path) -> None:
    with holder("repository_lock", url, str(tmp_path)) as process:
        os.kill(process.pid, signal.SIGSTOP)  # a host that hangs, a network that is cut
        end_sessions(url)
        with locks.repository_lock(url, str(tmp_path), bound=30):
            os.kill(process.pid, signal.SIGCONT)
            assert process.wait(60) == -signal.SIGTERM


def test_a_lock_is_not_idle_however_long_nothing_is_said(url: str) -> None:
    with closing(locks._connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW idle_session_timeout")
        assert cursor.fetchone() == ("0",)
