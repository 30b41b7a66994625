"""Advisory locks between real processes."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg2
import pytest
from store_help import holder, wait_until

from merian_campaign.domain.errors import BusyError, CalledOffError, DatabaseUnavailableError
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.host import patience
from merian_campaign.host.patience import patiently
from merian_campaign.middleware import bps_run, programs
from merian_campaign.store.server import locks
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.store import PostgresStore


def try_until_free(store: PostgresStore, name: str) -> float:
    """Take a campaign's lock as soon as the server has noticed; return how long that took."""
    begin = time.monotonic()
    while True:
        try:
            with store.campaign_lock(name, patience=0):
                return time.monotonic() - begin
        except BusyError:
            assert time.monotonic() - begin < 10
            time.sleep(0.02)


def test_of_two_ticks_the_second_is_told_who_works(store: PostgresStore, url: str) -> None:
    with holder("campaign_lock", url, "demo") as process:
        with pytest.raises(BusyError) as caught, store.campaign_lock("demo", patience=0):
            pass
        assert f"process {process.pid} on {socket.gethostname()}" in str(caught.value)
        assert "since 20" in str(caught.value)
        assert caught.value.exit_code == 75
        with store.campaign_lock("another"), store.repository_lock("demo"):
            pass


def test_a_killed_tick_blocks_nobody(store: PostgresStore, url: str) -> None:
    with holder("campaign_lock", url, "demo") as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        try_until_free(store, "demo")


def test_the_lock_is_released_at_the_end_and_after_errors(store: PostgresStore) -> None:
    with pytest.raises(RuntimeError), store.campaign_lock("demo"):
        raise RuntimeError
    try_until_free(store, "demo")


def test_those_that_write_wait_for_each_other(store: PostgresStore, url: str, tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "repo")
    entered = threading.Event()

    def wait_for_it() -> None:
        with store.repository_lock(str(tmp_path / "link")):
            entered.set()

    with holder("repository_lock", url, str(tmp_path / "repo")) as process:
        waiter = threading.Thread(target=wait_for_it)
        waiter.start()
        assert not entered.wait(0.3)
        os.kill(process.pid, signal.SIGKILL)
        assert entered.wait(10)
        waiter.join()


@pytest.mark.parametrize("readers", [None, 1])
def test_who_waits_is_told_when_the_lock_is_given_back(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    readers: int | None,
) -> None:
    # Longer than anybody waits for a word.
    for name in ("_FIRST_WAIT_SECONDS", "_LONGEST_WAIT_SECONDS"):
        monkeypatch.setattr(patience, name, 3600)
    repository = str(tmp_path / "repo")
    entered = threading.Event()

    def wait_for_it() -> None:
        with locks.repository_lock(url, repository, readers=readers):
            entered.set()

    waiter = threading.Thread(target=wait_for_it, daemon=True)
    with locks.repository_lock(url, repository, readers=readers):
        waiter.start()
        wait_until(lambda: "is waited for" in caplog.text)
        assert not entered.is_set()
    assert entered.wait(60)
    waiter.join()


def test_a_holder_that_never_ends_is_named(url: str) -> None:
    with holder("repository_lock", url, "s3://demo") as process:
        waits = locks.repository_lock(url, "s3://demo", bound=0)
        with pytest.raises(BusyError, match=f"process {process.pid} on "), waits:
            pass
        with pytest.raises(CalledOffError), locks.repository_lock(url, "s3://demo", go_on=lambda: False):
            pass


class Taker(threading.Thread):
    """Takes a repository's lock in a thread, until it is let go; ``entered`` says that it has it."""

    def __init__(self, url: str, readers: int | None) -> None:
        super().__init__()
        self.entered, self.release = threading.Event(), threading.Event()
        self._taken = locks.repository_lock(url, "s3://demo", readers=readers)

    def run(self) -> None:
        with self._taken:
            self.entered.set()
            self.release.wait(60)

    def end(self) -> None:
        self.release.set()
        self.join(60)


def gate_is_closed(sql: psycopg2.extensions.connection) -> bool:
    """Say whether who writes waits for those that read."""
    with sql.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'")
        (number,) = cursor.fetchone() or (0,)
    return bool(number > 2)  # beside the places of the two that read


