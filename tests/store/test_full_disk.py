"""A database whose file system is full: told as what it is, nothing half done, and it goes on with room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from store_help import Given, quantum, rows, worked

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.domain.failures.fault_attribution import is_of_the_machine
from merian_campaign.store.server import embedded, migrate
from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.store import PostgresStore


@pytest.fixture
def full_url(empty_url: str) -> Iterator[tuple[str, Path]]:
    """URL of a database whose quanta lie on a file system of one megabyte, and where that is."""
    place = Path("/tmp") / f"merian-full-{os.getpid()}"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        place.rmdir()
        pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
    try:
        with closing(open_connection(empty_url)) as connection:
            connection.autocommit = True
            (pid,) = rows(connection, "SELECT pg_backend_pid()")[0]
            owner = Path(f"/proc/{pid}").stat()  # the account that the server runs under
            os.chown(place, owner.st_uid, owner.st_gid)
            migrate.upgrade(empty_url)
            rows(connection, f"CREATE TABLESPACE small LOCATION '{place}'")
            rows(connection, "ALTER TABLE quantum_row SET TABLESPACE small")
            yield empty_url, place
            rows(connection, "DROP TABLE quantum_row CASCADE")
            rows(connection, "CHECKPOINT")
            rows(connection, "DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
        place.rmdir()


def test_it_is_told_and_heals(full_url: tuple[str, Path]) -> None:
    url, place = full_url
    many: list[Any] = [quantum(patch, worked(log_path="/" + "long" * 60)) for patch in range(6000)]
    with PostgresStore(url) as store:
        given = Given(store)
        (group,) = given.campaign()
        made = given.prepared(group)
        for _ in range(2):
            with pytest.raises(
                UnavailableError, match=r"has run out of something: .*No space left"
            ) as caught:
                given.harvested(made.id, *many)
            assert is_of_the_machine(caught.value), "no group is to blame"
            assert "Free space on its file system" in str(caught.value)
        assert store.snapshot("demo").groups[0].live is not None, "nothing is half done"
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        assert given.harvested(made.id, *many).succeeded == len(many)
        assert store.snapshot("demo").groups[0].live is None


def test_a_server_that_cannot_be_made_is_told_in_the_words_of_initdb(tmp_path: Path) -> None:
    place = tmp_path / "full"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("no file system can be mounted")
    try:
        with pytest.raises(UnavailableError, match="No space left on device") as caught:
            embedded.ensure_running(place / "home")
        assert "free space" in str(caught.value)
        assert not (place / "home" / "postgres").exists(), "nothing is half made"
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
