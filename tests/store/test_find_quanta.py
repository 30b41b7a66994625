"""Quanta found by number and by words: the right ones, their attempts, and no table read whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from store_help import Given, failed, quantum, rows, worked

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.execution.quanta import Quantum, canonical_data_id
from merian_campaign.domain.states import Verdict
from merian_campaign.store import open_reader
from merian_campaign.store.reading import queries
from merian_campaign.store.reading.find_quanta import _BY_INDEX
from merian_campaign.store.reading.reader import Reader
from merian_campaign.store.server.connection import open_connection


def visit(visit: int, detector: int) -> Quantum:
    """A quantum whose band is implied by its visit."""
    required = {"instrument": "DECam", "visit": visit, "detector": detector}
    return quantum(
        1,
        worked(log_path=f"/logs/{visit}-{detector}.log"),
        task="isr",
        data_id=canonical_data_id(required),
        dimensions={**required, "band": "N540" if visit < 44 else "r"},
    )


@pytest.fixture
def reader(given: Given, url: str) -> Iterator[Reader]:
    """Of two tracts; visits 42 to 44 with detectors 1 to 3, and patches of which one failed."""
    (group, _) = given.campaign(tracts=(9813, 9814))
    visits = [visit(number, detector) for number in (42, 43, 44) for detector in (1, 2, 31)]
    first = [quantum(1, failed(log_path="/logs/1.log")), quantum(2, failed(Verdict.ALGORITHM)), *visits]
    given.harvested(given.prepared(group).id, *first)
    given.harvested(given.again(group, 2), quantum(1, worked(log_path="/logs/2.log")))
    with open_reader(url) as opened:
        yield opened


def found(reader: Reader, task: str | None = None, **changes: Any) -> list[str]:
    values = {name: str(value) for name, value in changes.items() if name not in {"step", "limit"}}
    given = {"step": changes.get("step"), "limit": changes.get("limit", 20)}
    return [row.data_id for row in reader.quanta("demo", task=task, values=values, **given)]


def test_words_that_say_all_or_a_part(reader: Reader) -> None:
    assert found(reader, "isr", visit=42, detector=3) == []
    assert found(reader, "isr", visit=42, detector=31) == ["detector=31,instrument=DECam,visit=42"]
    assert found(reader, visit=42, detector=31) == ["detector=31,instrument=DECam,visit=42"]
    assert len(found(reader, "isr", visit=42)) == 3
    assert len(found(reader, "isr", detector=1)) == 3
    assert found(reader, "isr", detector=1, band="r") == ["detector=1,instrument=DECam,visit=44"]
    assert found(reader, "isr", detector="%") == found(reader, "isr", visit="4_") == []
    assert found(reader, "measure", patch=2, tract=9813) == ["band=N540,patch=2,tract=9813"]
    assert found(reader, patch=2, tract=9814) == []
    assert found(reader, "measure", patch=2, step="step1") == []
    assert len(found(reader, "isr", limit=4)) == 4
    with pytest.raises(BadInputError, match="no quantum of task 'nope'; it has quanta of isr, measure"):
        found(reader, "nope", visit=42)


def test_numbers_failed_ones_and_attempts(reader: Reader, given: Given) -> None:
    (failure,) = reader.failed_quanta("demo", limit=20)
    assert (failure.data_id, failure.verdict) == ("band=N540,patch=2,tract=9813", "algorithm")
    assert reader.failed_quanta("demo", tract=9814, limit=20) == ()
    assert reader.quantum("demo", number=failure.quantum_id) == failure
    given.campaign("other", sha256="x")
    assert reader.quantum("other", number=failure.quantum_id) is None
    (twice,) = reader.quanta("demo", step=None, task="measure", values={"patch": "1"}, limit=2)
    assert twice.log_path == "/logs/2.log"
    attempts = reader.quantum_attempts(quantum_id=twice.quantum_id)
    assert [(row.submission, row.log_path) for row in attempts] == [(1, "/logs/1.log"), (2, "/logs/2.log")]
    (once,) = reader.quanta("demo", step=None, task=None, values={"visit": "42", "detector": "1"}, limit=2)
    (attempt,) = reader.quantum_attempts(quantum_id=once.quantum_id)
    assert (attempt.submission, attempt.state, attempt.log_path) == (1, "succeeded", "/logs/42-1.log")


@pytest.mark.parametrize(
    "condition", ["q.data_id = 'x'", "',' || q.data_id || ',' LIKE ALL (ARRAY['%,a=1,%'])"]
)
def test_no_large_table_is_read_whole(reader: Reader, url: str, condition: str) -> None:
    given = {"campaign_id": 1, "step": "s", "task": "t", "tract": None, "limit": 20, "id": 1}
    texts = [
        queries.QUANTUM,
        queries.FAILED_QUANTA,
        queries.TASK_EXAMPLES,
        queries.QUANTUM_ATTEMPTS,
        queries.QUANTA_OF_A_TASK.replace("CONDITION", condition.replace("%", "%%")),
    ]
    assert reader.failed_quanta("demo", limit=1)
    connection = open_connection(url)
    try:
        rows(connection, _BY_INDEX)
        with connection.cursor() as cursor:
            for text in texts:
                cursor.execute(f"EXPLAIN {text}", given)
                plan = "\n".join(line for (line,) in cursor.fetchall())
                assert "Seq Scan on quantum" not in plan, plan
                assert "quantum" in plan
    finally:
        connection.close()
