"""The embedded server: started on demand by anyone, stopped by nobody but `stop`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from another_user import as_nobody
from store_help import rows

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.host.ownership import UntrustedError
from merian_campaign.store.server import embedded, server, server_account
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.server.schema_version import KNOWN

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


def test_a_server_that_answers_before_it_has_its_database_is_waited_for(deep: Path) -> None:
    with closing(
        open_connection(embedded.ensure_running(deep).replace("/merian?", "/postgres?"))
    ) as connection:
        connection.autocommit = True
        rows(connection, "DROP DATABASE merian")
    (deep / "postgres.database").unlink()
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(use, [deep] * 2))
    assert [(process.returncode, process.stderr) for process in done] == [(0, "")] * 2


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


def join(sockets: Path) -> None:
    psycopg2.connect(host=str(sockets), port=5432, user="merian", dbname="merian", connect_timeout=5).close()


def test_the_folders_above_a_home_keep_their_modes(deep: Path) -> None:
    embedded.ensure_running(deep)
    assert stat.S_IMODE(deep.stat().st_mode) == 0o700
    above = [path for path in deep.parents if path.name.startswith("merian-closed-")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in above] == [0o700]


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_a_home_is_private_whatever_the_umask(closed: Path, umask: int) -> None:
    home = closed / f"umask {umask:o}"
    before = os.umask(umask)
    try:
        embedded.ensure_running(home)
    finally:
        os.umask(before)
        embedded.stop(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE(embedded.data_directory(home).stat().st_mode) == 0o700


def test_another_user_cannot_join_even_through_an_open_folder() -> None:
    with tempfile.TemporaryDirectory(prefix="merian-open-") as name:
        home = Path(name).resolve() / "home"
        embedded.ensure_running(home)
        try:
            for folder in (home.parent, home, embedded.data_directory(home)):
                folder.chmod(0o777)
            (embedded.data_directory(home) / ".s.PGSQL.5432").chmod(0o777)
            assert "Peer authentication failed" in as_nobody(lambda: join(embedded.data_directory(home)))
            assert not embedded.answers(home)
            with pytest.raises(UntrustedError, match="everybody may write it"):
                embedded.ensure_running(home)
        finally:
            home.parent.chmod(0o700)
            home.chmod(0o700)
            embedded.data_directory(home).chmod(0o700)
            assert embedded.stop(home)


def test_a_home_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give folders away")
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    with pytest.raises(UntrustedError, match="home: belongs to nobody"):
        embedded.ensure_running(home)
    os.chown(home, 0, 0)
    (home / "thesis.tex").write_text("mine")
    home.chmod(0o777)
    with pytest.raises(UntrustedError, match="everybody may write it"):
        embedded.ensure_running(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o777


def test_a_planted_folder_for_its_socket_is_never_connected_to(closed: Path) -> None:
    """The pid file says that the server is up (it survives a power cut), the folder is another's."""
    home = closed.joinpath(*["a name too long for the path of a socket"] * 4)
    data, sockets = embedded.data_directory(home), embedded.socket_directory(home)
    data.mkdir(parents=True, mode=0o700)
    (data / "postmaster.pid").write_text("1\n" * 7 + "ready\n")
    sockets.mkdir(mode=0o700)
    try:
        with socket.socket(socket.AF_UNIX) as planted:
            planted.bind(str(sockets / ".s.PGSQL.5432"))
            planted.listen()
            sockets.chmod(0o755)
            assert not embedded.answers(home)
            planted.settimeout(0)
            with pytest.raises(BlockingIOError):
                planted.accept()
    finally:
        shutil.rmtree(sockets)


def test_programs_in_a_private_place_are_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("everybody else runs the server as themselves")
    with tempfile.TemporaryDirectory(prefix="merian-open-") as name:
        monkeypatch.setattr(server_account, "COPIES", Path(name) / "copies")
        Path(name).chmod(0o711)
        installed = tmp_path / "pginstall18"
        (installed / "bin").mkdir(parents=True)
        shutil.copy(sys.executable, installed / "bin" / "postgres")
        (installed / "bin" / "postgres").chmod(0o700)
        place = server_account.programs(installed)
        assert place != installed
        assert server_account.programs(installed) == place
        assert stat.S_IMODE((place / "bin" / "postgres").stat().st_mode) == 0o755
        assert stat.S_IMODE(installed.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE((installed / "bin" / "postgres").stat().st_mode) == 0o700
        (Path(name) / "copies").chmod(0o777)
        with pytest.raises(UntrustedError, match="everybody may write it"):
            server_account.programs(installed)


def test_a_home_made_with_trust_is_closed_when_it_starts_again(closed: Path) -> None:
    home = closed / "older"
    embedded.ensure_running(home)
    embedded.stop(home)
    rules = embedded.data_directory(home) / "pg_hba.conf"
    rules.write_text("local all all trust\n")
    try:
        with closing(open_connection(embedded.ensure_running(home))) as connection:
            found = rows(connection, "SELECT type, auth_method FROM pg_hba_file_rules")
        assert found == [("local", "peer")]
    finally:
        embedded.stop(home)
