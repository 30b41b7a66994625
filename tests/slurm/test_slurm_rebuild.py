"""A lost tracking database of a campaign whose drivers and blocks are Slurm jobs."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from cluster.running import Cluster
from faults_support import attempts, quanta
from manager_support import Toy, action, wait_for


def jobs(toy: Toy, name: str) -> list[tuple[Any, ...]]:
    """Return what is on record of Slurm's jobs, but for what only a look at the time showed."""
    rows = toy.context.store.jobs(name)
    return sorted(
        (
            row.step,
            row.submission,
            row.role,
            row.job_id,
            row.name,
            row.fate,
            row.started,
            row.ended,
            row.nodes,
        )
        for row in rows
    )


def submissions(toy: Toy, name: str) -> list[tuple[Any, ...]]:
    return [
        (group.step, group.state, entry.number, entry.state, entry.outcome, entry.epoch, entry.run_collection,
         entry.driver_job, entry.created_at)
        for group in toy.groups(name) for entry in group.submissions
    ]  # fmt: skip


@pytest.mark.soak
def test_a_campaign_with_jobs_is_rebuilt_and_no_second_driver_joins_one_that_lives(
    toy: Toy, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = toy.folder / "lingers"
    over = toy.pipeline("over", misbehave={1: "exit:3"})
    alive = {**toy.pipeline("alive", misbehave={3: f"linger:{flag}"}), "after": ["act"]}
    name = toy.apply("lostbooks", action("act"), over, alive, driver={})
    states = {"act": "done", "over": "needs_review", "alive": "running"}

    def is_over() -> bool:
        rows = toy.context.store.jobs(name)
        left = [row for row in rows if row.step != "alive" and row.ended is None]
        return flag.exists() and toy.states(name) == states and not left

    toy.until(name, is_over, what="end of all but one")
    before = [found(toy, name) for found in (submissions, jobs, attempts, quanta)]
    ((driver,),) = [
        [row.job_id for row in toy.context.store.jobs(name) if row.role == "driver" and row.step == "alive"]
    ]
    queue = cluster.squeue()

    url = toy.run("db", "url", "--libpq").stdout.strip()
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("CREATE DATABASE rebuilt")
    place = urlsplit(url)._replace(path="/rebuilt").geturl()
    monkeypatch.setenv("MERIAN_CAMPAIGN_DATABASE_URL", place)
    other = replace(toy, extra={**toy.extra, "MERIAN_CAMPAIGN_DATABASE_URL": place})
    assert other.run("db", "upgrade").returncode == 0
    done = other.run("db", "rebuild", str(toy.folder / name / "campaign.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr

    other.context.control.resume(name)
    other.tick(name)
    assert cluster.squeue() == queue, "its driver lives, and none is started beside it"
    after = [found(other, name) for found in (submissions, jobs, attempts, quanta)]
    assert after == before
    cluster.output("scancel", driver)
    wait_for(lambda: cluster.squeue() == [], what="end of the driver with its block")
    assert other.finish(name) == {**states, "alive": "done"}
    (group,) = [group for group in other.groups(name) if group.step == "alive"]
    assert group.submissions[0].epoch == 2, "the next driver went on with it"
    assert (group.counts.succeeded, group.counts.open) == (4, 0)
