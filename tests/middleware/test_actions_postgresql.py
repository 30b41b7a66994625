"""A repository on a PostgreSQL server: seed file, password file, and the same actions."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from merian_campaign.middleware.actions import perform

INSTRUMENT = "merian_campaign.demo.instrument.MiniDecam"
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
ACCOUNT = "postgres"


def _has_account() -> bool:
    return os.geteuid() == 0 and any(entry.pw_name == ACCOUNT for entry in pwd.getpwall())


pytestmark = pytest.mark.skipif(
    not PROGRAMS or not _has_account(),
    reason="needs Debian's postgresql package (the embedded one lacks btree_gist), and root to start it",
)


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """Port of a private server with a database and a user called merian."""
    folder = Path(tempfile.mkdtemp(prefix="merian-pg-"))
    shutil.chown(folder, ACCOUNT)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    programs = PROGRAMS[-1].parent
    passwords = folder / "password"
    passwords.write_text("secret\n")
    shutil.chown(passwords, ACCOUNT)

    def run(*words: str) -> None:
        subprocess.run(
            ["runuser", "-u", ACCOUNT, "--", *words], check=True, cwd=folder, stdout=subprocess.DEVNULL
        )

    data = str(folder / "data")
    run(
        f"{programs}/initdb", "-D", data, "-U", ACCOUNT, "--auth-local=trust", "--auth-host=scram-sha-256",
        f"--pwfile={passwords}",
    )  # fmt: skip
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run(f"{programs}/pg_ctl", "-D", data, "-w", "-t", "120", "-l", f"{folder}/log", "-o", options, "start")
    try:
        psql = (f"{programs}/psql", "-q", "-h", str(folder), "-p", str(port), "-U", ACCOUNT)
        run(*psql, "-c", "CREATE USER merian PASSWORD 'secret'", "-c", "CREATE DATABASE merian OWNER merian")
        run(*psql, "-d", "merian", "-c", "CREATE EXTENSION btree_gist")
        yield port
    finally:
        run(f"{programs}/pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def test_it_is_created_and_filled_by_the_same_actions(
    server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"127.0.0.1:{server}/merian"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LSST_DB_AUTH", raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    passwords = tmp_path / ".lsst" / "db-auth.yaml"
    passwords.parent.mkdir()
    passwords.write_text(f"- {{url: 'postgresql://{address}', username: merian, password: secret}}\n")
    passwords.chmod(0o600)
    seed = tmp_path / "seed.yaml"
    seed.write_text(
        f"datastore: {{root: <butlerRoot>}}\nregistry: {{db: 'postgresql+psycopg2://{address}'}}\n"
    )
    repository = str(tmp_path / "repo")
    for name, arguments in (
        ("create", {"seed_config": str(seed), "group_writable": True}),
        ("register-instrument", {"instrument": INSTRUMENT}),
    ):
        for changed in (True, False):
            answer = perform(name=name, repository=repository, arguments=arguments)
            assert answer["changed"] is changed
    assert not (tmp_path / "repo" / "gen3.sqlite3").exists()
    with Butler.from_config(repository) as butler:
        assert [record.name for record in butler.query_dimension_records("instrument")] == ["DECam"]
