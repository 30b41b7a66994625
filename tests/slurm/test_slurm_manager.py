"""The campaign manager on a cluster: drivers as jobs, one look a tick, refusals, cancelling, records."""

from __future__ import annotations

import json

import pytest
from cluster.running import Cluster
from manager_support import HELD, Toy, action, wait_for, watch

ASKING = ("squeue", "sacct", "sinfo", "scontrol")


def jobs(cluster: Cluster) -> list[tuple[str, str, str]]:
    return cluster.squeue()


def test_a_job_whose_answer_was_lost_is_found_by_its_name_and_never_submitted_twice(
    toy: Toy, cluster: Cluster
) -> None:
    name = toy.apply("lost", action("one"), driver={"scheduler_options": HELD})
    killing = watch(toy.folder / "killing", ["sbatch"], after="kill -9 $PPID")
    done = toy.run("tick", name, PATH=killing.path)
    assert done.returncode == -9, done.stderr
    ((job, state, job_name),) = jobs(cluster)
    assert state == "PENDING"
    assert toy.context.store.jobs(name) == ()
    for _ in range(2):
        assert toy.tick(name).live == 1
    assert [entry[0] for entry in jobs(cluster)] == [job]
    (row,) = toy.context.store.jobs(name)
    assert (row.job_id, row.role, row.name, row.slurm_state) == (job, "driver", job_name, "PENDING")
    # Cancelled in the queue: gone at once, and no driver is needed to say so.
    done = toy.run("cancel", name)
    assert done.returncode == 0, done.stderr
    assert job in done.stdout
    assert jobs(cluster) == []
    assert toy.finish(name) == {"one": "cancelled"}
    assert [row.fate for row in toy.context.store.jobs(name)] == ["cancelled"]


def test_fifty_live_jobs_cost_two_calls_and_a_silent_controller_nothing(
    toy: Toy, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"s{number:02d}" for number in range(50)]
    name = toy.apply("many", *map(action, names), driver={"scheduler_options": HELD})
    toy.tick(name)
    assert len(jobs(cluster)) == 50
    cluster.output("scancel", jobs(cluster)[0][0])
    watched = watch(toy.folder / "watched", ASKING)
    monkeypatch.setenv("PATH", watched.path)
    assert toy.tick(name).live == 50
    calls = watched.calls()
    assert 1 <= len(calls) <= 2, calls

    cluster.stop_controller()
    before = toy.context.store.snapshot(name)
    reports = [toy.tick(name) for _ in range(2)]
    assert all(report.actions == () for report in reports)
    assert all("Slurm does not answer" in report.notes[0] for report in reports)
    assert toy.context.store.snapshot(name) == before
    assert toy.run("cancel", name, "s07").returncode == 75
    cluster.start_controller()
    wait_for(cluster.controller_answers, what="controller")

    # What was asked for in the meantime is done now, and nothing else has changed.
    report = toy.tick(name)
    assert (report.live, report.notes) == (49, ())
    assert [state for state in toy.states(name).values() if state != "running"] == ["cancelled"]
    said = [
        event.to_state for event in toy.context.store.events(name, limit=500) if event.kind == "scheduler"
    ]
    assert said == ["answers", "unreachable"]
    assert len(jobs(cluster)) == 48
    toy.context.control.cancel(name)
    assert jobs(cluster) == []
    assert set(toy.finish(name).values()) == {"cancelled"}


def test_what_no_partition_can_run_is_never_submitted(toy: Toy, cluster: Cluster) -> None:
    name = toy.apply(
        "limits", toy.pipeline("bps"), action("act"), site={"partition": "short", "walltime": "01:00:00"},
    )  # fmt: skip
    toy.finish(name)
    refused = {group.step: group for group in toy.groups(name)}["bps"]
    assert refused.state.value == "needs_review"
    assert refused.submissions == ()
    assert "walltime of 01:00:00, partition 'short' allows 00:01:00" in refused.reason
    other = toy.apply("memory", toy.pipeline("bps"), site={"mem_per_node": 64})
    toy.finish(other)
    (refused,) = toy.groups(other)
    assert "asks for 65536 MB a node, partition 'debug' allows 4096 MB" in refused.reason


