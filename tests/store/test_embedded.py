"""The embedded server: started on demand by anyone, stopped by nobody but `stop`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from store_help import rows

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.store import embedded, server
from merian_campaign.store.connection import open_connection
from merian_campaign.store.version import KNOWN

USE = """
import sys
import time
from merian_campaign import store
with store.connect() as found:
    print(found.url, len(found.campaigns()))
"""


@pytest.fixture(scope="module")
def closed() -> Iterator[Path]:
    """A directory closed to others, though as root the server is another account.

    Not below pytest's own, whose top another run of pytest may close again at any moment.
    """
    with tempfile.TemporaryDirectory(prefix="merian-closed-") as name:
        yield Path(name).resolve()


@pytest.fixture(scope="module")
def deep(closed: Path) -> Iterator[Path]:
    """A home directory whose path no unix socket can have, with a space and a percent sign in it."""
    place = closed.joinpath(*["a rather long % directory name"] * 4)
    yield place
    embedded.stop(place)


def use(home: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != server.URL_VARIABLE}
    environment[server.HOME_VARIABLE] = str(home)
    return subprocess.run(
        [sys.executable, "-c", USE], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_two_processes_start_it_at_once_and_it_survives_both(deep: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(use, [deep] * 3))
    assert [(process.returncode, process.stderr) for process in done] == [(0, "")] * 3
    assert {process.stdout for process in done} == {f"{embedded.url(deep)} 0\n"}
    assert len(os.fsencode(embedded.socket_directory(deep) / ".s.PGSQL.5432")) < 107
    assert embedded.answers(deep)
    with closing(open_connection(embedded.url(deep))) as connection:
        assert rows(connection, "SELECT version_num FROM alembic_version") == [(KNOWN[-1],)]


def test_it_comes_back_after_it_was_killed(deep: Path) -> None:
    embedded.ensure_running(deep)
    with closing(open_connection(embedded.url(deep))) as connection:
        rows(connection, "CREATE TABLE kept AS SELECT 1 AS one")
        connection.commit()
    os.kill(int((embedded.data_directory(deep) / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    while embedded.answers(deep):
        time.sleep(0.01)
    with closing(open_connection(embedded.ensure_running(deep))) as connection:
        assert rows(connection, "SELECT one FROM kept") == [(1,)]


def test_it_is_stopped_once(deep: Path) -> None:
    embedded.ensure_running(deep)
    assert embedded.stop(deep)
    assert not embedded.answers(deep)
    assert not embedded.stop(deep)


def test_it_is_not_started_on_a_second_host(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.ensure_running(deep)
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: "another-host")
        patch.setattr(embedded, "answers", lambda _: False)
        with pytest.raises(UnavailableError, match=r"runs on .*, this is another-host"):
            embedded.ensure_running(deep)
    assert embedded.answers(deep)


def test_a_making_that_was_interrupted_is_begun_anew(closed: Path) -> None:
    home = closed / "interrupted"
    (home / "postgres.making").mkdir(parents=True)
    (home / "postgres.making" / "PG_VERSION").write_text("18\n")
    try:
        embedded.ensure_running(home)
        assert not (home / "postgres.making").exists()
    finally:
        embedded.stop(home)


def test_data_of_another_version_are_left_alone(tmp_path: Path) -> None:
    embedded.data_directory(tmp_path).mkdir()
    (embedded.data_directory(tmp_path) / "PG_VERSION").write_text("17\n")
    with pytest.raises(UnavailableError, match="made by PostgreSQL 17"):
        embedded.ensure_running(tmp_path)


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="cannot be started"):
        embedded.ensure_running(tmp_path / "file" / "home")


def test_the_environment_says_where(tmp_path: Path) -> None:
    url = "postgresql://db.example.org/merian"
    assert server.database_url({server.URL_VARIABLE: url}) == url
    assert server.home_directory({server.HOME_VARIABLE: str(tmp_path)}) == tmp_path
    assert server.home_directory({}) == (Path.home() / ".merian-campaign").resolve()
    assert not server.stop(tmp_path / "nothing here")


def test_nobody_else_can_enter(deep: Path) -> None:
    embedded.ensure_running(deep)
    assert embedded.data_directory(deep).stat().st_mode & 0o077 == 0
    assert embedded.socket_directory(deep).stat().st_mode & 0o077 == 0
    with closing(open_connection(embedded.url(deep))) as connection:
        assert rows(connection, "SHOW listen_addresses") == [("",)]
        assert rows(connection, "SHOW fsync") == [("on",)]