def test_graphs_are_built_side_by_side_as_many_as_there_are_places(url: str) -> None:
    with holder("repository_lock", url, "s3://demo", "2") as process:
        second, third = Taker(url, 2), Taker(url, 2)
        second.start()
        assert second.entered.wait(10)
        third.start()
        assert not third.entered.wait(0.3)
        fourth = locks.repository_lock(url, "s3://demo", readers=2, bound=0)
        with pytest.raises(BusyError, match=r"2 that build graphs, process \d+ on"), fourth:
            pass
        with locks.repository_lock(url, "s3://demo", readers=4):  # a campaign that allows more
            pass
        process.kill()
        assert third.entered.wait(10)
        second.end()
        third.end()


def test_who_writes_waits_for_those_that_read_and_no_further_one_begins(
    url: str, sql: psycopg2.extensions.connection
) -> None:
    first, second, writer, late = Taker(url, 8), Taker(url, 8), Taker(url, None), Taker(url, 8)
    for reader in (first, second):
        reader.start()
        assert reader.entered.wait(10)
    writer.start()
    deadline = time.monotonic() + 60
    while not gate_is_closed(sql):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    late.start()
    first.end()
    assert not writer.entered.wait(0.2)
    assert not late.entered.is_set()
    second.end()
    assert writer.entered.wait(10)
    assert not late.entered.wait(0.2)
    writer.end()
    assert late.entered.wait(10)
    late.end()


def test_places_are_as_many_as_cores_two_at_least(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with (
        locks.repository_lock(url, "s3://demo", readers=0),
        locks.repository_lock(url, "s3://demo", readers=0),
    ):
        third = locks.repository_lock(url, "s3://demo", readers=0, bound=0)
        with pytest.raises(BusyError, match="2 that build graphs"), third:
            pass


def test_a_database_that_stays_away_is_given_up() -> None:
    def ask() -> None:
        open_connection("postgresql://merian@127.0.0.1:1/none")

    for options in ({"bound": 0.0}, {"go_on": lambda: False}):
        with pytest.raises(DatabaseUnavailableError, match="does not answer"):
            patiently(ask, **options)


def test_keys_are_stable_and_of_two_kinds(tmp_path: Path) -> None:
    assert locks.campaign_key("demo") == 1534505598134367298
    assert locks.campaign_key("demo") > 0 > locks.repository_key("demo")
    assert locks.repository_key(str(tmp_path)) == locks.repository_key(str(tmp_path / "x" / ".."))
    assert locks.repository_key("s3://a/../b") != locks.repository_key("s3://b")


def test_an_ingest_that_is_killed_while_it_waits_says_so(url: str, tmp_path: Path) -> None:
    """Not that it waited, which are its last words."""
    paths = SubmissionPaths(directory=str(tmp_path))
    Path(paths.bps).mkdir()
    with zipfile.ZipFile(Path(paths.bps) / "made.qg", "w") as graph:
        graph.writestr("one", "member")
    environ = programs.environment(os.environ, marker="killed") | {"MERIAN_CAMPAIGN_DATABASE_URL": url}
    # The holder goes first, so that what is wrong here does not make it wait for ever.
    with ThreadPoolExecutor() as pool, holder("repository_lock", url, str(tmp_path)):
        ingest = pool.submit(bps_run.aggregate, paths, repository=str(tmp_path), environ=environ)
        log, begin = Path(paths.driver_log), time.monotonic()
        while not log.exists() or "is waited for; it is held by" not in log.read_text(encoding="utf-8"):
            assert not ingest.done(), ingest.result()
            assert time.monotonic() - begin < 60
            time.sleep(0.05)  # between two looks at a condition
        # Of all children of this worker: others may not have been reaped.
        (waiting,) = [one for one in psutil.Process().children() if _is_exclusive(one, tmp_path)]
        waiting.kill()
        assert ingest.result() == "killed by SIGKILL"


def _is_exclusive(process: psutil.Process, repository: Path) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return "exclusive" in words and str(repository) in words
