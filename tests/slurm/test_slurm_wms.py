"""Our WMS service through real sbatch: blocks, memory, faults told apart, refusals, and nothing left."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "wms"))

import wms_support as support
from cluster.running import Cluster
from wms_support import Rendering, Submission

from merian_campaign.domain.execution.journal import JobVerdict, JournalEvent, JournalRecord
from merian_campaign.domain.execution.quantum_progress import fold
from merian_campaign.domain.slurm.blocks import Block, BlockEvent, fold_blocks, parse_block_lines

# A slow, shared machine may take its time; nothing here waits longer than it must.
PATIENCE = 150.0
SITE: Mapping[str, Any] = {
    "class": "merian_campaign.wms.sites.Slurm",
    "cores": None,
    "cores_per_node": 2,
    "mem_per_node": 1.5,
    "walltime": "00:10:00",
    "status_seconds": 1.0,
    "heartbeat_seconds": 1,
    "heartbeat_patience": 6,
    "max_blocks": 1,
    "address": "127.0.0.1",
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return support.make_repo(tmp_path_factory.mktemp("repo") / "repo", detectors=6)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    left = [p.cmdline() for submit in tmp_path.glob("*-submit") for p in support.marked(str(submit))]
    assert left == []


def render(
    folder: Path, repo: Path, *, tasks: Mapping[str, Any], site: Mapping[str, Any], **extra: Any
) -> Submission:
    merged = {key: value for key, value in {**SITE, **site}.items() if value is not None}
    detectors = extra.pop("detectors", 3)
    choices = Rendering(
        tasks=tasks,
        site=merged,
        extra={"requestMemory": 200, **extra},
        query=f"instrument='Toy' AND detector < {detectors}",
    )
    return support.render(folder, repo=repo, name=folder.name, choices=choices)


def misbehaving(what: Mapping[int, str]) -> dict[str, Any]:
    return {"misbehave": dict(what)}


def blocks(submission: Submission) -> dict[str, Block]:
    path = submission.submit / "blocks.jsonl"
    return fold_blocks(parse_block_lines(path.read_text())) if path.exists() else {}


def running(submission: Submission) -> list[JournalRecord]:
    """Return the starts without an end."""
    found: dict[str, JournalRecord] = {}
    for record in submission.records():
        if record.event == JournalEvent.STARTED:
            found[record.job] = record
        elif record.event == JournalEvent.ENDED:
            found.pop(record.job, None)
    return list(found.values())


def wait_running(submission: Submission, count: int) -> list[JournalRecord]:
    def enough() -> list[JournalRecord]:
        found = running(submission)
        return found if len(found) >= count else []

    found: list[JournalRecord] = support.wait_for(enough, seconds=PATIENCE, what=f"{count} quanta running")
    return found


def most_at_once(submission: Submission, label: str) -> int:
    """Return how many quanta of a task ran at the same time on one node."""
    most, now = 0, 0
    for record in submission.records():
        if (
            record.label == label
            and record.event in (JournalEvent.STARTED, JournalEvent.ENDED)
            and record.slurm_node
        ):
            now += 1 if record.event == JournalEvent.STARTED else -1
            most = max(most, now)
    return most


def log(submission: Submission) -> str:
    return (submission.folder / f"{submission.folder.name}.driver.log").read_text()


def test_memory_is_shared_out_and_guarded_on_a_block(cluster: Cluster, folder: Path, repo: Path) -> None:
    """Requests decide who runs beside whom; one past its memory ends alone; what never fits is refused."""
    submission = render(
        folder,
        repo,
        detectors=4,
        tasks={
            "first": {"seconds": 1.0, **misbehaving({1: "grow:2000"})},
            "second": {"seconds": 0.5},
            "third": {},
        },
        site={"cores_per_node": 2, "workers_per_node": 4, "mem_per_node": 1.5, "nice": 7},
        pipetask={
            "first": {"requestMemory": 500},
            "second": {"requestMemory": 1000},
            "third": {"requestMemory": 9000},
        },
    )
    done = support.submit(submission)
    assert done.returncode == 10, done.stdout + done.stderr
    ended = {r.job: r for r in submission.ended("first")}
    greedy = [r for r in ended.values() if r.verdict != JobVerdict.OK]
    assert [r.verdict for r in greedy] == [JobVerdict.OUT_OF_MEMORY]
    assert greedy[0].evidence["requested_mb"] == 500
    assert len(ended) == 4
    block = next(iter(blocks(submission).values()))
    assert {(r.slurm_job, r.slurm_node in cluster.nodes) for r in ended.values()} == {(block.slurm_job, True)}
    assert cluster.facts(str(block.slurm_job))["Nice"] == "7"
    assert most_at_once(submission, "first") == 3  # of 1536 MiB
    assert most_at_once(submission, "second") == 1
    refused = submission.ended("third")
    assert {r.verdict for r in refused} == {JobVerdict.FAILED}
    assert "requestMemory of 9000 MiB is more than the 1536 MiB" in str(refused[0].evidence["refused"])
    # The block did not wait for its walltime.
    assert block.state == "CANCELLED"
    assert block.running is not None
    comments = [line.comment for line in parse_block_lines((submission.submit / "blocks.jsonl").read_text())]
    assert comments[0] == f"merian-campaign:{submission.submit}"


def test_faults_of_blocks_cost_a_quantum_nothing(cluster: Cluster, folder: Path, repo: Path) -> None:
    """Walltime, scancel, a lost node and preemption at once: all is run again on other blocks, free."""
    flags = {number: f"linger:{folder}/flag{number}" for number in range(4)}
    submission = render(
        folder,
        repo,
        detectors=4,
        tasks={"first": misbehaving(flags), "second": {}},
        site={"partition": "low", "cores_per_node": 1, "max_blocks": 4, "scheduler_options": SPREAD},
    )
    with support.started(submission) as driver:
        places = {r.slurm_job: str(r.slurm_node) for r in wait_running(submission, 4) if r.slurm_job}
        assert len(places) == 4
        expired, scancelled, crashed, preempted = places
        cluster.expire(expired)
        cluster.crash(places[crashed])
        cluster.notice(places[crashed])
        cluster.output("scancel", scancelled)
        rival = cluster.sbatch(
            "--partition=high", f"--nodelist={places[preempted]}", "--exclusive", wrap="sleep 600"
        )
        cluster.wait_state(rival, "RUNNING")
        cluster.output("scancel", rival)
        assert driver.wait(PATIENCE) == 0, log(submission)
    states = {job: block.state for job, block in blocks(submission).items()}
    assert states[expired] == "TIMEOUT"
    assert states[scancelled] == "CANCELLED"
    assert states[crashed] == "NODE_FAIL"
    assert states[preempted] in ("PREEMPTED", "CANCELLED")
    lost = [r for r in submission.ended() if r.verdict != JobVerdict.OK]
    assert {r.verdict for r in lost} == {JobVerdict.NODE_LOST}
    assert {r.slurm_job for r in lost} == set(places)
    assert all(progress.state == "ok" for progress in fold(submission.records()).values())


SPREAD = "#SBATCH --exclusive"


def test_only_who_took_the_memory_of_a_block_pays(cluster: Cluster, folder: Path, repo: Path) -> None:
    """Our guard looks away; the kernel or Slurm ends the block's hog, or the whole block with it."""
    submission = render(
        folder,
        repo,
        tasks={"first": {"seconds": 1.0, **misbehaving({0: "sleep:4", 1: "creep:3000"})}, "second": {}},
        site={
            "cores_per_node": 2,
            "workers_per_node": 3,
            "mem_per_node": 1.5,
            "memory_tolerance": 100.0,
            "cgroup": False,
        },
    )
    done = support.submit(submission)
    assert done.returncode == 10, submission.ended()
    charged = [r for r in submission.ended() if r.verdict not in (JobVerdict.OK, JobVerdict.NODE_LOST)]
    assert [r.verdict for r in charged] == [JobVerdict.OUT_OF_MEMORY]
    assert charged[0].evidence
    assert len({r.job for r in submission.ended("first") if r.verdict == JobVerdict.OK}) == 2
    assert len({r.job for r in submission.ended("second") if r.verdict == JobVerdict.OK}) == 2


