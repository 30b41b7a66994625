"""Kill -9 at random moments of a campaign's run, a tick after each: it completes, nothing ran twice.

Not called ``test_soak.py``: the WMS service's own is, and test folders are no packages.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from demo_compare import compare_collections
from e2e_help import CHECKOUT, Installation, new_installation, wait_for

from merian_campaign.domain.execution import journal
from merian_campaign.domain.execution.journal import JobVerdict, JournalEvent
from merian_campaign.domain.execution.provenance import parse_predicted

pytestmark = pytest.mark.e2e

PAYLOAD = CHECKOUT / "tests" / "wms"
VICTIMS = ("driver", "submit", "supervisor", "forkserver", "child", "interchange", "manager", "worker")

CAMPAIGN = """
campaign: {name}
butler: {root}/repo
work_dir: {root}/submissions
instrument: Toy
site: {checkout}/site/local.yaml
include: [{checkout}/bps_configs/base.yaml]
collections: {{output: toy/runs, inputs: [toy/inputs]}}
afterburner: {{max_attempts: 100, max_submissions: 100}}
steps:
  - name: layers
    pipeline: {root}/pipeline.yaml
    scope: instrument
"""


@dataclass(frozen=True)
class Process:
    """A living process of a campaign."""

    pid: int
    parent: int
    words: tuple[str, ...]
    output: str

    def runs(self, *words: str) -> bool:
        """Say whether its command line has these words one after the other, paths left out."""
        plain = tuple(Path(word).name for word in self.words)
        return any(plain[i : i + len(words)] == words for i in range(len(plain)))


@dataclass(frozen=True)
class Campaign:
    """A campaign with a repository of its own, and what its run leaves behind."""

    installation: Installation
    root: Path
    name: str

    def make(self, *, detectors: int, seconds: float) -> None:
        """Make repository, pipeline and file, and apply it."""
        import wms_support  # noqa: PLC0415 - reachable through the fixture

        self.root.mkdir()
        wms_support.make_repo(self.root / "repo", detectors=detectors)
        tasks = {label: {"seconds": seconds} for label in ("first", "second", "third")}
        (self.root / "pipeline.yaml").write_text(yaml.safe_dump(wms_support.pipeline(tasks=tasks)))
        file = self.root / "campaign.yaml"
        file.write_text(CAMPAIGN.format(name=self.name, root=self.root, checkout=CHECKOUT))
        applied = self.installation.run("apply", str(file))
        assert applied.returncode == 0, applied.stderr

    def tick(self) -> None:
        done = self.installation.run("tick", self.name)
        assert done.returncode in {0, 1}, done.stdout + done.stderr  # 1: a group has come to need a person
        assert done.stdout.count("driver started") <= 1, done.stdout

    def submissions(self) -> list[Path]:
        return sorted(self.root.glob(f"submissions/{self.name}/layers/all/[0-9]*"))

    def records(self, submission: Path) -> tuple[journal.JournalRecord, ...]:
        with suppress(OSError):
            return journal.parse_lines((submission / "bps" / "journal.jsonl").read_text())
        return ()

    def started(self) -> int:
        """Return how many quanta were started so far, in all submissions."""
        return sum(r.event == JournalEvent.STARTED for each in self.submissions() for r in self.records(each))

    def family(self) -> dict[int, Process]:
        """Return its living processes: marked ones, and Parsl's, whose titles cover their environment."""
        found = {}
        mark = f"MERIAN_CAMPAIGN_SUBMISSION={self.root}/".encode()
        for process in psutil.process_iter():
            entry = Path(f"/proc/{process.pid}")
            with suppress(psutil.Error, OSError):
                marked = mark in (entry / "environ").read_bytes()
                if marked or (entry / "cwd").readlink().is_relative_to(self.root):
                    found[process.pid] = Process(
                        pid=process.pid,
                        parent=process.ppid(),
                        words=tuple(process.cmdline()),
                        output=(entry / "fd" / "1").readlink().name,
                    )
        return found

    def find(self, kind: str) -> list[int]:
        """Return the pids of the processes that play a part."""
        family = self.family()
        drivers = {p.pid for p in family.values() if p.runs("merian-campaign", "drive")}
        submits = {
            p.pid for p in family.values() if p.parent in drivers and p.runs("merian-campaign", "submit")
        }
        # Supervisor, forkserver, children, interchange and pool are forks with the command line of what
        # forked them: they are known by their descent and their output.
        children = {pid for each in self.submissions() for pid in running(self.records(each))} & family.keys()
        pool = {p.pid for p in family.values() if p.output == "pool.log"}
        managers = {pid for pid in pool if family[pid].parent not in pool}
        # Below the pool's fork server: its workers, and the data server that its threads talk to.
        workers = {pid for pid in pool - managers if family[pid].parent not in managers}
        forkservers = {family[pid].parent for pid in children | managers} & family.keys()
        supervisors = {family[pid].parent for pid in forkservers} & family.keys() - submits
        parts = {
            "driver": drivers,
            "submit": submits,
            "supervisor": supervisors,
            "forkserver": forkservers,
            "child": children,
            "interchange": {p.pid for p in family.values() if p.output == "interchange.log"},
            "manager": managers,
            "worker": workers,
        }
        return sorted(parts[kind])


