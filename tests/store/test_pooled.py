"""Behind PgBouncer: locks work where sessions are pooled, and are refused in words where transactions are."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from store_help import wait_until

from merian_campaign.domain.errors import BusyError, UnavailableError
from merian_campaign.host import patience
from merian_campaign.store.server import embedded, locks
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.server.fitness import require_fit

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

pytestmark = [
    pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed (Debian: pgbouncer)"),
    pytest.mark.usefixtures("trusting"),
]


@pytest.fixture
def trusting(home: Path, upgraded: str) -> Iterator[None]:
    """The server takes the pooler's word for who asks, as those behind one do."""
    rules = embedded.data_directory(home) / "pg_hba.conf"
    before = rules.read_text()

    def use(text: str) -> None:
        rules.write_text(text)
        with closing(open_connection(upgraded)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_reload_conf()")

    use(f"local shared merian trust\n{before}")
    yield
    use(before)


@contextmanager
def pooler(home: Path, mode: str, *, size: int = 8) -> Iterator[str]:
    """Run PgBouncer before the server of a home; give the URL of a database behind it."""
    where = Path(tempfile.mkdtemp(prefix="merian-pool-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = embedded.url(home).partition("host=")[2].partition("&")[0]
    (where / "users.txt").write_text('"merian" ""\n')
    (where / "pool.ini").write_text(
        f"[databases]\nshared = host={server} port=5432 dbname=shared user=merian\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"auth_file = {where}/users.txt\npool_mode = {mode}\ndefault_pool_size = {size}\n"
    )
    # It runs as the account that the server trusts, and never as root.
    account = Path(server).owner()
    if os.geteuid() == 0:
        shutil.chown(where, account)
        home.chmod(0o711)
    as_account = ["-u", account] if os.geteuid() == 0 else []
    with subprocess.Popen([str(PGBOUNCER), "-q", *as_account, str(where / "pool.ini")]) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            yield f"postgresql://merian@127.0.0.1:{port}/shared"
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(where)


def test_a_pool_of_sessions_holds_locks(home: Path, upgraded: str) -> None:
    with pooler(home, "session") as url, locks.campaign_lock(url, "pooled") as require:
        require()
        require_fit(url)
        with pytest.raises(BusyError), locks.campaign_lock(upgraded, "pooled"):
            pass


def test_who_waits_behind_a_pool_is_told_when_the_lock_is_given_back(
    home: Path, upgraded: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    del upgraded
    for name in ("_FIRST_WAIT_SECONDS", "_LONGEST_WAIT_SECONDS"):
        monkeypatch.setattr(patience, name, 3600)
    entered = threading.Event()
    with pooler(home, "session") as url:

        def wait_for_it() -> None:
            with locks.repository_lock(url, "s3://pooled"):
                entered.set()

        waiter = threading.Thread(target=wait_for_it, daemon=True)
        with locks.repository_lock(url, "s3://pooled"):
            waiter.start()
            wait_until(lambda: "is waited for" in caplog.text)
            assert not entered.is_set()
        assert entered.wait(60)
        waiter.join()


def test_a_pool_of_transactions_is_refused_in_words(home: Path, upgraded: str) -> None:
    del upgraded
    with pooler(home, "transaction") as url:
        for lock in (locks.campaign_lock, locks.repository_lock):
            with pytest.raises(UnavailableError, match="pool_mode = session"), lock(url, "pooled"):
                pass


@pytest.mark.soak
def test_a_pool_that_is_too_small_is_told_though_it_lets_wait(home: Path, upgraded: str) -> None:
    del upgraded
    with pooler(home, "session", size=2) as url, pytest.raises(UnavailableError, match="gives 2 connections"):
        require_fit(url)
