"""Live progress piece by piece: what was appended to a journal tells the same as all of it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from store_help import Given, at, rows

from merian_campaign.domain.execution import journal
from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord
from merian_campaign.domain.execution.provenance import parse_predicted
from merian_campaign.domain.execution.quantum_progress import fold
from merian_campaign.domain.failures import harvest
from merian_campaign.domain.record.snapshot import SubmissionView
from merian_campaign.domain.slurm.blocks import BlockEvent, BlockLine
from merian_campaign.domain.slurm.slurm_jobs import QueueSnapshot, SlurmJob
from merian_campaign.middleware.drivers import LocalDrivers
from merian_campaign.services.record import Recorder
from merian_campaign.services.slurm_view import SlurmView

QUANTA = 12


def uuid(number: int) -> str:
    return f"01a215b7-091b-7181-bc15-{number:012x}"


def line(event: JournalEvent, *quanta: int, minutes: float = 3, **changes: Any) -> str:
    names = tuple(map(uuid, quanta))
    job = f"job{quanta}" if quanta else ""
    when = journal.format_time(at(minutes))
    return journal.format_line(JournalRecord(event=event, t=when, job=job, quanta=names, **changes))


def story(chance: random.Random) -> list[str]:
    """Lines of a journal: jobs of one quantum and of two, retries, losses, and a driver that comes back."""
    lines = [line(JournalEvent.OPENED)]
    for _ in range(60):
        quanta = chance.choice([(chance.randrange(10),), (10, 11)])
        ended = line(JournalEvent.ENDED, *quanta, verdict=chance.choice(["ok", "failed", "out_of_memory"]))
        kinds = [line(JournalEvent.LAUNCHED, *quanta), line(JournalEvent.STARTED, *quanta), ended]
        lines.append(chance.choice([*kinds, line(JournalEvent.HELD, *quanta)] * 6 + [lines[0]]))
    return [*lines, line(JournalEvent.CLOSED)]


class Followed:
    """A submission with its files, and a recorder that follows it as ticks of one process or of many do."""

    def __init__(self, given: Given, folder: Path, sql: Connection) -> None:
        self._given, self._sql = given, sql
        (group,) = given.campaign()
        self.submission = given.prepared(group, directory=str(folder))
        (folder / "bps").mkdir()
        self.journal = folder / "bps" / "journal.jsonl"
        self.lines = [
            json.dumps(
                {
                    "uuid": uuid(number), "task": "measure", "data_id": f"patch={number:02d},tract=9813",
                    "dimensions": {"tract": 9813, "patch": number}, "after": [],
                }
            )
            for number in range(QUANTA)
        ]  # fmt: skip
        self.predicted = folder / "predicted.jsonl"
        self.drivers = LocalDrivers(environ={})

    def seen(self) -> SubmissionView:
        (group,) = self._given.store.snapshot("demo").groups
        return group.submissions[0]

    def follow(self, *, anew: bool = False, block: SlurmJob | None = None) -> int:
        """Follow it; return how many rows changed."""
        drivers: Any = LocalDrivers(environ={}) if anew else self.drivers
        told = BlockLine(event=BlockEvent.SUBMITTED, t="", name="b", slurm_job="12")
        view = SlurmView(
            sight=None if block is None else QueueSnapshot(at=at(5), jobs=(block,)),
            lines={self.submission.id: (told,)},
        )
        runtime = SimpleNamespace(clock=lambda: at(5))
        context: Any = SimpleNamespace(
            store=self._given.store, drivers=drivers, scheduler=None, registry=None, runtime=runtime,
            campaign_id=1, campaign_uuid="", spec=None, settings=None, slurm_view=view,
        )  # fmt: skip
        recorder = Recorder(context)
        recorder.follow(self.seen())
        return recorder.progressed

    def states(self) -> list[str]:
        return [row[0] for row in rows(self._sql, "SELECT state FROM quantum ORDER BY data_id")]

    def expected(self) -> list[str]:
        records = journal.parse_lines(self.journal.read_text())
        return [quantum.state for quantum in harvest.progress(parse_predicted(self.lines), fold(records))]


@pytest.fixture
def followed(given: Given, tmp_path: Path, sql: Connection) -> Followed:
    return Followed(given, tmp_path, sql)


@pytest.mark.parametrize("seed", range(4))
def test_piece_by_piece_is_as_all_at_once(followed: Followed, seed: int) -> None:
    chance = random.Random(seed)
    assert followed.follow() == 0
    followed.journal.touch()
    followed.predicted.write_text("\n".join(followed.lines) + "\n")
    assert followed.follow() == QUANTA
    assert followed.follow() == 0
    text = "".join(story(chance))
    while text:
        size = chance.randrange(1, 900)
        with followed.journal.open("a") as stream:
            stream.write(text[:size])
        text = text[size:]
        followed.follow(anew=chance.random() < 0.3)  # a tick from cron is another process
        assert followed.states() == followed.expected()
        assert followed.follow() == 0
    assert followed.seen().followed == followed.journal.stat().st_size


def test_a_journal_that_is_another_one_is_read_from_its_beginning(followed: Followed) -> None:
    followed.predicted.write_text("\n".join(followed.lines) + "\n")
    started = [line(JournalEvent.STARTED, number) for number in range(8)]
    followed.journal.write_text("".join([line(JournalEvent.OPENED), *started]))
    followed.follow()
    followed.journal.write_text(line(JournalEvent.OPENED) + line(JournalEvent.STARTED, 9))
    followed.follow()
    assert followed.states() == followed.expected()
    # Also one that is as long as the other, or longer: no line of it ends where that was read to.
    for count in (1, 8):
        ended = [line(JournalEvent.ENDED, number, verdict="failed") for number in range(3, 3 + count)]
        followed.journal.write_text("".join([line(JournalEvent.OPENED), *ended]))
        assert followed.journal.stat().st_size > (followed.seen().followed or 0)
        followed.follow()
        assert followed.states() == followed.expected()


@pytest.mark.parametrize(
    "written",
    [
        b"\0" * 5000,
        b"\xff\xfe\x80\n",
        b"x" * 10_000_000 + b"\n",
        line(JournalEvent.ENDED, 2, verdict="failed").encode()[:40],
        line(JournalEvent.ENDED, 2, verdict="failed").encode()[:40] + b"\n",
    ],
    ids=["nul", "no utf-8", "10 MB", "half a line", "half a line that the next driver has ended"],
)
def test_what_a_crash_leaves_in_a_journal_costs_no_line_after_it(followed: Followed, written: bytes) -> None:
    followed.predicted.write_text("\n".join(followed.lines) + "\n")
    followed.journal.write_text("".join(line(JournalEvent.STARTED, number) for number in range(2)))
    followed.follow()
    with followed.journal.open("ab") as stream:
        stream.write(written)
    followed.follow()
    assert followed.states()[:3] == ["running", "running", "pending"]
    with followed.journal.open("ab") as stream:
        stream.write(b"".join(line(JournalEvent.ENDED, at, verdict="ok").encode() for at in range(2)))
    followed.follow()
    assert followed.states()[:3] == ["succeeded", "succeeded", "pending"]


def test_what_nothing_happened_to_is_not_parsed_again(followed: Followed) -> None:
    followed.predicted.write_text("\n".join(followed.lines) + "\n")
    followed.journal.write_text(line(JournalEvent.OPENED))
    assert followed.follow() == QUANTA
    broken = [followed.lines[3], *("{" + entry for entry in followed.lines if entry != followed.lines[3])]
    followed.predicted.write_text("\n".join(broken) + "\n")
    with followed.journal.open("a") as stream:
        stream.write(line(JournalEvent.STARTED, 3))
    assert followed.follow() == 1
    assert followed.states()[3] == "running"


BUSY = "SELECT busy_seconds FROM slurm_job"


def test_of_blocks_nothing_is_read_again(followed: Followed, sql: Connection) -> None:
    block = SlurmJob(job_id="12", name="b", state="RUNNING", started=at(0))
    begun = [
        line(JournalEvent.STARTED, 1, minutes=1, slurm_job="12"),
        line(JournalEvent.STARTED, 2, minutes=2, slurm_job="12"),
    ]
    ended = line(JournalEvent.ENDED, 1, verdict="ok", minutes=3, slurm_job="12")
    followed.predicted.write_text("\n".join(followed.lines) + "\n")
    followed.journal.write_text("".join([line(JournalEvent.OPENED), *begun, ended]))
    followed.follow(block=block)
    assert rows(sql, BUSY) == [(4 * 60,)]  # from the first minute to now
    size = followed.journal.stat().st_size
    followed.journal.write_text("#" * (size - 1) + "\n")
    with followed.journal.open("a") as stream:
        stream.write(line(JournalEvent.ENDED, 2, verdict="ok", minutes=4, slurm_job="12"))
    followed.follow(block=block, anew=True)
    assert rows(sql, BUSY) == [(3 * 60,)]
    assert followed.states()[1:3] == ["succeeded", "succeeded"]
    followed.follow(block=block, anew=True)
    assert rows(sql, BUSY) == [(3 * 60,)]


def test_blocks_of_before_that_was_kept_are_read_once(followed: Followed, sql: Connection) -> None:
    followed.predicted.write_text("\n".join(followed.lines) + "\n")
    followed.journal.write_text(
        line(JournalEvent.OPENED) + line(JournalEvent.STARTED, 1, minutes=2, slurm_job="12")
    )
    followed.follow()
    rows(sql, "UPDATE submission SET busy = NULL")
    block = SlurmJob(job_id="12", name="b", state="RUNNING", started=at(0))
    for _ in range(2):
        followed.follow(block=block, anew=True)
        assert rows(sql, BUSY) == [(3 * 60,)]
