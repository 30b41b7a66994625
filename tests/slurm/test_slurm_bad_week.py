"""A campaign goes through a week of a bad site in minutes: outputs and books are as if nothing had been."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.running import Cluster
from demo_compare import compare_collections
from e2e_help import runs_of
from faults_support import query
from manager_support import Toy, action, wait_for
from week_support import Server, Week, small_file_system

from merian_campaign.domain.execution.journal import JournalEvent, parse_lines
from merian_campaign.domain.execution.provenance import parse_predicted
from merian_campaign.domain.rendering.naming import SubmissionPaths

pytestmark = pytest.mark.soak

SEEDS = [int(word) for word in os.environ.get("WEEK_SEEDS", "0 1 2 3 4 5 6 7 8 9").split()]
TROUBLES = int(os.environ.get("WEEK_TICKS", "40"))
"""Ticks in whose time something may go wrong; then the site is as it should be."""

TASKS: Mapping[str, Mapping[str, Any]] = {
    "a": {"first": {"class": "wms_payload.FirstTask"}},
    "b": {"second": {"class": "wms_payload.SecondTask"}},
    "c": {
        "third": {
            "class": "wms_payload.SecondTask",
            "config": {"connections.source": "second", "connections.product": "third"},
        },
        "gather": {"class": "wms_payload.GatherTask"},
    },
    "d": {"other": {"class": "wms_payload.FirstTask", "config": {"connections.product": "other"}}},
}
AFTER = {"a": [], "b": ["a"], "c": ["b"], "d": []}
QUANTA = 17
JOBS = """
SELECT j.job_id, j.fate FROM slurm_job AS j JOIN submission AS s ON s.id = j.submission_id
JOIN "group" AS g ON g.id = s.group_id JOIN campaign AS c ON c.id = g.campaign_id WHERE c.name = %(name)s
"""
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
UNFINISHED = "SELECT count(*) FROM submission WHERE state <> 'finished'"


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Toy, Server]]:
    """A repository and a database that nobody starts unasked."""
    from wms_support import make_repo  # noqa: PLC0415 - of the tests of the WMS service

    root = Path(tempfile.mkdtemp(prefix="merian-week-")).resolve()
    root.chmod(0o711)
    server = Server(root / "database")
    server.start()
    toy = Toy(
        folder=root, home=root / "home", repo=make_repo(root / "repo", detectors=4),
        extra={"MERIAN_CAMPAIGN_DATABASE_URL": server.url},
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MERIAN_CAMPAIGN_DATABASE_URL", server.url)
        assert toy.run("db", "upgrade").returncode == 0
        yield toy, server
    server.stop()
    shutil.rmtree(root, ignore_errors=True)


def steps(toy: Toy, name: str) -> list[Mapping[str, Any]]:
    """Return steps whose quanta write down that they run."""
    made: list[Mapping[str, Any]] = [action("act")]
    runs = toy.folder / name / "runs"
    runs.mkdir(parents=True)
    for step, tasks in TASKS.items():
        written = {}
        for label, task in tasks.items():
            behaviour = {n: f"alone:{runs}/{label}-{n};sleep:3" for n in (-1, 0, 1, 2, 3)}
            written[label] = {**task, "config": {**task.get("config", {}), "misbehave": behaviour}}
        file = runs.parent / f"{step}.yaml"
        file.write_text(yaml.safe_dump({"description": "week", "tasks": written}))
        made.append(
            {
                "name": step, "after": AFTER[step], "pipeline": str(file), "scope": "exposure",
                "where": "detector < 4", "resources": {label: {"memory": 300} for label in tasks},
            }
        )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def undisturbed(world: tuple[Toy, Server], cluster: Cluster) -> str:
    """The same campaign when all is well."""
    toy, _ = world
    del cluster
    toy.apply("calm", *steps(toy, "calm"), limits={"submissions": 3})
    states = toy.finish("calm")
    assert set(states.values()) == {"done"}
    return "runs/calm"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_bad_week(world: tuple[Toy, Server], undisturbed: str, cluster: Cluster, seed: int) -> None:
    toy, server = world
    name = f"week{seed}"
    dice = random.Random(seed)
    with small_file_system(toy.folder / name / "work") as mounted:
        toy.apply(
            name, *steps(toy, name), driver={} if dice.random() < 0.5 else None,
            site={"partition": "low", "max_blocks": 2}, limits={"submissions": 2},
        )  # fmt: skip
        work = toy.folder / name / "work"
        week = Week(
            name=name, toy=toy, cluster=cluster, server=server, dice=dice, work=work,
            full=work if mounted else None,
        )  # fmt: skip
        try:
            with week.ticking():
                for _ in range(TROUBLES):
                    week.tick()
                    week.happen()
                week.calm()
                wait_for(lambda: goes_on(week) and is_over(toy, name), what="end", seconds=1500)
                # The last block's end is looked for until Slurm has told it.
                wait_for(lambda: goes_on(week) and "alive" not in fates(toy, name).values(), what="ends")
            books_are_exact(toy, cluster, name)
            assert (
                compare_collections(
                    repository=toy.repo,
                    first=runs_of(toy.repo, f"runs/{name}"),
                    second=runs_of(toy.repo, undisturbed),
                )
                == []
            )
        finally:
            week.calm()
            told = toy.folder.parent / f"merian-week-{seed}.log"
            told.write_text("\n".join(week.log) + "\n")


def goes_on(week: Week) -> bool:
    return week.tick(calm=True) in {0, 1}


def is_over(toy: Toy, name: str) -> bool:
    return not {"waiting", "ready", "running"} & set(toy.states(name).values())


def books_are_exact(toy: Toy, cluster: Cluster, name: str) -> None:
    """All is done, and each execution, submission and job is on record once."""
    groups = toy.groups(name)
    assert {group.state.value for group in groups} == {"done"}, [(one.step, one.reason) for one in groups]
    rows = query(
        toy, "SELECT task, detector, state, attempts FROM quantum_status WHERE campaign = %(name)s", name=name
    )
    assert len(rows) == QUANTA
    assert {row["state"] for row in rows} == {"succeeded"}
    attempts = {(row["task"], row["detector"]): row["attempts"] for row in rows}
    assert attempts == executions(toy, name)
    runs = toy.folder / name / "runs"
    for (task, detector), number in attempts.items():
        begun = runs / f"{task}-{-1 if detector is None else detector}"
        assert 1 <= len(begun.read_text().splitlines()) <= number
    assert [path.name for path in runs.iterdir() if path.suffix == ".beside"] == [], "two ran at once"
    assert cluster.squeue() == []
    assert [row["count"] for sql in (LOCKS, UNFINISHED) for row in query(toy, sql)] == [0, 0]
    assert ours(cluster, toy.folder / name) <= set(fates(toy, name))


def fates(toy: Toy, name: str) -> dict[str, str]:
    """Return how all jobs of a campaign ended, by id."""
    return {row["job_id"]: row["fate"] for row in query(toy, JOBS, name=name)}


def executions(toy: Toy, name: str) -> dict[tuple[str, int | None], int]:
    """Count what the journals of all submissions say was started."""
    found: Counter[tuple[str, int | None]] = Counter()
    for group in toy.groups(name):
        for submission in group.submissions:
            paths = SubmissionPaths(directory=submission.directory)
            if not Path(paths.journal).exists():
                continue
            keys = {
                entry.uuid: (entry.task, entry.dimensions.get("detector"))
                for entry in parse_predicted(Path(paths.predicted).read_text().splitlines())
            }
            for record in parse_lines(Path(paths.journal).read_text()):
                if record.event == JournalEvent.STARTED:
                    found.update(keys[uuid] for uuid in record.quanta)
    return dict(found)


def ours(cluster: Cluster, folder: Path) -> set[str]:
    """Return the ids of all jobs of a campaign that the accounting knows to have begun."""
    rows = cluster.sacct(fields="JobID,Start,Comment")
    return {job for job, start, *comment in rows if str(folder) in "|".join(comment) and start != "Unknown"}