def test_a_refused_driver_is_told_in_the_words_of_sbatch(toy: Toy, cluster: Cluster) -> None:
    name = toy.apply("account", action("one"), driver={"account": "nobody"})
    assert toy.finish(name) == {"one": "needs_review"}
    (group,) = toy.groups(name)
    assert "Slurm refused the driver's job: " in group.reason
    assert "Invalid account" in group.reason


def test_refused_blocks_charge_no_quantum(toy: Toy, cluster: Cluster) -> None:
    name = toy.apply("blocks", toy.pipeline("bps"), site={"account": "nobody"})
    assert toy.finish(name) == {"bps": "needs_review"}
    (group,) = toy.groups(name)
    assert "Slurm refused its blocks: " in group.reason
    assert "Invalid account" in group.reason
    assert [entry.outcome.value for entry in group.submissions if entry.outcome] == ["failed", "failed"]
    assert toy.context.store.attempts(group_id=group.id) == ()
    assert sum(entry.charged_attempts for entry in group.open_quanta) == 0


def test_a_driver_job_with_a_block_cancelled_under_it_ends_well_and_all_is_on_record(
    toy: Toy, cluster: Cluster
) -> None:
    flag = toy.folder / "begun"
    step = toy.pipeline("bps", misbehave={3: f"linger:{flag}"})
    name = toy.apply("whole", step, driver={})
    block = toy.until(name, lambda: _block(toy, name) if flag.exists() else None, what="running block")
    cluster.output("scancel", block)
    assert toy.finish(name) == {"bps": "done"}
    rows = toy.context.store.jobs(name)
    drivers = [row for row in rows if row.role == "driver"]
    blocks = {row.job_id: row for row in rows if row.role == "block"}
    assert [(row.fate, row.slurm_state) for row in drivers] == [("completed", "COMPLETED")]
    assert blocks[block].fate == "cancelled"
    assert len(blocks) == 2
    (group,) = toy.groups(name)
    lost = [row for row in toy.context.store.attempts(group_id=group.id) if row.verdict]
    assert {row.verdict for row in lost} == {"node_lost"}
    assert all(f"Slurm job {block} was cancelled" in row.evidence for row in lost)
    shown = json.loads(toy.run("blocks", name, "--json").stdout)
    assert shown["blocks"]["number"] == 2
    assert 0 < shown["blocks"]["idle_seconds"] < shown["blocks"]["run_seconds"]
    assert block in toy.run("blocks", name).stdout


def _block(toy: Toy, name: str) -> str | None:
    alive = [
        row for row in toy.context.store.jobs(name) if row.role == "block" and row.slurm_state == "RUNNING"
    ]
    return alive[0].job_id if alive else None


def test_cancelling_reaches_blocks_whose_driver_is_gone(toy: Toy, cluster: Cluster) -> None:
    flag = toy.folder / "hanging"
    name = toy.apply("gone", toy.pipeline("bps", misbehave={3: f"linger:{flag}"}), driver={})
    block = toy.until(name, lambda: _block(toy, name) if flag.exists() else None, what="running block")
    (driver,) = [row.job_id for row in toy.context.store.jobs(name) if row.role == "driver"]
    cluster.output("scancel", "--signal=KILL", "--full", driver)
    cluster.wait_state(driver)
    done = toy.run("cancel", name)
    assert done.returncode == 0, done.stderr
    assert block in done.stdout
    assert jobs(cluster) == []
    assert toy.finish(name) == {"bps": "cancelled"}
    fates = {row.job_id: row.fate for row in toy.context.store.jobs(name)}
    assert fates[block] == "cancelled"
    assert fates[driver] in {"failed", "cancelled"}
