"""The tracking database is away for a while: who needs it waits, nothing runs twice, nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e_help import CHECKOUT, Installation, new_installation, wait_for

from merian_campaign.store.server import embedded

pytestmark = [pytest.mark.e2e, pytest.mark.soak]  # two minutes, of which most is waiting

CAMPAIGN = """
campaign: away
butler: {root}/repo
work_dir: {root}/submissions
instrument: DECam
site: {checkout}/site/local.yaml
include: [{checkout}/bps_configs/base.yaml]
collections: {{output: DECam/runs/away}}
steps:
  - name: cpBias
    pipeline: {checkout}/merian_campaign/demo/pipelines/cpBias.yaml
    scope: exposure
    where: exposure.observation_type = 'zero' AND detector NOT IN (31, 61)
    inputs: [DECam/raw/all, DECam/calib/curated/19700101T000000Z, DECam/calib/unbounded]
"""
WAITS = "it is waited for, 10 minutes at most"


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server that commands know by its URL only, so that none of them starts it."""

    home: Path

    def start(self) -> str:
        return embedded.ensure_running(self.home)

    def stop(self) -> None:
        assert embedded.stop(self.home)


@pytest.fixture
def server() -> Iterator[Server]:
    home = Path(tempfile.mkdtemp(prefix="merian-away-")).resolve()
    try:
        yield Server(home)
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def here(server: Server, tmp_path: Path) -> Iterator[Installation]:
    from demo_repository import create_repository  # noqa: PLC0415 - imports lsst

    create_repository(tmp_path)
    file = tmp_path / "campaign.yaml"
    file.write_text(CAMPAIGN.format(root=tmp_path, checkout=CHECKOUT), encoding="utf-8")
    with new_installation(MERIAN_CAMPAIGN_DATABASE_URL=server.start()) as made:
        for words in (("db", "upgrade"), ("apply", str(file)), ("tick", "away")):
            done = made.run(*words)
            assert done.returncode == 0, done.stderr
        yield made


def waiting(directory: Path) -> int:
    """Return how often it is said in the logs of a submission that the database is waited for."""
    logs = [path for path in directory.rglob("*") if path.suffix in {".log", ".out", ".err", ".stderr"}]
    return sum(path.read_text(errors="replace").count(WAITS) for path in logs)


def driver(here: Installation) -> int | None:
    ((pid, state),) = here.query("SELECT driver_pid, state FROM submission")
    return int(pid) if state == "running" else None


def test_a_graph_and_an_ingest_wait_for_it_and_nothing_runs_twice(
    here: Installation, server: Server, tmp_path: Path
) -> None:
    directory = tmp_path / "submissions" / "away" / "cpBias" / "all" / "001"
    pid = wait_for(lambda: driver(here), what="driver")
    # Before the graph is built, which takes the repository's lock.
    server.stop()
    wait_for(lambda: waiting(directory) == 1, what="driver that waits for its graph")
    assert not list(directory.glob("bps/*.qg"))
    server.start()
    # While quanta run: the final job takes the lock again.
    journal = directory / "bps" / "journal.jsonl"
    wait_for(lambda: journal.exists() and '"started"' in journal.read_text(), what="quantum")
    server.stop()
    wait_for(lambda: waiting(directory) == 2, what="driver that waits to ingest")
    # The driver dies of it, and the next one ingests what ran.
    os.kill(pid, signal.SIGKILL)
    server.start()
    done = here.run("run", "away")
    assert done.returncode == 0, done.stderr
    (group,) = here.json("status", "away")["groups"]
    assert (group["state"], group["submissions"], group["quanta"]["succeeded"]) == ("done", 1, 6)
    assert here.query("SELECT count(*), sum(attempts), max(attempts) FROM quantum") == [(6, 6, 1)]
    assert journal.read_text().count('"started"') == 6
