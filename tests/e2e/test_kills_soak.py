"""The demo from ticks alone, while driver, tick or PostgreSQL are killed at twenty random moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from demo_compare import compare_collections
from e2e_help import BIN, CHECKOUT, Installation, new_installation, runs_of

pytestmark = [pytest.mark.e2e, pytest.mark.soak]

DEMO = CHECKOUT / "campaign" / "demo.yaml"
KILLS = 20
SECONDS = 2400.0
CHAINS = [
    *(f"DECam/calib/demo/{name}" for name in ("bias", "crosstalk", "flat")),
    *(f"DECam/runs/demo/{step}" for step in ("step1", "step2a", "step2b", "step2c", "step2d", "step3")),
]
BOOKS = (
    "SELECT g.step, g.key, q.task, q.data_id, q.state, q.verdict, q.exception_type FROM quantum q"
    ' JOIN "group" g ON g.id = q.group_id ORDER BY 1, 2, 3, 4'
)
GROUPS = 'SELECT step, key, state FROM "group" ORDER BY 1, 2'
TWICE = (
    "SELECT g.step, g.key, q.task, q.data_id FROM quantum_attempt a JOIN quantum q ON q.id = a.quantum_id"
    " JOIN \"group\" g ON g.id = q.group_id WHERE a.state = 'succeeded' GROUP BY 1, 2, 3, 4"
    " HAVING count(*) > 1"
)


@dataclass
class Killer:
    """Kills one of them when its time has come; what it did is printed."""

    installation: Installation
    seed: int
    dice: random.Random = field(init=False)
    done: list[str] = field(default_factory=list)
    due: float = 0.0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self._again()

    def _again(self) -> None:
        self.due = time.monotonic() + self.dice.uniform(0.5, 40)

    def look(self, tick: subprocess.Popen[str]) -> None:
        """Kill, if it is time for it and there is something to kill."""
        if len(self.done) >= KILLS or time.monotonic() < self.due:
            return
        kind = self.dice.choice(["driver", "tick", "postgres"])
        found = {"driver": self._drivers(), "tick": [tick.pid], "postgres": self._postmaster()}[kind]
        if found:
            with suppress(ProcessLookupError):
                os.kill(self.dice.choice(found), signal.SIGKILL)
                self.done.append(kind)
                print(f"seed {self.seed}: {kind} killed", flush=True)  # noqa: T201 - shown with a failure
        self._again()

    def _drivers(self) -> list[int]:
        marker = str(self.installation.root)
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                words = process.cmdline()
                if "drive" in words and "--epoch" in words and marker in str(process.environ()):
                    found.append(process.pid)
        return found

    def _postmaster(self) -> list[int]:
        return [int(path.read_text().split("\n")[0]) for path in self._home.rglob("postmaster.pid")]

    @property
    def _home(self) -> Path:
        return self.installation.root / "home"


@pytest.fixture
def disturbed() -> Iterator[Installation]:
    with new_installation() as made:
        yield made.with_environment(DEMO_DIR=str(made.demo))


def ticks(installation: Installation, killer: Killer) -> None:
    """Tick until nothing moves, as cron would, whatever becomes of it."""
    end = time.monotonic() + SECONDS
    states: set[str] = {"waiting"}
    while states & {"waiting", "ready", "running"} or len(killer.done) < KILLS:
        assert time.monotonic() < end, f"still moving; {killer.done}"
        tick = subprocess.Popen(
            [str(BIN / "merian-campaign"), "tick", "demo"],
            env=installation.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        while tick.poll() is None:
            killer.look(tick)
            time.sleep(0.05)  # between two looks at a process, not in place of one
        killer.look(tick)
        found = {state for _, _, state in installation.query(GROUPS)}
        if found == states and not found & {"waiting", "ready", "running"}:
            return
        states = found


@pytest.mark.timeout(2 * SECONDS)
def test_twenty_kills_change_neither_outputs_nor_books(
    installation: Installation, demo: Path, disturbed: Installation
) -> None:
    seed = int(os.environ.get("KILLS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 20)
    applied = disturbed.run("apply", str(DEMO))
    assert applied.returncode == 0, applied.stderr
    killer = Killer(disturbed, seed)
    ticks(disturbed, killer)
    assert len(killer.done) == KILLS, "it was over before it was disturbed enough"
    assert disturbed.query(GROUPS) == installation.query(GROUPS)
    assert disturbed.query(BOOKS) == installation.query(BOOKS)
    assert disturbed.query(TWICE) == [], "nothing ran again that had succeeded"
    for chain in CHAINS:
        found = compare_collections(
            repository=disturbed.demo / "repo",
            other_repository=demo / "repo",
            first=runs_of(disturbed.demo / "repo", chain),
            second=runs_of(demo / "repo", chain),
        )
        assert found == [], chain
