"""A database of the earliest schema, and the folder of a run that ended but was not taken in, go on here.

``earliest`` is what the first release left of a paused campaign of two nights: one with a quantum that failed
and one whose driver has ended since the last tick. Of the database it is a dump, of the folder what a harvest
reads.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from store_help import rows

from merian_campaign.store.server.connection import open_connection
from merian_campaign.store.server.schema_version import KNOWN

EARLIEST = Path(__file__).parent / "earliest"
CHECKOUT = Path(__file__).parents[2]
NIGHT = "submissions/early/step1/night20210319/001"


@dataclass(frozen=True)
class Left:
    """A machine on which the first release was replaced by this one."""

    root: Path
    url: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "MERIAN_CAMPAIGN_DATABASE_URL": self.url}
        environ["MERIAN_CAMPAIGN_HOME"] = str(self.root / "home")
        command = [sys.executable, "-m", "merian_campaign", *arguments]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    def fine(self, *arguments: str, code: int = 0) -> str:
        done = self.run(*arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def groups(self) -> dict[tuple[str, str], dict[str, Any]]:
        board = json.loads(self.fine("status", "early", "--json"))
        return {(entry["step"], entry["group"]): entry for entry in board["groups"]}

    def usage(self) -> dict[str, dict[str, Any]]:
        return {entry["task"]: entry for entry in json.loads(self.fine("usage", "early", "--json"))["usage"]}

    def waits(self) -> dict[str, list[float]]:
        """Return how long each quantum of the night waited, by its files."""
        lines = (self.root / NIGHT / "bps" / "journal.jsonl").read_text().splitlines()
        times = {
            (line["event"], uuid): datetime.fromisoformat(line["t"])
            for line in map(json.loads, lines)
            for uuid in line["quanta"]
        }
        found: dict[str, list[float]] = defaultdict(list)
        for quantum in map(json.loads, (self.root / NIGHT / "predicted.jsonl").read_text().splitlines()):
            ready = [times["ended", uuid] for uuid in quantum["after"] if ("ended", uuid) in times]
            since = max([*ready, times["launched", quantum["uuid"]]])
            found[quantum["task"]].append((times["started", quantum["uuid"]] - since).total_seconds())
        return found


@pytest.fixture
def left(empty_url: str, tmp_path: Path) -> Left:
    shutil.copytree(EARLIEST / "night20210319", tmp_path / NIGHT)
    shutil.copytree(EARLIEST / "site", tmp_path / "site")
    for file in (tmp_path / NIGHT).rglob("*"):
        if file.is_file():
            file.write_text(_here(file.read_text(), tmp_path))
    dump = _here((EARLIEST / "database.sql").read_text(), tmp_path)
    with closing(open_connection(empty_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(dump)
    return Left(root=tmp_path, url=empty_url)


def _here(text: str, root: Path) -> str:
    return text.replace("@ROOT@", str(root)).replace("@CHECKOUT@", str(CHECKOUT))


def test_a_campaign_of_the_first_release_goes_on(left: Left) -> None:
    refused = left.run("status", "early")
    assert refused.returncode != 0
    assert f"schema version 0004, this program uses {KNOWN[-1]}" in refused.stderr
    left.fine("db", "upgrade")
    with closing(open_connection(left.url)) as connection:
        ((kept, measured),) = rows(
            connection,
            "SELECT (SELECT sum(n) FROM memory_use), count(*) FROM quantum WHERE state = 'succeeded'",
        )
    assert kept == measured > 0
    with closing(open_connection(left.url)) as connection:
        for name in ("usage", "hours", "cells"):
            assert rows(connection, f"SELECT count(*) > 0 FROM group_{name}") == [(True,)], name
    assert {entry["waited"] for entry in left.usage().values()} == {None}, "nobody has written it down"
    before = left.groups()
    assert {key: entry["state"] for key, entry in before.items()} == {
        ("defaults", "all"): "done",
        ("step1", "night20210318"): "needs_review",
        ("step1", "night20210319"): "running",
        ("step2a", "night20210318"): "blocked",
        ("step2a", "night20210319"): "waiting",
    }
    with closing(open_connection(left.url)) as connection:
        ((basis,),) = rows(
            connection,
            "SELECT s.basis->'exposures' FROM submission AS s JOIN \"group\" AS g ON g.id = s.group_id"
            " WHERE g.step = 'step1' AND s.outcome IS NOT NULL",
        )
    assert basis == [970612, 970613]
    shown = left.fine("show", "early", "step1/night20210318")
    assert "2 exposures" in shown
    assert "algorithm" in shown
    failures = json.loads(left.fine("failures", "early", "--json"))["failures"]
    assert [(entry["task"], entry["verdict"]) for entry in failures if entry["state"] == "failed"] == [
        ("calibrate", "algorithm")
    ]

    left.fine("tick", "early", "--as-applied", code=1)
    taken = left.groups()["step1", "night20210319"]
    assert (taken["state"], taken["quanta"]["succeeded"]) == ("done", 16)
    with closing(open_connection(left.url)) as connection:
        outcomes = rows(connection, "SELECT outcome FROM submission ORDER BY id")
    assert outcomes == [("succeeded",), ("partial",), ("succeeded",)]
    waits = left.waits()
    found = {task: entry for task, entry in left.usage().items() if entry["waited"]}
    assert {task: entry["waited"] for task, entry in found.items()} == {
        task: len(seconds) for task, seconds in waits.items()
    }
    for task, entry in found.items():
        assert entry["wait_seconds_longest"] == pytest.approx(max(waits[task]))
        assert entry["wait_hours"] == pytest.approx(sum(waits[task]) / 3600)
        assert entry["wait_seconds_median"] == pytest.approx(statistics.median_low(waits[task]), rel=0.0101)
