"""The campaign manager on a cluster: drivers as jobs, one look a tick, refusals, cancelling, records."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from cluster.config import ADMINISTRATOR
from cluster.running import Cluster
from faults_support import attempts, quanta
from manager_support import HELD, Toy, action, wait_for, watch

from merian_campaign.domain.record.records import JobRow
from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.states import GroupState

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


def test_what_slurm_takes_is_submitted_whatever_its_partitions_say(toy: Toy) -> None:
    patient = {"partition": "short", "walltime": "00:30:00", "qos": "patient"}
    name = toy.apply("patient", toy.pipeline("bps"), site=patient)
    found = json.loads(toy.run("preflight", name, "--json").stdout)["findings"]
    assert [entry for entry in found if "walltime" in entry["message"]] == []
    assert toy.finish(name) == {"bps": "done"}


def test_the_preflight_asks_the_cluster_itself(toy: Toy, cluster: Cluster) -> None:
    wrong = toy.apply("nobodys", toy.pipeline("bps"), site={"account": "nobodys"})
    done = toy.run("preflight", wrong, "--json")
    assert done.returncode == 2, done.stdout + done.stderr
    told = [entry["message"] for entry in json.loads(done.stdout)["findings"] if entry["place"] == "Slurm"]
    assert len(told) == 1
    assert "Invalid account" in told[0]
    fine = toy.apply("fine", toy.pipeline("bps"))
    found = json.loads(toy.run("preflight", fine, "--json").stdout)["findings"]
    assert [entry for entry in found if entry["place"] == "Slurm"] == []
    assert jobs(cluster) == []


def test_drivers_and_blocks_that_are_jobs_set_up_the_stack(toy: Toy) -> None:
    trace = toy.folder / "set-up-in"
    # Nothing of the driver's environment comes into its blocks by itself.
    name = toy.apply(
        "stacked", toy.pipeline("bps"), driver={}, site={"scheduler_options": "#SBATCH --export=NONE\n"},
        stack={"prelude": f'echo "$SLURM_JOB_ID" >> {trace}\nexport SETUP_TOY="toy 1"'},
    )  # fmt: skip
    assert toy.finish(name) == {"bps": "done"}
    rows = by_id(toy, name)
    assert {row.role for row in rows} == {"driver", "block"}
    # A driver has laid down what is Slurm's before it begins: its blocks must not inherit that.
    # The first is the tick's own look at the registry.
    assert trace.read_text().splitlines() == ["", "", *(row.job_id for row in rows if row.role == "block")]
    (group,) = toy.groups(name)
    versions = json.loads((Path(group.submissions[0].directory) / "versions.json").read_text())
    assert "toy" in json.dumps(versions)


SMALL = f"{shutil.which('scontrol')} update PartitionName=small MaxTime="
REFUSED = {
    "account": ({"account": "granted"}, "Invalid account"),
    "quality": ({"qos": "brief"}, "QOSMaxWallDurationPerJobLimit"),
    "partition": (
        {"partition": "small", "mem_mb": 500, "time": "00:08:00"},
        "Requested time limit is invalid",
    ),
}


def test_a_refused_driver_is_told_in_the_words_of_sbatch_and_runs_once_it_may(
    toy: Toy, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for what, (options, words) in REFUSED.items():
        name = toy.apply(what, action("one"), driver=options)
        with monkeypatch.context() as patch:
            if what == "partition":  # its limit is lowered after it was looked at
                lowering = watch(toy.folder / "lowering", ["scontrol"], after=f"{SMALL}5")
                patch.setenv("PATH", lowering.path)
            toy.tick(name)
        (group,) = toy.groups(name)
        assert group.state.value == "needs_review"
        assert "Slurm refused the driver's job: " in group.reason
        assert words in group.reason
    cluster.grant("granted")
    cluster.output("sacctmgr", "-i", "modify", "qos", "brief", "set", "MaxWall=60")
    cluster.output(*f"{SMALL}10".split())
    for name, (options, _) in REFUSED.items():
        cluster.until_taken(*(f"--{key}={value}" for key, value in options.items() if key != "mem_mb"))
        toy.context.control.retry(name, groups=["one"], reason="allowed now")
        toy.tick(name)
    assert [toy.finish(name) for name in REFUSED] == [{"one": "done"}] * len(REFUSED)


def test_refused_blocks_charge_no_quantum(toy: Toy, cluster: Cluster) -> None:
    name = toy.apply("blocks", toy.pipeline("bps"), site={"account": "later"})
    assert toy.finish(name) == {"bps": "needs_review"}
    (group,) = toy.groups(name)
    assert "Slurm refused its blocks: " in group.reason
    assert "Invalid account" in group.reason
    assert [entry.outcome.value for entry in group.submissions if entry.outcome] == ["failed", "failed"]
    assert toy.context.store.attempts(group_id=group.id) == ()
    assert sum(entry.charged_attempts for entry in group.open_quanta) == 0
    cluster.grant("later")
    cluster.until_taken("--account=later")
    toy.context.control.retry(name, groups=["bps"], reason="allowed now")
    assert toy.finish(name) == {"bps": "done"}
    assert {row["charged_attempts"] for row in quanta(toy, name).values()} == {1}


def test_a_campaign_keeps_within_its_share_of_blocks_and_jobs(toy: Toy, cluster: Cluster) -> None:
    steps = [toy.pipeline(f"s{number}") for number in range(3)]
    name = toy.apply(
        "share", *steps, action("act", priority=5), site={"max_blocks": 4}, limits={"blocks": 5, "jobs": 9},
        driver={"scheduler_options": HELD},
    )  # fmt: skip
    mine = cluster.sbatch("--hold", wrap="true")
    watched = watch(toy.folder / "counted", ASKING)
    done = toy.run("tick", name, PATH=watched.path)
    assert done.returncode == 0, done.stderr
    assert sorted(watched.calls()) == ["scontrol", "squeue"]
    # Of nine jobs: one that is another's, the action, four blocks and their driver, and what that leaves.
    assert "s0/all: submission 1 started (all it needs is done);" in done.stdout
    assert "s1/all: submission 1 started (all it needs is done; 1 of 4 blocks)" in done.stdout
    assert "ready groups wait for limits.blocks: " in done.stderr
    given = {
        group.step: yaml.safe_load((Path(group.submissions[0].directory) / "submit.yaml").read_text())
        for group in toy.groups(name)
        if group.submissions and group.step != "act"
    }
    assert {step: read["site"]["x"]["max_blocks"] for step, read in given.items()} == {"s0": 4, "s1": 1}
    assert {job for job, _, _ in jobs(cluster)} == {mine, *(row.job_id for row in by_id(toy, name))}
    assert len(jobs(cluster)) == 4
    assert "s2/all: stays ready (limits.blocks: " in toy.run("plan", name).stdout
    assert toy.run("cancel", name, "s1").returncode == 0
    others = [cluster.sbatch("--hold", wrap="true") for _ in range(2)]
    # Now blocks are free, but too few jobs beside those of others.
    report = toy.tick(name)
    assert [words for words in report.notes if words.startswith("ready groups wait for limits.jobs: ")]
    assert not report.idle
    cluster.output("scancel", *others)
    toy.until(name, lambda: len(jobs(cluster)) == 4, what="third driver", seconds=60)
    read = yaml.safe_load((Path(toy.groups(name)[2].submissions[0].directory) / "submit.yaml").read_text())
    assert read["site"]["x"]["max_blocks"] == 1
    cluster.output("scancel", mine)
    toy.context.control.cancel(name)
    assert set(toy.finish(name).values()) == {"cancelled"}


def by_id(toy: Toy, name: str) -> list[JobRow]:
    return sorted(toy.context.store.jobs(name), key=lambda row: int(row.job_id))


def test_a_driver_job_with_blocks_put_off_cancelled_and_requeued_ends_well_and_all_is_on_record(
    toy: Toy, cluster: Cluster
) -> None:
    flags = [toy.folder / word for word in ("begun", "begun-too")]
    step = toy.pipeline("bps", misbehave={3: f"linger:{flags[0]};linger:{flags[1]}"})
    name = toy.apply("whole", action("act"), step, driver={"qos": "few"}, site={"qos": "few"})
    put_off(toy, cluster, name)
    block = toy.until(name, lambda: flags[0].exists() and _block(toy, name), what="running block")
    (driver,) = [row.job_id for row in by_id(toy, name) if row.role == "driver" and row.fate == "alive"]
    # Not even an administrator makes them run twice, unless that is asked for in so many words.
    for job in (block, driver):
        assert cluster.administer("scontrol", "requeue", job).returncode != 0
    assert cluster.administer("scancel", block).returncode == 0
    requeued = toy.until(name, lambda: flags[1].exists() and _block(toy, name), what="second block")
    assert requeued != block
    cluster.output("scontrol", "update", f"JobId={requeued}", "Requeue=1")
    assert cluster.administer("scontrol", "requeue", requeued).returncode == 0
    # A driver that ends while a tick is at work is not judged by what Slurm had said before.
    toy.until(name, lambda: _block(toy, name) == requeued, what="requeued block")
    (group,) = [group for group in toy.groups(name) if group.live is not None]
    outcome = SubmissionPaths(directory=group.live.directory).outcome if group.live else ""
    slow = watch(toy.folder / "slow", ["squeue"], after=f"until [ -e '{outcome}' ]; do sleep 0.1; done")
    assert toy.run("tick", name, PATH=slow.path).returncode == 0
    assert toy.states(name)["bps"] == "running"
    assert toy.finish(name) == {"act": "done", "bps": "done"}
    rows = by_id(toy, name)
    assert [(row.fate, row.slurm_state) for row in rows if row.role == "driver"] == [
        ("completed", "COMPLETED")
    ] * 2
    blocks = {row.job_id: row for row in rows if row.role == "block"}
    assert blocks[block].fate == "cancelled"
    assert blocks[requeued].restarts == 1
    first, second, third = attempts(toy, name)["first", 3]
    for lost in (first, second):
        assert (lost["state"], lost["verdict"], lost["charged"]) == ("failed", "node_lost", False)
    who = ADMINISTRATOR if os.geteuid() == 0 else getpass.getuser()
    assert f"Slurm job {block} was cancelled by user {who}" in first["evidence"]
    assert (third["state"], third["charged"]) == ("succeeded", True)
    assert {row["charged_attempts"] for row in quanta(toy, name).values()} == {1}
    assert all(len(group.submissions) == 1 for group in toy.groups(name))
    shown = json.loads(toy.run("blocks", name, "--json").stdout)
    assert shown["blocks"]["number"] == len(blocks)
    assert 0 < shown["blocks"]["idle_seconds"] < shown["blocks"]["run_seconds"]
    assert block in toy.run("blocks", name).stdout


def put_off(toy: Toy, cluster: Cluster, name: str) -> None:
    """Two jobs are all that Slurm takes, and one is another's: a driver waits, then a block."""
    occupant = cluster.sbatch("--qos=few", "--hold", wrap="true")
    context = toy.context
    report = toy.tick(name, context=context)
    assert report.live == 2
    why = "QOSMaxSubmitJobPerUserLimit"
    assert f"bps/all: Slurm takes no driver's job for now ({why}; " in report.actions[-1]
    assert report.notes[0].startswith(f"Slurm takes no driver's job for now: {why}; ")

    def no_block() -> bool:
        return any(f"no block for now: {why}" in note for note in toy.tick(name, context=context).notes)

    wait_for(no_block, what="a block that is not taken", seconds=120)
    cluster.output("scancel", occupant)


