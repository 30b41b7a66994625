"""A lost tracking database, made again from what the submissions of the finished demo left."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_help import CHECKOUT, Installation, new_installation

from merian_campaign.domain.errors import BadInputError

pytestmark = pytest.mark.e2e

BOOKS = {
    "groups": "SELECT step, key, state, ordinal, selection_dimension, selection_values, generation"
    ' FROM "group"',
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
    return {name: sorted(installation.query(sql), key=str) for name, sql in BOOKS.items()}


def of(rows: list[tuple[Any, ...]], *groups: str) -> list[tuple[Any, ...]]:
    return [row for row in rows if f"{row[0]}/{row[1]}" in groups]


@pytest.fixture
def other() -> Iterator[Installation]:
    with new_installation() as made:
        yield made


def cut(path: Path) -> None:
    """Leave the first half of a file, which ends within a line."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 3])


def test_a_lost_database_is_rebuilt(installation: Installation, demo: Path, other: Installation) -> None:
    before = books(installation)
    work = other.root / "work"
    shutil.copytree(demo / "submissions", work, symlinks=True)
    text = (CHECKOUT / "campaign" / "demo.yaml").read_text(encoding="utf-8")
    text = text.replace("${DEMO_DIR}/submissions", str(work)).replace(
        "../bps_configs", f"{CHECKOUT}/bps_configs"
    )
    text = text.replace("failure-rules.yaml", f"{CHECKOUT}/campaign/failure-rules.yaml")
    file = other.root / "demo.yaml"
    file.write_text(text, encoding="utf-8")
    here = other.with_environment(DEMO_DIR=str(demo))
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
    done = here.run("db", "rebuild", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{gone}: the directory of submission 1 is gone" in done.stderr
    after = books(here)
    for name, rows in before.items():
        whole = {f"{row[0]}/{row[1]}" for row in rows} - {gone, half, poor, torn}
        assert of(after[name], *whole) == of(rows, *whole), name
    # Nothing that had succeeded is out of the books, or runs again.
    assert of(after["counts"], gone, half, poor, torn) == of(before["counts"], gone, half, poor, torn)
    assert of(after["quanta"], half) == of(before["quanta"], half)
    states = {f"{row[0]}/{row[1]}": row[2] for row in after["groups"]}
    assert (states[half], states[poor], states[torn], states[gone]) == ("done", "done", "done", "ready")
    again = here.run("db", "rebuild", str(file))
    assert again.returncode == BadInputError.exit_code
    assert "campaign demo is in this database" in again.stderr
    plan = here.json("plan", "demo")
    assert plan