def test_a_refused_block_ends_the_run_with_slurms_words(cluster: Cluster, folder: Path, repo: Path) -> None:
    submission = render(folder, repo, tasks={"first": {}}, site={"account": "nobody"})
    done = support.submit(submission)
    assert done.returncode == 11, done.stdout + done.stderr
    assert "Invalid account" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    lines = parse_block_lines((submission.submit / "blocks.jsonl").read_text())
    assert [line.event for line in lines] == [BlockEvent.SUBMITTING, BlockEvent.REFUSED]
    assert "Invalid account" in lines[1].text


def test_a_silent_controller_ends_nothing(cluster: Cluster, folder: Path, repo: Path) -> None:
    """While slurmctld is away quanta run on, and what comes after waits for it."""
    go = folder / "go"
    tasks = {"first": misbehaving(dict.fromkeys(range(3), f"wait:{go}")), "second": {}}
    submission = render(folder, repo, tasks=tasks, site={"cmd_timeout": 5})
    with support.started(submission) as driver:
        wait_running(submission, 2)
        cluster.stop_controller()
        support.wait_for(lambda: "Slurm takes no part" in log(submission), seconds=PATIENCE, what="silence")
        go.touch()
        support.wait_for(lambda: len(submission.ended("first")) == 3, seconds=PATIENCE, what="three ends")
        cluster.start_controller()
        assert driver.wait(PATIENCE) == 0, log(submission)