def _block(toy: Toy, name: str) -> str | None:
    alive = [
        row for row in toy.context.store.jobs(name) if row.role == "block" and row.slurm_state == "RUNNING"
    ]
    return alive[0].job_id if alive else None


def test_cancelling_reaches_blocks_whose_driver_is_back_in_the_queue(toy: Toy, cluster: Cluster) -> None:
    flag = toy.folder / "hanging"
    name = toy.apply("gone", toy.pipeline("bps", misbehave={3: f"linger:{flag}"}), driver={})
    block = toy.until(name, lambda: _block(toy, name) if flag.exists() else None, what="running block")
    (driver,) = [row.job_id for row in toy.context.store.jobs(name) if row.role == "driver"]
    cluster.output("scontrol", "update", f"JobId={driver}", "Requeue=1")
    assert cluster.administer("scontrol", "requeuehold", driver).returncode == 0
    cluster.wait_state(driver, "PENDING")
    done = toy.run("cancel", name)
    assert done.returncode == 0, done.stderr
    assert {block, driver} <= set(re.findall(r"\d+", done.stdout))
    assert jobs(cluster) == []
    assert toy.finish(name) == {"bps": "cancelled"}
    fates = {row.job_id: row.fate for row in toy.context.store.jobs(name)}
    assert fates[block] == "cancelled"
    assert fates[driver] == "cancelled"


