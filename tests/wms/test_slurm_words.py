"""What Slurm's words mean to our WMS service, and whose fault a lost block was; no cluster needed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from parsl.launchers import SimpleLauncher

from merian_campaign.domain.execution.journal import JobVerdict, JournalEvent, JournalRecord
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.host.processes import identity
from merian_campaign.wms.block_records import BlockRecords
from merian_campaign.wms.journal_writer import Journal
from merian_campaign.wms.lost_jobs import BlockView, LostJobs, speaks_of_memory
from merian_campaign.wms.node.block_shutdown import drain_moment
from merian_campaign.wms.node.memory_samples import Holding, NodeSample, SamplesFile, culprit
from merian_campaign.wms.sites.provider import BlockRequest, CampaignSlurmProvider, Scaling
from merian_campaign.wms.slurm_blocks import (
    RefusedBySlurmError,
    SlurmBusyError,
    UnreachableError,
    accounting,
    queue,
    submit_script,
)


def commands(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Put commands of Slurm's names on the PATH."""
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.defpath}")


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("Invalid account or account/partition combination specified", RefusedBySlurmError),
        ("Batch job submission failed: Requested time limit is invalid", RefusedBySlurmError),
        ("Unable to contact slurm controller (connect failure)", UnreachableError),
        ("Batch job submission failed: Socket timed out on send/recv operation", UnreachableError),
        (
            "QOSMaxSubmitJobPerUserLimit; Job violates accounting/QOS policy (job submit limit)",
            SlurmBusyError,
        ),
    ],
)
def test_what_sbatch_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, meaning: type[RuntimeError]
) -> None:
    commands(tmp_path, monkeypatch, sbatch=f"echo 'sbatch: error: {words}' >&2; exit 1")
    with pytest.raises(meaning) as caught:
        submit_script(tmp_path / "script", timeout=60)
    assert str(caught.value) == words


def line(job: str, state: str, reason: str = "None", *, name: str = "mine") -> str:
    times = "2026-11-22T15:00:00|2026-11-22T15:01:00|N/A|0"
    return f"{job}|{state}|{reason}|n1|{times}|{name}|(null)"


def test_answers_are_read_whatever_they_look_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "queue").write_text(
        "\n".join(
            [line("7", "RUNNING"), line("8", "PENDING", "(Priority)"), line("9", "NEW"), "broken", "", ""]
        )
    )
    times = "2026-11-22T15:00:00|2026-11-22T15:01:00|Unknown|0:0"
    told = [("7", "RESIZING", "mine"), ("7", "OUT_OF_ME+", "mine"), ("8", "CANCELLED by 1000", "mine")]
    told += [("9", "FAILED", "another's"), ("10", "", "mine")]
    (tmp_path / "told").write_text(
        "".join(f"{job}|{state}|None|n1|{times}|{name}|\n" for job, state, name in told)
    )
    commands(tmp_path, monkeypatch, squeue=f"cat {tmp_path}/queue", sacct=f"cat {tmp_path}/told")
    seen = queue("mine", timeout=60)
    assert (seen["7"].state, seen["7"].reason, seen["7"].alive) == ("RUNNING", "", True)
    assert seen["8"].alive
    assert (seen["9"].alive, seen["9"].over) == (False, False)
    known = accounting(["7", "8", "9", "10"], name="mine", timeout=60)
    assert {job: each.state for job, each in known.items()} == {
        "7": "OUT_OF_MEMORY", "8": "CANCELLED", "10": "",
    }  # fmt: skip
    commands(tmp_path, monkeypatch, squeue="exit 1", sacct="exit 1")
    with pytest.raises(UnreachableError, match="squeue said nothing"):
        queue("mine", timeout=60)
    assert accounting(["7"], name="mine", timeout=60) == {}


