"""What Slurm's words mean to our WMS service, and whose fault a lost block was; no cluster needed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from merian_campaign.domain.journal import Event, Record, Verdict
from merian_campaign.wms.casualty import BlockView, Casualties, speaks_of_memory
from merian_campaign.wms.ending import drain_moment
from merian_campaign.wms.journal import Journal
from merian_campaign.wms.process import Identity, own_identity
from merian_campaign.wms.samples import Holding, NodeSample, SamplesFile, culprit
from merian_campaign.wms.slurm import (
    BusyError,
    RefusedBySlurmError,
    UnreachableError,
    read_accounting,
    read_queue,
    refusal,
)


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        (
            "Invalid account or account/partition combination specified",
            RefusedBySlurmError,
        ),
        ("Batch job submission failed: Requested time limit is invalid", RefusedBySlurmError),
        (
            "Unable to contact slurm controller (connect failure)",
            UnreachableError,
        ),
        ("Batch job submission failed: Socket timed out on send/recv operation", UnreachableError),
        ("QOSMaxSubmitJobPerUserLimit; Job violates accounting/QOS policy (job submit limit)", BusyError),
    ],
)
def test_what_sbatch_says(words: str, meaning: type[RuntimeError]) -> None:
    assert refusal(f"sbatch: error: {words}") is meaning


def test_answers_are_read_whatever_they_look_like() -> None:
    seen = {job.slurm_job: job for job in read_queue("7|RUNNING|None\n 8|PENDING|(Priority)\nbroken\n\n")}
    assert (seen["7"].state, seen["7"].reason, seen["7"].live) == ("RUNNING", "", True)
    assert seen["8"].live
    told = {
        job.slurm_job: job.state
        for job in read_accounting(
            "7|RESIZING|mine\n7|OUT_OF_ME+|mine\n8|CANCELLED by 1000|mine\n9|FAILED|another's\n10||mine\n",
            name="mine",
        )
    }
    assert told == {"7": "OUT_OF_MEMORY", "8": "CANCELLED"}


def test_slurms_ways_to_speak_of_memory() -> None:
    assert speaks_of_memory("OUT_OF_MEMORY", "")
    assert speaks_of_memory("FAILED", "slurmstepd: error: StepId=3.batch exceeded memory limit (900 > 500)")
    assert not speaks_of_memory("FAILED", "Traceback")
    assert not speaks_of_memory("NODE_FAIL", "exceeded memory limit")


def holding(job: str, requested: float | None, peak: float) -> Holding:
    return Holding(job=job, requested_mb=requested, resident_mb=peak, peak_mb=peak)


def test_the_culprit_went_furthest_past_its_request() -> None:
    large, hog, slight = holding("large", 4000, 3900), holding("hog", 200, 900), holding("slight", 300, 320)
    assert culprit([large, hog, slight]) is hog
    assert culprit([large]) is None
    assert culprit([]) is None


def started(job: str) -> Record:
    return Record(
        event=Event.STARTED, job=job, label="t", quanta=(job,), host="h", slurm_job="5", slurm_node="n1"
    )


@pytest.mark.parametrize(
    ("state", "charged"), [("OUT_OF_MEMORY", ["hog"]), ("NODE_FAIL", []), ("PREEMPTED", []), ("", [])]
)
def test_a_block_killed_as_a_whole_charges_its_culprit_alone(
    tmp_path: Path, state: str, charged: list[str]
) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write(started("done"), started("hog"), started("good"))
    journal.write(Record(event=Event.ENDED, job="done", verdict=Verdict.OK))
    jobs = (holding("hog", 200, 900), holding("good", 300, 250))
    SamplesFile(tmp_path, owner=own_identity()).write(
        NodeSample(host="h", slurm_job="5", slurm_node="n1", shares_mb=1000, granted_mb=1000, jobs=jobs)
    )
    view = BlockView(states=lambda: {"5": state}, output=lambda _: None)
    casualties = Casualties(tmp_path, view=view)
    found = {name: casualties.judge(name, error="ManagerLost") for name in ("hog", "good", "done", "waiting")}
    assert found["done"] is None
    assert found["waiting"] is None
    ended = {name: record for name, record in found.items() if record is not None}
    assert set(ended) == {"hog", "good"}
    assert [name for name, record in ended.items() if record.verdict == Verdict.OUT_OF_MEMORY] == charged
    free = [record for name, record in ended.items() if name not in charged]
    assert {record.verdict for record in free} == {Verdict.NODE_LOST}
    assert {record.slurm_job for record in ended.values()} == {"5"}
    journal.write(*ended.values())
    assert casualties.judge("hog", error="ManagerLost") is None  # told once


def test_a_pool_drains_so_long_after_its_own_start() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    ago = Identity(host="h", pid=1, pid_start=int((time.clock_gettime(time.CLOCK_BOOTTIME) - 50) * ticks))
    assert drain_moment(ago, after_s=60) - time.monotonic() == pytest.approx(10, abs=1)
    assert drain_moment(ago, after_s=0) == float("inf")
    assert drain_moment(None, after_s=60) == float("inf")