def insert_exposures(repo: Path, *ids: int) -> None:
    from lsst.daf.butler import Butler  # noqa: PLC0415 - heavy; only where it is needed

    with Butler.from_config(str(repo), writeable=True) as butler:
        insert = butler.registry.insertDimensionData
        insert("physical_filter", {"instrument": "Toy", "name": "r", "band": "r"})
        insert("day_obs", {"instrument": "Toy", "id": 20260101})
        insert("group", {"instrument": "Toy", "name": "one"})
        common = {"instrument": "Toy", "physical_filter": "r", "day_obs": 20260101, "group": "one"}
        insert("exposure", *({**common, "id": number, "obs_id": f"{number}"} for number in ids))


@pytest.mark.soak
def test_stragglers_wait_for_each_other_and_share_an_exclusive_node(toy: Toy, cluster: Cluster) -> None:
    late, go = toy.folder / "late", toy.folder / "go"
    # Both groups fail once, the one that comes second when it is told to, and are held at their second try.
    told = f"once:{toy.folder}/first;wait:{late};once:{toy.folder}/second;wait:{go}"
    step = toy.pipeline("bps", misbehave={0: told})
    insert_exposures(toy.repo, 1, 2)
    cut = {"kind": "exposure", "ids": [1, 2], "size": 1}
    step = {**step, "where": "detector = 0", "partial": ["first"], "group_by": cut}
    name = toy.apply("packed", step, site={"partition": "large", "mem_per_node": 4, "exclusive": True})

    def straggler() -> GroupView | None:
        left = [one for one in toy.groups(name) if one.state is GroupState.READY and one.submissions]
        return left[0] if left else None

    first = toy.until(name, straggler, what="straggler")
    report = toy.tick(name)
    assert (report.actions, report.live, report.idle) == ((), 1, False)
    (words,) = report.notes
    assert words.startswith("ready groups wait for afterburner.collect_hours: 1 quantum of 1 group of bps ")
    assert "stays ready (afterburner.collect_hours: 1 quantum " in toy.run("plan", name).stdout
    assert "others to share a node with" in toy.run("show", name, f"bps/{first.key}").stdout
    late.touch()

    def packed() -> list[str]:
        lines = cluster.output("squeue", "-h", "-t", "RUNNING", "-o", "%N %C %m %h").splitlines()
        return lines if len(lines) == 2 else []

    one, other = toy.until(name, packed, what="two blocks at once")
    assert one == other
    assert one.split()[1:] == ["1", "2G", "USER"]
    go.touch()
    assert toy.finish(name) == {"bps": "done"}
    assert [len(group.submissions) for group in toy.groups(name)] == [2, 2]
