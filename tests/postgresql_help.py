"""A private PostgreSQL server for a butler's registry; the embedded one lacks an extension it needs."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
ACCOUNT = "postgres"
PASSWORD = "s3cret/of#the?server%@home"
"""Nothing else contains it, escaped or not, and a URL has to escape it."""
PASSWORD_BEGINS = "s3cret"
"""Before its first sign that may be escaped; nothing else contains that either."""
REQUIRED = "MERIAN_POSTGRESQL_REQUIRED"
"""Set where the server can be installed: its tests may not be skipped there."""


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A server with an empty database, and the two files with which a butler is created on it.

    ``tracking`` is the URL of another empty database on it, password included; ``certificate`` is the file by
    which the server is known.
    """

    address: str
    tracking: str
    seed: Path
    passwords: Path
    certificate: Path


def need_server() -> None:
    """Skip a test where no server can be started, or fail it where that must not be."""
    missing = "" if PROGRAMS else "Debian's package postgresql is not installed"
    if os.geteuid() != 0 or all(entry.pw_name != ACCOUNT for entry in pwd.getpwall()):
        missing = missing or f"only root may start it, as the account {ACCOUNT}"
    if missing and os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, but: {missing}")
    if missing:
        pytest.skip(f"no PostgreSQL for a registry: {missing}")


@contextmanager
def private_registry(files: Path) -> Iterator[Registry]:
    """Run a server; ``files`` gets the seed file of a repository and the file of passwords."""
    folder = Path(tempfile.mkdtemp(prefix="merian-pg-"))
    shutil.chown(folder, ACCOUNT)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    programs = PROGRAMS[-1].parent
    password = folder / "password"
    password.write_text(f"{PASSWORD}\n")
    shutil.chown(password, ACCOUNT)

    def run(*words: str) -> None:
        subprocess.run(
            ["runuser", "-u", ACCOUNT, "--", *words], check=True, cwd=folder, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    data = str(folder / "data")
    run(
        f"{programs}/initdb", "-D", data, "-U", ACCOUNT, "--auth-local=trust", "--auth-host=scram-sha-256",
        f"--pwfile={password}",
    )  # fmt: skip
    certificate = _certificate(folder, run)
    options = f"-c ssl=on -c ssl_cert_file={certificate} -c ssl_key_file={folder}/server.key"
    options += f" -p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run(f"{programs}/pg_ctl", "-D", data, "-w", "-t", "120", "-l", f"{folder}/log", "-o", options, "start")
    try:
        psql = (f"{programs}/psql", "-q", "-h", str(folder), "-p", str(port), "-U", ACCOUNT)
        run(*psql, "-c", f"CREATE USER merian PASSWORD '{PASSWORD}'")
        run(*psql, "-c", "CREATE DATABASE merian OWNER merian", "-c", "CREATE DATABASE tracking OWNER merian")
        run(*psql, "-d", "merian", "-c", "CREATE EXTENSION btree_gist")
        yield _files(files, server=f"127.0.0.1:{port}", certificate=certificate)
    finally:
        run(f"{programs}/pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _certificate(folder: Path, run: Callable[..., None]) -> Path:
    """Let the server have a certificate of its own; return the file."""
    made = folder / "server.crt"
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    key = (
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        f"{folder}/server.key",
    )
    run("openssl", "req", "-x509", *key, "-out", str(made), *names)
    return made


def _files(folder: Path, *, server: str, certificate: Path) -> Registry:
    address = f"{server}/merian"
    tracking = f"postgresql://merian:{quote(PASSWORD, safe='')}@{server}/tracking"
    passwords = folder / "db-auth.yaml"
    passwords.write_text(f"- {{url: 'postgresql://{address}', username: merian, password: '{PASSWORD}'}}\n")
    passwords.chmod(0o600)
    seed = folder / "seed.yaml"
    seed.write_text(
        f"datastore: {{root: <butlerRoot>}}\nregistry: {{db: 'postgresql+psycopg2://{address}'}}\n"
    )
    known = folder / "server.crt"
    shutil.copyfile(certificate, known)
    return Registry(address=address, tracking=tracking, seed=seed, passwords=passwords, certificate=known)
