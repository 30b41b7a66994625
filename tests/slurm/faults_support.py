"""A step whose quanta meet faults: who runs in which block, and what is on record of it afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import yaml
from manager_support import Toy
from psycopg2.extras import RealDictCursor

from merian_campaign.domain.execution.journal import JournalEvent, parse_lines
from merian_campaign.domain.execution.provenance import parse_predicted
from merian_campaign.domain.rendering.naming import SubmissionPaths

QUANTA = """
SELECT v.task, v.detector, v.state, v.verdict, v.attempts, v.submission, v.requested_mb,
       q.charged_attempts, q.memory_attempts
FROM quantum_status AS v
JOIN campaign AS c ON c.name = v.campaign
JOIN "group" AS g ON g.campaign_id = c.id AND g.step = v.step AND g.key = v."group"
JOIN quantum AS q ON q.group_id = g.id AND q.task = v.task AND q.data_id = v.data_id
WHERE v.campaign = %(name)s
"""
ATTEMPTS = """
SELECT q.task, q.detector, s.number AS submission, a.try, a.state, a.verdict, a.charged, a.evidence,
       a.exit_code, a.signal, a.peak_mb, a.requested_mb, a.started, a.ended
FROM quantum_attempt AS a
JOIN quantum AS q ON q.id = a.quantum_id
JOIN submission AS s ON s.id = a.submission_id
JOIN "group" AS g ON g.id = s.group_id
JOIN campaign AS c ON c.id = g.campaign_id
WHERE c.name = %(name)s
ORDER BY q.task, q.detector, s.number, a.try
"""


@dataclass(frozen=True)
class Place:
    """The Slurm job a quantum was started in, and its node."""

    job: str
    node: str


@dataclass(frozen=True, kw_only=True)
class Charge:
    """What a quantum cost: executions, those that count, those that ended for memory, its last request."""

    attempts: int
    charged: int
    memory: int
    requested_mb: int


def step(
    folder: Path,
    name: str,
    *,
    misbehave: Mapping[str, Mapping[int, str]],
    resources: Mapping[str, Mapping[str, Any]],
) -> Mapping[str, Any]:
    """Return a step of independent tasks with a quantum for each of four detectors."""
    file = folder / f"{name}-pipeline.yaml"
    tasks = {
        label: {
            "class": "wms_payload.FirstTask",
            "config": {"connections.product": label, "misbehave": dict(what)},
        }
        for label, what in misbehave.items()
    }
    file.write_text(yaml.safe_dump({"description": "toy", "tasks": tasks}))
    return {
        "name": name, "pipeline": str(file), "scope": "exposure", "where": "detector < 4",
        "resources": {label: dict(given) for label, given in resources.items()},
    }  # fmt: skip


@dataclass(frozen=True)
class Going:
    """Quanta of the latest submission, by task and detector: where some run now, and which have ended."""

    running: Mapping[tuple[str, int], Place]
    ended: frozenset[tuple[str, int]]


def going(toy: Toy, name: str) -> Going:
    """Return what the journal has of the only group of a campaign."""
    (group,) = toy.groups(name)
    paths = SubmissionPaths(directory=group.submissions[-1].directory) if group.submissions else None
    if paths is None or not Path(paths.predicted).exists() or not Path(paths.journal).exists():
        return Going(running={}, ended=frozenset())
    keys = {
        entry.uuid: (entry.task, int(entry.dimensions["detector"]))
        for entry in parse_predicted(Path(paths.predicted).read_text().splitlines())
    }
    running: dict[tuple[str, int], Place] = {}
    ended = set()
    for record in parse_lines(Path(paths.journal).read_text()):
        for key in (keys[uuid] for uuid in record.quanta):
            if record.event == JournalEvent.STARTED:
                running[key] = Place(job=str(record.slurm_job), node=str(record.slurm_node))
            elif record.event == JournalEvent.ENDED:
                running.pop(key, None)
                ended.add(key)
    return Going(running=running, ended=frozenset(ended))


def query(toy: Toy, sql: str, **values: object) -> list[dict[str, Any]]:
    """Ask the tracking database, as a user with psql would."""
    url = toy.run("db", "url", "--libpq").stdout.strip()
    with (
        closing(psycopg2.connect(url)) as connection,
        connection.cursor(cursor_factory=RealDictCursor) as cursor,
    ):
        cursor.execute(sql, values)
        return [dict(row) for row in cursor.fetchall()]


def quanta(toy: Toy, name: str) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the state of every quantum, by task and detector."""
    return {(row["task"], row["detector"]): row for row in query(toy, QUANTA, name=name)}


def attempts(toy: Toy, name: str) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Return every attempt on record (none of those that succeeded at first try), by task and detector."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in query(toy, ATTEMPTS, name=name):
        found.setdefault((row["task"], row["detector"]), []).append(row)
    return found
