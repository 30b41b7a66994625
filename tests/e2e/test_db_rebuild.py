"""A lost tracking database, made again from what the submissions of the finished demo left."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from e2e_help import CHECKOUT, Installation
from forked_program import run_forked

from merian_campaign.domain.errors import BadInputError

pytestmark = pytest.mark.e2e

GROUPS = """(SELECT * FROM "group" WHERE campaign_id = (SELECT id FROM campaign WHERE name = 'demo'))"""
"""Of the demo: other campaigns may be in the same database."""

BOOKS = {
    "groups": "SELECT step, key, state, ordinal, selection_dimension, selection_values, generation"
    ' FROM "group" g',
    "submissions": (
        "SELECT g.step, g.key, s.number, s.state, s.outcome, s.run_collection, s.remedy, s.epoch,"
        " s.generation, s.basis, s.combines, s.gathers, s.versions_sha, s.needs_person, s.reason,"
        " s.created_at"
        ' FROM submission s JOIN "group" g ON g.id = s.group_id'
    ),
    "quanta": (
        "SELECT g.step, g.key, q.task, q.data_id, q.visit, q.detector, q.tract, q.patch, q.band, q.state,"
        " q.caveats, q.attempts, q.charged_attempts, q.memory_attempts, q.verdict, q.evidence,"
        " q.exception_type, q.exception_message, q.exit_code, q.signal, q.peak_mb, q.requested_mb,"
        ' q.started, q.ended, q.host FROM quantum q JOIN "group" g ON g.id = q.group_id'
    ),
    "attempts": (
        "SELECT g.step, g.key, s.number, q.task, q.data_id, a.try, a.state, a.verdict, a.evidence, a.charged,"
        " a.exception_type, a.peak_mb, a.requested_mb, a.started, a.ended, a.uuid FROM quantum_attempt a"
        ' JOIN quantum q ON q.id = a.quantum_id JOIN "group" g ON g.id = q.group_id'
        " JOIN submission s ON s.id = a.submission_id"
    ),
    "counts": "SELECT g.step, g.key, n.task, n.state, n.n"
    ' FROM quantum_count n JOIN "group" g ON g.id = n.group_id',
}


def books(installation: Installation) -> dict[str, list[tuple[Any, ...]]]:
    """Return what is on record, but for the moments at which ticks saw it."""
    return {
        name: sorted(installation.query(sql.replace('"group"', GROUPS)), key=str)
        for name, sql in BOOKS.items()
    }


def of(rows: list[tuple[Any, ...]], *groups: str) -> list[tuple[Any, ...]]:
    return [row for row in rows if f"{row[0]}/{row[1]}" in groups]


@pytest.fixture
def other(installation: Installation, demo: Path, tmp_path: Path) -> Installation:
    """The same installation with another database, which is empty, and submissions of its own."""
    url = installation.run("db", "url", "--libpq").stdout.strip()
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("CREATE DATABASE rebuilt")
    place = urlsplit(url)._replace(path="/rebuilt").geturl()
    made = installation.with_environment(MERIAN_CAMPAIGN_DATABASE_URL=place, DEMO_DIR=str(demo))
    assert forked(made, "db", "upgrade").returncode == 0
    return made


def forked(installation: Installation, *words: str) -> Any:
    """Run a command in a forked child, which spares its imports."""
    return run_forked(*words, env=installation.environ)


def cut(path: Path) -> None:
    """Leave the first half of a file, which ends within a line."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 3])


def test_a_lost_database_is_rebuilt(
    installation: Installation, demo: Path, other: Installation, tmp_path: Path
) -> None:
    before = books(installation)
    work = tmp_path / "work"
    shutil.copytree(demo / "submissions", work, symlinks=True)
    text = (CHECKOUT / "campaign" / "demo.yaml").read_text(encoding="utf-8")
    text = text.replace("${DEMO_DIR}/submissions", str(work)).replace(
        "../bps_configs", f"{CHECKOUT}/bps_configs"
    )
    text = text.replace("failure-rules.yaml", f"{CHECKOUT}/campaign/failure-rules.yaml")
    file = tmp_path / "demo.yaml"
    file.write_text(text, encoding="utf-8")
    # What is left is not all whole.
    gone, half, poor, torn = (
        "step2d/night20210318",
        "step2d/night20210319",
        "step2a/night20210318",
        "cpBias/all",
    )
    shutil.rmtree(work / "demo" / gone / "001")
    cut(work / "demo" / half / "001" / "harvest.jsonl")
    (work / "demo" / poor / "001" / "harvest.jsonl").unlink()
    (work / "demo" / poor / "001" / "bps" / "provenance.qg").unlink()
    cut(work / "demo" / torn / "001" / "bps" / "journal.jsonl")
    done = forked(other, "db", "rebuild", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{gone}: the directory of submission 1 is gone" in done.stderr
    assert "journal.jsonl: is cut" in done.stderr
    after = books(other)
    for name, rows in before.items():
        whole = {f"{row[0]}/{row[1]}" for row in rows} - {gone, half, poor, torn}
        assert of(after[name], *whole) == of(rows, *whole), name
    # Nothing that had succeeded is out of the books, or runs again.
    assert of(after["counts"], gone, half, poor, torn) == of(before["counts"], gone, half, poor, torn)
    assert of(after["quanta"], half) == of(before["quanta"], half)
    states = {f"{row[0]}/{row[1]}": row[2] for row in after["groups"]}
    assert "is cut, the end of" in of(after["submissions"], torn)[0][14]
    assert (states[half], states[poor], states[torn], states[gone]) == ("done", "done", "done", "ready")
    again = forked(other, "db", "rebuild", str(file))
    assert again.returncode == BadInputError.exit_code
    assert "campaign demo is in this database" in again.stderr
    plan = other.json("plan", "demo")
    assert plan
