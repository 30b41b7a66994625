"""A lost tracking database, made again from what the submissions of the finished demo left."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_help import Installation, new_installation

pytestmark = pytest.mark.e2e

BOOKS = {
    "groups": 'SELECT step, key, state, ordinal, selection_dimension, selection_values, generation FROM "group"',
    "submissions": (
        "SELECT g.step, g.key, s.number, s.state, s.outcome, s.run_collection, s.remedy, s.epoch, s.generation,"
        " s.basis, s.combines, s.versions_sha, s.needs_person, s.reason, s.created_at"
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
    "counts": 'SELECT g.step, g.key, n.task, n.state, n.n FROM quantum_count n JOIN "group" g ON g.id = n.group_id',
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


def test_a_lost_database_is_rebuilt(installation: Installation, demo: Path, other: Installation) -> None:
    work = other.root / "work"
    shutil.copytree(demo / "submissions", work, symlinks=True)
    text = (demo / "campaign.yaml").read_text(encoding="utf-8")
    print(text)
