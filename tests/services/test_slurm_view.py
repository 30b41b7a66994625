"""What a tick asks of Slurm, and what it makes of the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from merian_campaign.domain.execution.busy_blocks import busy_after
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord, format_time
from merian_campaign.domain.record.records import JobRecord, OpenJobs
from merian_campaign.domain.record.snapshot import CampaignView, GroupView, Remedy, Snapshot, SubmissionView
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.slurm.blocks import BlockEvent, BlockLine, format_block_line
from merian_campaign.domain.slurm.slurm_jobs import JobQuery, QueueSnapshot, SlurmJob
from merian_campaign.domain.states import CampaignState, GroupState, SubmissionOutcome, SubmissionState
from merian_campaign.middleware.drivers import LocalDrivers
from merian_campaign.services.slurm_view import (
    FORGOTTEN,
    QueueLeftovers,
    SlurmView,
    refused_words,
    settle,
    view_slurm,
)

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
DRIVERS = LocalDrivers(environ={})


def submission(folder: Path, **changes: Any) -> SubmissionView:
    values = {
        "id": 1, "group_id": 1, "number": 1, "state": SubmissionState.RUNNING, "outcome": None,
        "run_collection": "r", "directory": str(folder), "remedy": Remedy(), "reason": "", "driver": None,
        "epoch": 1, "created_at": NOW,
    }  # fmt: skip
    return SubmissionView(**(values | changes))


def snapshot(*submissions: SubmissionView) -> Snapshot:
    groups = tuple(
        GroupView(
            id=entry.id, step="step1", key=f"g{entry.id}", selection=Selection(), state=GroupState.RUNNING,
            reason="", accepted=False, attempts_from=0, submissions=(entry,), counts=Counts(), open_quanta=(),
        )
        for entry in submissions
    )  # fmt: skip
    view = CampaignView(
        id=1, name="night", state=CampaignState.ACTIVE, file="/n", revision=1, sha256="", spec={}
    )
    return Snapshot(campaign=view, groups=groups)


class Asked:
    """A scheduler and a store that write down what they are asked."""

    def __init__(self, sight: QueueSnapshot | None = None, jobs: Sequence[OpenJobs] = ()) -> None:
        self.sight = sight or QueueSnapshot(at=NOW)
        self.jobs = tuple(jobs)
        self.watches: list[JobQuery] = []
        self.recorded: list[JobRecord] = []

    def look(self, watch: JobQuery, **_: Any) -> QueueSnapshot:
        self.watches.append(watch)
        return self.sight

    def open_jobs(self, _: str) -> tuple[OpenJobs, ...]:
        return self.jobs

    def record_jobs(self, *, jobs: Sequence[JobRecord], **_: Any) -> int:
        self.recorded += jobs
        return len(jobs)


def looked(asked: Any, *submissions: SubmissionView, on_slurm: bool = False) -> SlurmView:
    return view_slurm(
        snapshot(*submissions),
        store=asked,
        drivers=DRIVERS,
        scheduler=asked,
        fresh_seconds=0,
        on_slurm=on_slurm,
    )


def lines(folder: Path, *found: BlockLine) -> None:
    (folder / "bps").mkdir(parents=True)
    (folder / "bps" / "blocks.jsonl").write_text("".join(map(format_block_line, found)))


def line(event: BlockEvent, **changes: Any) -> BlockLine:
    return BlockLine(**({"event": event, "t": format_time(NOW), "name": "b"} | changes))


def test_a_campaign_without_slurm_jobs_asks_nothing(tmp_path: Path) -> None:
    asked = Asked()
    found = looked(asked, submission(tmp_path))
    assert asked.watches == []
    assert found.sight is None
    # A Slurm site with nothing there yet does not either.
    looked(asked, submission(tmp_path), on_slurm=True)
    assert asked.watches == []


def test_all_submissions_are_asked_about_at_once(tmp_path: Path) -> None:
    lines(
        tmp_path / "1",
        line(BlockEvent.SUBMITTED, slurm_job="7"),
        line(BlockEvent.SUBMITTED, slurm_job="8"),
        line(BlockEvent.STATE, slurm_job="7", state="COMPLETED"),
    )
    asked = Asked()
    one = submission(tmp_path / "1", driver_job="d1")
    two = submission(tmp_path / "2", id=2, driver_job="d2", created_at=NOW - timedelta(days=9))
    looked(asked, one, two, submission(tmp_path / "3", id=3))
    (watch,) = asked.watches
    assert watch.names == {"d1", "d2"}
    # What has ended as far as its driver saw needs no word of the accounting.
    assert dict(watch.jobs) == {"8": "b"}
    assert watch.since == NOW - timedelta(days=9)


def test_busy_seconds_come_from_the_journal(tmp_path: Path) -> None:
    lines(tmp_path, line(BlockEvent.SUBMITTED, slurm_job="7"))
    job = SlurmJob(job_id="7", name="b", state="RUNNING", started=NOW)
    found = looked(Asked(QueueSnapshot(at=NOW, jobs=(job,))), submission(tmp_path))
    began = JournalRecord(
        event=JournalEvent.STARTED, t=format_time(NOW + timedelta(seconds=5)), job="j", slurm_job="7"
    )
    (record,) = found.records(
        submission(tmp_path), busy=busy_after({}, [began]), now=NOW + timedelta(seconds=20)
    )
    assert (record.role, record.busy_seconds) == ("block", 15)


def test_fates_fall_back_on_what_the_driver_saw(tmp_path: Path) -> None:
    lines(
        tmp_path,
        line(BlockEvent.SUBMITTED, slurm_job="7"),
        line(BlockEvent.STATE, slurm_job="7", state="NODE_FAIL"),
        line(BlockEvent.SUBMITTED, slurm_job="8"),
        line(BlockEvent.STATE, slurm_job="8", state="RUNNING"),
    )
    shown = SlurmJob(job_id="8", name="b", state="TIMEOUT")
    found = looked(Asked(QueueSnapshot(at=NOW, jobs=(shown,))), submission(tmp_path)).blocks(
        submission(tmp_path)
    )
    assert {job_id: job.state for job_id, job in found.items()} == {"7": "NODE_FAIL", "8": "TIMEOUT"}


def test_every_block_of_what_has_ended_gets_on_record(tmp_path: Path) -> None:
    lines(
        tmp_path,
        line(BlockEvent.SUBMITTED, slurm_job="7"),
        line(BlockEvent.STATE, slurm_job="7", state="TIMEOUT"),
        line(BlockEvent.SUBMITTED, slurm_job="8"),
    )
    (tmp_path / "outcome.json").write_text("{}")
    asked = Asked(QueueSnapshot(at=NOW, jobs=(SlurmJob(job_id="8", name="b", state="COMPLETED"),)))
    found = looked(asked, submission(tmp_path))
    assert dict(asked.watches[0].jobs) == {"7": "b", "8": "b"}
    records = found.records(submission(tmp_path), busy={}, now=NOW, final=True)
    assert {(entry.job.job_id, entry.job.state, entry.sure) for entry in records} == {
        ("7", "TIMEOUT", False), ("8", "COMPLETED", True),
    }  # fmt: skip


def test_the_queue_is_looked_at_when_the_jobs_of_others_count(tmp_path: Path) -> None:
    jobs = (
        SlurmJob(job_id="7", name="d1", state="PENDING"),
        SlurmJob(job_id="8", name="of somebody else", state="RUNNING"),
        SlurmJob(job_id="9", name="of somebody else", state="COMPLETED"),
    )
    asked: Any = Asked(QueueSnapshot(at=NOW, jobs=jobs))
    entry = submission(tmp_path, driver_job="d1")
    found = view_slurm(
        snapshot(), store=asked, drivers=DRIVERS, scheduler=asked, fresh_seconds=0, on_slurm=True, count=True
    )
    assert asked.watches == [JobQuery()]
    assert (found.others([]), found.others([entry])) == (2, 1)
    silent = replace(found, sight=QueueSnapshot(at=NOW, unreachable="no answer"))
    assert silent.others([]) is None


def test_a_block_that_slurm_does_not_take_now_is_told_while_it_lasts(tmp_path: Path) -> None:
    text = "sbatch: error: QOSMaxSubmitJobPerUserLimit"
    states = (line(BlockEvent.SUBMITTED, slurm_job="7"), line(BlockEvent.SUBMITTING))
    after = (line(BlockEvent.DEFERRED, text=text), line(BlockEvent.STATE, slurm_job="7", state="RUNNING"))
    lines(tmp_path, *states, *after)
    entry = submission(tmp_path)
    (words,) = looked(Asked(), entry).deferred(snapshot(entry))
    assert words == "step1/g1: Slurm takes no block for now: QOSMaxSubmitJobPerUserLimit"
    with (tmp_path / "bps" / "blocks.jsonl").open("a") as file:
        file.write(format_block_line(line(BlockEvent.SUBMITTED, slurm_job="8")))
    assert looked(Asked(), entry).deferred(snapshot(entry)) == ()


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], ""),
        ([BlockEvent.SUBMITTING, BlockEvent.REFUSED], "Invalid account"),
        ([BlockEvent.REFUSED, BlockEvent.SUBMITTED], ""),
        ([BlockEvent.SUBMITTED, BlockEvent.DEFERRED], ""),
        ([BlockEvent.SUBMITTED, BlockEvent.STATE, BlockEvent.REFUSED], "Invalid account"),
    ],
)
def test_slurms_last_word_counts(events: list[BlockEvent], words: str) -> None:
    text = "sbatch: error: Invalid account"
    assert refused_words([line(event, slurm_job="7", text=text) for event in events]) == words


def test_what_is_over_is_followed_until_slurm_says_how_it_ended(tmp_path: Path) -> None:
    def left(job_id: str, since: datetime) -> JobRecord:
        return JobRecord(
            job=SlurmJob(job_id=job_id, name="b", state="RUNNING", submitted=since), role="block"
        )

    old = [left("7", NOW), left("8", NOW), left("9", NOW - FORGOTTEN * 2), left("10", NOW), left("11", NOW)]
    pending = OpenJobs(submission_id=1, directory=str(tmp_path), driver_job="", jobs=tuple(old))
    jobs = (
        SlurmJob(job_id="7", name="b", state="COMPLETED"),
        SlurmJob(job_id="8", name="b", state="COMPLETING"),
        SlurmJob(job_id="10", name="of somebody else", state="RUNNING"),
        SlurmJob(job_id="11", name="b", state="RUNNING"),
    )
    over = submission(tmp_path, state=SubmissionState.FINISHED, outcome=SubmissionOutcome.SUCCEEDED)
    asked: Any = Asked(QueueSnapshot(at=NOW, jobs=jobs), [pending])
    found = looked(asked, over, on_slurm=True)
    # The one that still runs has no driver any more to end it.
    assert settle(found, store=asked, now=NOW) == QueueLeftovers(alive=3, leaked=("11",))
    assert {entry.job.job_id: entry.job.fate.value for entry in asked.recorded} == {
        "7": "completed", "8": "alive", "9": "unknown", "11": "alive",
    }  # fmt: skip
    silent = replace(found, sight=QueueSnapshot(at=NOW, unreachable="no answer"))
    asked.recorded.clear()
    assert settle(silent, store=asked, now=NOW) == QueueLeftovers()
    assert asked.recorded == []