def test_blocks_of_a_dead_driver_are_found_by_their_name(cluster: Cluster, folder: Path, repo: Path) -> None:
    """Killed between sbatch and the record: the next driver ends that block; SIGTERM ends its own."""
    tasks = {"first": misbehaving(dict.fromkeys(range(3), "sleep:600"))}
    submission = render(folder, repo, tasks=tasks, site={"partition": "debug"})
    record = submission.submit / "blocks.jsonl"
    with support.started(submission) as driver:
        wait_running(submission, 2)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        (lost,) = blocks(submission)
        first = json.loads(record.read_text().splitlines()[0])
        record.write_text(json.dumps(first) + "\n")  # as if it had died before it wrote the id down
        assert [name for job, _, name in cluster.squeue() if job == lost] in ([], [first["name"]])

        again = (sys.executable, "-m", "merian_campaign.wms.submit", "--restart", str(submission.submit))
        with support.started(submission, *again) as second:
            started = support.wait_for(
                lambda: [r for r in running(submission) if r.slurm_job not in (None, lost)],
                seconds=PATIENCE,
                what="a quantum of the second driver",
            )
            assert cluster.state(lost) != "RUNNING"
            second.terminate()
            assert second.wait(60) == 128 + signal.SIGTERM
            assert cluster.squeue() == []
            assert started


@pytest.mark.soak
def test_a_block_drains_before_its_walltime(cluster: Cluster, folder: Path, repo: Path) -> None:
    """What is left is run in the next block; no quantum is cut off, none is run twice."""
    submission = render(
        folder,
        repo,
        detectors=6,
        tasks={"first": {"seconds": 5.0}},
        site={"cores_per_node": 1, "drain_seconds": 4},
    )
    done = support.submit(submission)
    assert done.returncode == 0, done.stdout + done.stderr
    ended = submission.ended("first")
    assert [record.verdict for record in ended] == [JobVerdict.OK] * 6
    assert len({record.slurm_job for record in ended}) >= 2
    started = [record for record in submission.records() if record.event == JournalEvent.STARTED]
    assert len(started) == 6
    assert cluster.squeue() == []
