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
from merian_campaign.middleware.drivers import LocalDrivers
from merian_campaign.services.record import Recorder

QUANTA = 12


def uuid(number: int) -> str:
    return f"01a215b7-091b-7181-bc15-{number:012x}"


def line(event: JournalEvent, *quanta: int, verdict: str | None = None) -> str:
    names = tuple(map(uuid, quanta))
    job = f"job{quanta}" if quanta else ""
    return journal.format_line(
        JournalRecord(event=event, t=journal.format_time(at(3)), job=job, quanta=names, verdict=verdict)
    )


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

    def follow(self, *, anew: bool = False) -> int:
        """Follow it; return how many rows changed."""
        drivers: Any = LocalDrivers(environ={}) if anew else self.drivers
        nobody: Any = SimpleNamespace(jobs=lambda _: (), records=lambda *_, **__: ())
        runtime = SimpleNamespace(clock=lambda: at(5))
        context: Any = SimpleNamespace(
            store=self._given.store, drivers=drivers, scheduler=None, registry=None, runtime=runtime,
            campaign_id=1, campaign_uuid="", spec=None, settings=None, slurm_view=nobody,
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
