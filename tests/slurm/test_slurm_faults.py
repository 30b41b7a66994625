"""Faults of nodes, blocks and quanta as a campaign has them on record: verdict, charge, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from cluster.running import Cluster
from faults_support import Charge, Place, attempts, going, quanta, step
from manager_support import Toy, wait_for

from merian_campaign.domain.failures.remedy import MARGIN
from merian_campaign.domain.record.records import JobRow

DETECTORS = range(4)
OUTAGE_SECONDS = 60.0


def test_faults_of_nodes_and_blocks_cost_a_quantum_nothing(toy: Toy, cluster: Cluster) -> None:
    """A node drained, one lost, a block out of time, one preempted: all in one group."""
    name, go = "faults", toy.folder / "go"
    flags = {number: toy.folder / f"flag{number}" for number in DETECTORS if number}
    lingering = {number: f"linger:{flag}" for number, flag in flags.items()}
    toy.apply(
        name,
        step(
            toy.folder,
            name,
            misbehave={"first": {0: f"wait:{go}", **lingering}},
            resources={"first": {"memory": 400}},
        ),
        # A node a block, a quantum a block.
        site={"partition": "low", "cores_per_node": 1, "max_blocks": 4, "exclusive": True},
    )

    def all_run() -> dict[int, Place] | None:
        found = {detector: place for (_, detector), place in going(toy, name).running.items()}
        begun = all(flag.exists() for flag in flags.values())
        return found if begun and len(found) == len(DETECTORS) else None

    places = toy.until(name, all_run, what="four quanta on four nodes")
    assert len({place.node for place in places.values()}) == len(DETECTORS)
    drained, crashed, expired, preempted = (places[number] for number in DETECTORS)

    cluster.output("scontrol", "update", f"NodeName={drained.node}", "State=DRAIN", "Reason=to be mended")
    cluster.expire(expired.job)
    cluster.crash(crashed.node)
    rival = cluster.sbatch(
        "--partition=high", f"--nodelist={preempted.node}", "--exclusive", wrap="sleep 600"
    )
    cluster.wait_state(rival, "RUNNING")
    cluster.output("scancel", rival)
    # Slurm misses the node, or the run before it, which then lets the silent block go.
    missed = cluster.wait_state(crashed.job)
    assert cluster.wait_state(expired.job) == "TIMEOUT"
    # Nothing new goes to the drained node, but what runs there may end well.
    go.touch()
    assert toy.finish(name) == {name: "done"}
    assert cluster.squeue() == []

    on_record = {row.job_id: row for row in toy.context.store.jobs(name)}
    assert_blocks(on_record, places, missed=missed)
    later = [row for job, row in on_record.items() if job not in {place.job for place in places.values()}]
    assert {row.fate for row in later} <= {"cancelled", "completed"}
    assert {drained.node, crashed.node}.isdisjoint(row.nodes for row in later)

    words = {"NODE_FAIL": "lost its node (NODE_FAIL", "CANCELLED": "was cancelled"}[missed]
    lost = {
        1: (crashed, "node_lost", words),
        2: (expired, "walltime", "reached its time limit (TIMEOUT"),
        3: (preempted, "preempted", "was preempted (PREEMPTED"),
    }
    tried = attempts(toy, name)
    assert set(tried) == {("first", number) for number in lost}
    for number, (place, verdict, words) in lost.items():
        first, second = tried["first", number]
        assert (first["state"], first["verdict"], first["charged"]) == ("failed", verdict, False)
        assert first["evidence"].startswith(f"its Slurm job {place.job} {words}"), first["evidence"]
        assert f"on {place.node}" in first["evidence"]
        assert ("fallen silent before" in first["evidence"]) == (words == "was cancelled")
        assert (second["state"], second["verdict"], second["charged"]) == ("succeeded", None, True)
        assert first["started"] < second["started"]
    assert charges(toy, name) == {
        ("first", number): Charge(attempts=2 if number in lost else 1, charged=1, memory=0, requested_mb=400)
        for number in DETECTORS
    }
    (group,) = toy.groups(name)
    assert [entry.remedy.memory_mb for entry in group.submissions] == [()]


def test_only_who_took_too_much_memory_pays_and_gets_more(toy: Toy, cluster: Cluster) -> None:
    """One past its request while Slurm is away; one past its block, which has less than is shared out."""
    if cluster.memory_kill != "cgroup1":
        pytest.skip("Slurm's own watch counts shared pages once a process: too much for blocks this small")
    name, early, go, done = "memory", *(toy.folder / word for word in ("early", "begin", "done"))
    greedy, hog, neighbour, quiet = ("small", 2), ("big", 1), ("small", 3), ("small", 0)
    toy.apply(
        name,
        step(
            toy.folder,
            name,
            misbehave={
                "small": {0: f"wait:{early}", 2: "grow:450", 3: f"wait:{done}"},
                "big": {1: f"wait:{go};creep:1000"},
            },
            resources={
                "small": {"memory": 150, "memory_multiplier": 4},
                "big": {"memory": 600, "memory_multiplier": 3},
            },
        ),
        # The guard sees to 150 MiB times its tolerance, and for the big one looks no further than the block.
        site={"mem_per_node": 1, "memory_mb": 1700, "memory_tolerance": 2.5, "workers_per_node": 4},
        larger=[{"mem_per_node": 3}],
    )
    everything = {(task, number) for task in ("small", "big") for number in DETECTORS}
    toy.until(name, lambda: going(toy, name).running, what="the first quantum")
    ending = everything - {hog, neighbour, quiet}
    assert going(toy, name).ended < ending
    without_controller(toy, cluster, name, ending=ending, quiet=quiet, go=early)
    block = going(toy, name).running[hog]
    assert going(toy, name).running == dict.fromkeys((hog, neighbour), block)
    go.touch()
    toy.until(name, lambda: hog in going(toy, name).ended, what="the end of the block's memory")
    done.touch()
    assert toy.finish(name) == {name: "done"}
    assert cluster.squeue() == []

    tried = attempts(toy, name)
    charged = {key: [row for row in entries if row["charged"]] for key, entries in tried.items()}
    assert {key for key, entries in charged.items() if len(entries) > 1} == {greedy, hog}
    given: dict[str, int] = {}
    for key, asked, multiplied in ((greedy, 150, 600), (hog, 600, 1800)):
        first, second = charged[key]
        raised = given[key[0]] = max(multiplied, int(first["peak_mb"] * MARGIN))
        assert (first["submission"], first["state"], first["verdict"]) == (1, "failed", "out_of_memory")
        assert (second["submission"], second["state"], second["verdict"]) == (2, "succeeded", None)
        assert (first["requested_mb"], second["requested_mb"]) == (asked, raised)
        assert first["peak_mb"] > asked
        assert charges(toy, name)[key] == Charge(
            attempts=len(tried[key]), charged=2, memory=1, requested_mb=raised
        )
    assert "over the limit of 375 MB" in charged[greedy][0]["evidence"]
    assert f"it ran in Slurm job {block.job} on {block.node}" in charged[hog][0]["evidence"]
    for key in everything - {greedy, hog}:
        asked = 150 if key[0] == "small" else 600
        assert charges(toy, name)[key] == Charge(
            attempts=len(tried.get(key, [None])), charged=1, memory=0, requested_mb=asked
        )
    (group,) = toy.groups(name)
    assert [entry.remedy.memory_mb for entry in group.submissions] == [(), tuple(sorted(given.items()))]


def without_controller(
    toy: Toy, cluster: Cluster, name: str, *, ending: set[tuple[str, int]], quiet: tuple[str, int], go: Path
) -> None:
    """Take the controller away for a minute: quanta begin and end, and nothing is concluded for others."""
    context, began = toy.context, time.monotonic()
    cluster.stop_controller()

    def silent() -> bool:
        report = toy.tick(name, context=context)
        assert report.actions == ()
        assert "Slurm does not answer" in report.notes[0]
        assert toy.states(name) == {name: "running"}
        return True

    wait_for(lambda: silent() and going(toy, name).ended == ending, what="all others' ends")
    go.touch()
    wait_for(lambda: silent() and quiet in going(toy, name).ended, what="a quantum's end")
    wait_for(lambda: silent() and time.monotonic() - began >= OUTAGE_SECONDS, what="a minute's end")
    states = {key: row["state"] for key, row in quanta(toy, name).items()}
    assert {key for key, state in states.items() if state in {"succeeded", "failed"}} == ending | {quiet}
    assert {state for key, state in states.items() if key not in ending | {quiet}} == {"running"}
    cluster.start_controller()
    wait_for(cluster.controller_answers, what="controller")


def assert_blocks(on_record: Mapping[str, JobRow], places: Mapping[int, Place], *, missed: str) -> None:
    """Each of the first four blocks is on record as its fault has it, with its node and times."""
    rows = [on_record[places[number].job] for number in DETECTORS]
    # The drained node's block was let go when there was nothing to do any more.
    assert [(row.fate, row.slurm_state) for row in rows] == [
        ("cancelled", "CANCELLED"), ("node_lost" if missed == "NODE_FAIL" else "cancelled", missed),
        ("walltime", "TIMEOUT"), ("preempted", "PREEMPTED"),
    ]  # fmt: skip
    for row, place in zip(rows, (places[number] for number in DETECTORS), strict=True):
        assert (row.role, row.nodes, row.restarts) == ("block", place.node, 0)
        assert row.submitted is not None
        assert row.started is not None
        assert row.ended is not None
        assert row.submitted <= row.started < row.ended
        assert row.exit_code is not None
        assert row.busy_seconds is not None
        assert 0 <= row.busy_seconds <= (row.ended - row.started).total_seconds()


def charges(toy: Toy, name: str) -> dict[tuple[str, int], Charge]:
    """Return what every quantum cost; all of them have succeeded."""
    rows = quanta(toy, name)
    assert {row["state"] for row in rows.values()} == {"succeeded"}
    return {
        key: Charge(
            attempts=row["attempts"],
            charged=row["charged_attempts"],
            memory=row["memory_attempts"],
            requested_mb=row["requested_mb"],
        )
        for key, row in rows.items()
    }