def test_a_block_in_a_state_that_is_not_known_is_asked_about_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = tmp_path / "word"
    commands(
        tmp_path, monkeypatch, sbatch="echo 7", sacct="exit 1",
        squeue=f'echo "7|$(cat {word})|None|n1|2026-11-22T15:00:00|2026-11-22T15:01:00|N/A|0|mine|(null)"',
    )  # fmt: skip
    provider = CampaignSlurmProvider(
        book=BlockRecords(tmp_path, name="mine"),
        request=BlockRequest(directives=(), prelude="", nodes=1, cores_per_node=1, walltime="01:00:00"),
        scaling=Scaling(init_blocks=1, min_blocks=0, max_blocks=1, parallelism=1.0, poll_seconds=0.0),
        cmd_timeout=60,
        launcher=SimpleLauncher(),
    )
    provider.script_dir = str(tmp_path)
    assert provider.submit("true", 1) == "7"
    seen = []
    for state in ("PENDING", "BRAND_NEW", "RUNNING", "UPDATE_DB", "COMPLETED"):
        word.write_text(state)
        (status,) = provider.status(["7"])
        seen.append(status.state.name)
    assert seen == ["PENDING", "PENDING", "RUNNING", "RUNNING", "COMPLETED"]
    told = [each.state for each in BlockRecords(tmp_path).read() if each.event == "state"]
    assert told == ["PENDING", "BRAND_NEW", "RUNNING", "UPDATE_DB", "COMPLETED"]


def test_slurms_ways_to_speak_of_memory() -> None:
    assert speaks_of_memory("OUT_OF_MEMORY", "")
    assert speaks_of_memory("FAILED", "slurmstepd: error: StepId=3.batch exceeded memory limit (900 > 500)")
    assert speaks_of_memory("COMPLETING", "slurmstepd: error: Detected 1 oom_kill event in StepId=3.0.")
    assert not speaks_of_memory("FAILED", "Traceback")
    assert not speaks_of_memory("NODE_FAIL", "exceeded memory limit")


def holding(job: str, requested: float | None, peak: float) -> Holding:
    return Holding(job=job, requested_mb=requested, resident_mb=peak, peak_mb=peak)


def test_the_culprit_went_furthest_past_its_request() -> None:
    large, hog, slight = holding("large", 4000, 3900), holding("hog", 200, 900), holding("slight", 300, 320)
    assert culprit([large, hog, slight]) is hog
    assert culprit([large]) is None
    assert culprit([]) is None


def started(job: str) -> JournalRecord:
    return JournalRecord(
        event=JournalEvent.STARTED,
        job=job,
        label="t",
        quanta=(job,),
        host="h",
        slurm_job="5",
        slurm_node="n1",
    )


@pytest.mark.parametrize(
    ("state", "charged"), [("OUT_OF_MEMORY", ["hog"]), ("NODE_FAIL", []), ("PREEMPTED", []), ("", [])]
)
def test_a_block_killed_as_a_whole_charges_its_culprit_alone(
    tmp_path: Path, state: str, charged: list[str]
) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write(started("done"), started("hog"), started("good"))
    journal.write(JournalRecord(event=JournalEvent.ENDED, job="done", verdict=JobVerdict.OK))
    jobs = (holding("hog", 200, 900), holding("good", 300, 250))
    SamplesFile(tmp_path, owner=identity()).write(
        NodeSample(host="h", slurm_job="5", slurm_node="n1", shares_mb=1000, granted_mb=1000, jobs=jobs)
    )
    view = BlockView(states=lambda: {"5": state}, output=lambda _: None)
    casualties = LostJobs(tmp_path, view=view)
    found = {name: casualties.judge(name, error="ManagerLost") for name in ("hog", "good", "done", "waiting")}
    assert found["done"] is None
    assert found["waiting"] is None
    ended = {name: record for name, record in found.items() if record is not None}
    assert set(ended) == {"hog", "good"}
    assert [name for name, record in ended.items() if record.verdict == JobVerdict.OUT_OF_MEMORY] == charged
    free = [record for name, record in ended.items() if name not in charged]
    assert {record.verdict for record in free} == {JobVerdict.NODE_LOST}
    assert {record.slurm_job for record in ended.values()} == {"5"}
    journal.write(*ended.values())
    assert casualties.judge("hog", error="ManagerLost") is None  # told once


def test_a_pool_drains_so_long_after_its_own_start() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    ago = ProcessIdentity(
        host="h", pid=1, pid_start=int((time.clock_gettime(time.CLOCK_BOOTTIME) - 50) * ticks)
    )
    assert drain_moment(ago, after_s=60) - time.monotonic() == pytest.approx(10, abs=1)
    assert drain_moment(ago, after_s=0) == float("inf")
    assert drain_moment(None, after_s=60) == float("inf")