def running(records: tuple[journal.JournalRecord, ...]) -> set[int]:
    """Return the pids of the quanta that have started and not ended, by the journal."""
    going: dict[str, int] = {}
    for record in records:
        if record.event == JournalEvent.STARTED and record.pid is not None:
            going[record.job] = record.pid
        elif record.event in (JournalEvent.OPENED, JournalEvent.CLOSED):
            going.clear()
        else:
            going.pop(record.job, None)
    return set(going.values())


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation of its own that finds the payload's tasks, stopped and checked for orphans."""
    monkeypatch.syspath_prepend(str(PAYLOAD))
    paths = os.pathsep.join(filter(None, [str(PAYLOAD), os.environ.get("PYTHONPATH")]))
    with new_installation(PYTHONPATH=paths) as made:
        yield made
        for campaign in made.root.glob("*/campaign.yaml"):
            made.run("cancel", campaign.parent.name)


def advance(campaign: Campaign, *, beyond: int) -> None:
    """Tick as cron would, whenever no driver is alive, until more quanta than that have started."""

    def moved() -> bool:
        if campaign.started() > beyond:
            return True
        if not campaign.find("driver"):
            campaign.tick()
        return False

    wait_for(moved, what=f"quantum after {beyond} starts", seconds=300)


def disturb(campaign: Campaign, *, rounds: int, seed: int) -> None:
    """Kill one process in every round, and tick."""
    dice = random.Random(seed)
    # Shuffled decks: every part is played by chance, and none is forgotten.
    kinds = [kind for _ in range(rounds) for kind in dice.sample(VICTIMS, len(VICTIMS))][:rounds]
    began = time.monotonic()
    for number, kind in enumerate(kinds, start=1):
        advance(campaign, beyond=campaign.started() + dice.randrange(4))
        victim = dice.choice(wait_for(lambda kind=kind: campaign.find(kind), what=kind))
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        print(  # noqa: T201 - pytest shows it with a failure
            f"{time.monotonic() - began:6.1f} s: round {number}, seed {seed}: {kind} {victim} killed "
            f"in submission {len(campaign.submissions())} after {campaign.started()} starts",
            flush=True,
        )
        campaign.tick()


def check_successes(campaign: Campaign, *, expected: int) -> None:
    """Every quantum succeeded, and none has two attempts that did."""
    status = campaign.installation.json("status", campaign.name)
    assert status["state"] == "done"
    assert status["quanta"]["succeeded"] == status["quanta"]["expected"] == expected
    rows = campaign.installation.query(
        "SELECT state, count(*), count(DISTINCT (task, data_id)) FROM quantum_status"
        " WHERE campaign = %(name)s GROUP BY state",
        name=campaign.name,
    )
    assert rows == [("succeeded", expected, expected)]
    ends: Counter[tuple[str, str]] = Counter()
    for submission in campaign.submissions():
        ok = [
            r
            for r in campaign.records(submission)
            if r.event == JournalEvent.ENDED and r.verdict == JobVerdict.OK
        ]
        if ok:
            lines = (submission / "predicted.jsonl").read_text().splitlines()
            names = {each.uuid: (each.task, each.data_id) for each in parse_predicted(lines)}
            ends.update(names[quantum] for record in ok for quantum in record.quanta if quantum in names)
    assert [name for name, times in ends.items() if times > 1] == []
    # A quantum may be whole though its process was killed before it could end; those are few.
    assert len(ends) > expected / 2
    twice = campaign.installation.query(
        "SELECT q.task, q.data_id FROM quantum_attempt a JOIN quantum q ON q.id = a.quantum_id"
        " WHERE a.state = 'succeeded' GROUP BY q.id, q.task, q.data_id HAVING count(*) > 1"
    )
    assert twice == []


def soak(installation: Installation, *, detectors: int, seconds: float, rounds: int, seed: int) -> None:
    """Compare a campaign whose processes are killed with one that is left alone."""
    disturbed = Campaign(installation, installation.root / "disturbed", "disturbed")
    disturbed.make(detectors=detectors, seconds=seconds)
    disturb(disturbed, rounds=rounds, seed=seed)
    done = installation.run("run", disturbed.name)
    assert done.returncode == 0, done.stdout + done.stderr
    check_successes(disturbed, expected=3 * detectors)
    wait_for(lambda: not disturbed.family(), what="end of all processes", seconds=60)
    calm = Campaign(installation, installation.root / "calm", "calm")
    calm.make(detectors=detectors, seconds=0.0)
    done = installation.run("run", calm.name)
    assert done.returncode == 0, done.stdout + done.stderr
    found = compare_collections(
        repository=disturbed.root / "repo",
        other_repository=calm.root / "repo",
        first="toy/runs/layers",
        second="toy/runs/layers",
    )
    assert found == []


@pytest.mark.soak
def test_two_kills(own: Installation) -> None:
    soak(own, detectors=8, seconds=0.5, rounds=2, seed=52)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_twenty_kills_of_two_hundred_quanta(own: Installation) -> None:
    soak(own, detectors=67, seconds=0.8, rounds=20, seed=20)
