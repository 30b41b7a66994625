"""Running the installed command line as a user does, and looking at what it left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from forked_program import run_forked
from postgresql_help import PASSWORD_BEGINS, private_registry

BIN = Path(sys.executable).parent
CHECKOUT = Path(__file__).resolve().parents[2]
LONGEST_SECONDS = 7200
"""More than any command takes: what bounds a test is its own time limit."""
_URLS: dict[tuple[Path, str | None], str] = {}
"""Of the databases of installations: conditions that are waited for ask them twenty times a second."""


@dataclass(frozen=True)
class Installation:
    """A home directory and the environment that names it."""

    root: Path
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def demo(self) -> Path:
        """Where its demo lives."""
        return self.root / "demo"

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MERIAN_CAMPAIGN")}
        kept.pop("DEMO_DIR", None)
        path = f"{BIN}{os.pathsep}{kept['PATH']}"
        return {**kept, "PATH": path, "MERIAN_CAMPAIGN_HOME": str(self.root / "home"), **self.extra}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `merian-campaign` to its end, in a forked child."""
        return run_forked(*arguments, env=self.environ, seconds=LONGEST_SECONDS)

    def run_program(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `merian-campaign` to its end as a process of its own, as a user does."""
        return subprocess.run(
            [str(BIN / "merian-campaign"), *arguments],
            env=self.environ, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `merian-campaign` and go on."""
        return subprocess.Popen(
            [str(BIN / "merian-campaign"), *arguments],
            env=self.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def json(self, *arguments: str) -> Any:
        """Run a command that prints JSON, in a forked child: it is looked at often."""
        done = run_forked(*arguments, "--json", env=self.environ)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def query(self, sql: str, **values: object) -> list[tuple[Any, ...]]:
        """Query the tracking database."""
        with self.connected() as connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()

    def connected(self) -> AbstractContextManager[psycopg2.extensions.connection]:
        """Return a connection to the tracking database, until the end of a block."""
        key = (self.root, self.extra.get("MERIAN_CAMPAIGN_DATABASE_URL"))
        with suppress(psycopg2.OperationalError, KeyError):
            return closing(psycopg2.connect(_URLS[key]))
        # This starts the server too.
        _URLS[key] = run_forked("db", "url", "--libpq", env=self.environ).stdout.strip()
        return closing(psycopg2.connect(_URLS[key]))

    def with_environment(self, **extra: str) -> Installation:
        """Return the same installation with more environment variables."""
        return Installation(root=self.root, extra={**self.extra, **extra})

    def processes(self, *, holding: str = "") -> list[str]:
        """Return the command lines of all processes of this installation, or those that hold a word."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                variables = (entry / "environ").read_bytes()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                # Parsl writes titles over the environment of some; those are known by where they work.
                here = (entry / "cwd").readlink().is_relative_to(self.root)
            except OSError:
                continue
            ours = here or f"{self.root}/".encode() in variables
            if ours and command and (holding in command or holding.encode() in variables):
                found.append(command)
        return found


@contextmanager
def watching(installation: Installation, word: str) -> Iterator[set[str]]:
    """Collect the command lines of processes that hold a word, in them or in their environment."""
    found: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.2):  # between two looks at all processes
            found.update(installation.processes(holding=word))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def _wait_until_gone(look: Callable[[], list[str]], *, seconds: float = 60.0) -> list[str]:
    """Return what is still there when nothing is, or after so long."""
    deadline = time.monotonic() + seconds
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(0.1)  # between two looks at a condition, not in place of one
    return left


@contextmanager
def new_installation(**extra: str) -> Iterator[Installation]:
    """Give an installation with a database of its own, stopped and checked for orphans at the end."""
    root = Path(tempfile.mkdtemp(prefix="merian-e2e-")).resolve()
    made = Installation(root=root, extra=extra)
    try:
        yield made
    finally:
        # A driver that is still ending would start the database again.
        _wait_until_gone(lambda: [command for command in made.processes() if "drive" in command.split()])
        made.run("db", "stop")
    left = _wait_until_gone(made.processes)
    shutil.rmtree(root, ignore_errors=True)
    assert not left, f"processes left behind: {left}"


@contextmanager
def installation_on_server(files: Path, **extra: str) -> Iterator[Installation]:
    """Give an installation whose registry and tracking database are on a server with a password."""
    with private_registry(files) as registry, pytest.MonkeyPatch.context() as patch:
        # This process opens the repository too.
        patch.setenv("LSST_DB_AUTH", str(registry.passwords))
        on_server = {
            "SEED_CONFIG": str(registry.seed), "MERIAN_CAMPAIGN_DATABASE_URL": registry.tracking, **extra
        }  # fmt: skip
        with new_installation(**on_server) as made:
            done = made.run("db", "upgrade")
            assert done.returncode == 0, done.stderr
            yield made


def reduce(installation: Installation, *options: str) -> Path:
    """Run the demo to its end; keep what it printed, and which processes held a password, beside it."""
    with watching(installation, PASSWORD_BEGINS) as holding:
        done = installation.run_program("demo", "--dir", str(installation.demo), *options)
    assert done.returncode == 0, done.stdout + done.stderr
    (installation.root / "demo.out").write_text(done.stdout, encoding="utf-8")
    (installation.root / "demo.err").write_text(done.stderr, encoding="utf-8")
    # It was given the password itself.
    (installation.root / "holding").write_text(
        "\n".join(line for line in holding if "merian-campaign demo" not in line), encoding="utf-8"
    )
    return installation.demo


def wait_for(condition: Callable[[], Any], *, what: str, seconds: float = 240.0) -> Any:
    """Return the first true answer of a condition."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.05)  # between two looks at a condition, not in place of one
    raise AssertionError(f"no {what} within {seconds} s")


def file_times(folder: Path) -> dict[str, int]:
    """Return the modification time of every file below a folder."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def runs_of(repository: Path, *outputs: str) -> list[str]:
    """Return the RUN collections below each output; its chain would hold the inputs too."""
    from lsst.daf.butler import Butler, CollectionType  # noqa: PLC0415 - heavy

    with Butler.from_config(str(repository)) as butler:
        patterns = [f"{output}/*" for output in outputs]
        return list(butler.collections.query(patterns, collection_types=CollectionType.RUN))
