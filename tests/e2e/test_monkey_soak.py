"""A monkey damages files of random groups at random moments: nobody else's group, and no tick, notices it.

Victims are groups that no other group needs: what is under way of them is damaged. Of every group, what has
finished is damaged too, which must change nothing: it is on record.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from demo_chain import BIAS, CROSSTALK, DRP_STEPS, FLAT, OUTPUT, Survey
from demo_compare import Difference, compare_collections
from e2e_help import BIN, CHECKOUT, Installation, new_installation, runs_of

pytestmark = [pytest.mark.e2e, pytest.mark.soak]

DEMO = CHECKOUT / "campaign" / "demo.yaml"
NO_FAULTS = dict.fromkeys(("FAULT_MEMORY", "FAULT_ONCE", "FAULT_SIGNAL", "FAULT_ALGORITHM"), "none")
SPARE_STEPS = ("spare0", "spare1", "idle0", "idle1")
VICTIMS = {(step, "all") for step in (*SPARE_STEPS, "step2c")} | {("step2b", "tract9814")}
LEFT_OUT = ("step2d", "step3")
"""Steps of the demo that are long and tell nothing that those before them do not."""
CALIBRATION = {
    "DECam/calib/demo/bias": BIAS,
    "DECam/calib/demo/crosstalk": CROSSTALK,
    "DECam/calib/demo/flat": FLAT,
}
"""Collections of the campaign, and what pipetask makes of the same steps."""
REDUCED = tuple(f"DECam/runs/demo/{step}" for step in ("step1", "step2a", "step2b"))
MOST_HITS = 80
"""After so many damages the monkey leaves, and the campaign ends in peace."""
FILES = (
    "outcome.json", "versions.json", "predicted.jsonl", "harvest.jsonl", "preflight.json", "progress.json",
    "findings.json", "submit.yaml", "stack.sh", "driver.log", "started", "collected.json", "hold.json",
    "bps/journal.jsonl", "bps/blocks.jsonl", "bps/driver.lease", "bps/provenance.qg", "bps/*.qg",
    "bps/*.yaml", "bps/samples", "bps",
)  # fmt: skip
TICK_SECONDS = 120
"""Far more than a tick takes, on a loaded machine too: one that takes longer hangs."""


def _write(content: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        _away(path)
        path.write_bytes(content)

    return damage


def _make(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        _away(path)
        make(path)

    return damage


def _away(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _half(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2)


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(20 << 30)


DAMAGE: Mapping[str, Callable[[Path], None]] = {
    "gone": _away,
    "empty": _write(b""),
    "nul": _write(b"\0" * 5000 + b"\n"),
    "deep": _write(b'{"v":' + b"[" * 100_000 + b"\n"),
    "wrong types": _write(b'{"version":[1],"epoch":{},"end":7,"reason":[],"uuid":3,"v":"x","event":[]}\n'),
    "no object": _write(b'["a", 1]\n'),
    "odd bytes": _write(b'{"v":1,"event":"\xff\xfe"\n\x1b[31m[/x]'),
    "folder": _make(Path.mkdir),
    "fifo": _make(os.mkfifo),
    "device": _make(lambda path: path.symlink_to("/dev/zero")),
    "sparse": _make(_sparse),
    "half": _half,
}


@dataclass
class Monkey:
    """Damages files of a campaign's submissions; what it did is printed."""

    folder: Path
    seed: int
    dice: random.Random = field(init=False)
    hits: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    @property
    def number(self) -> int:
        """How many files it has damaged."""
        return sum(map(len, self.hits.values()))

    def hit(self, directory: Path, *, alive: bool) -> None:
        """Damage one file of a submission, if it has it or one may be planted there."""
        pattern, kind = self.dice.choice(FILES), self.dice.choice(sorted(DAMAGE))
        found = sorted(directory.glob(pattern))
        path = self.dice.choice(found) if found else directory / pattern
        with suppress(OSError):  # it is a moving target
            if "*" in path.name or not path.parent.is_dir():
                return
            DAMAGE[kind](path)
            step, group = directory.parts[-3:-1]
            what = f"{path.relative_to(self.folder)} {kind}, {'alive' if alive else 'finished'}"
            self.hits.setdefault((step, group), []).append(what)
            print(f"seed {self.seed}: {what}", flush=True)  # noqa: T201 - pytest shows it with a failure


@dataclass(frozen=True)
class Watch:
    """A campaign that ticks go on for."""

    installation: Installation
    name: str
    url: str

    def tick(self) -> None:
        done = subprocess.run(
            [str(BIN / "merian-campaign"), "tick", self.name],
            env=self.installation.environ, capture_output=True, text=True, check=False, timeout=TICK_SECONDS,
        )  # fmt: skip
        # 1: a group has come to need a person.
        assert done.returncode in {0, 1}, done.stdout + done.stderr
        assert "Traceback" not in done.stderr

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute(sql, {"name": self.name})
            return cursor.fetchall()

    def groups(self) -> dict[tuple[str, str], tuple[str, str]]:
        rows = self.rows(
            'SELECT g.step, g.key, g.state, g.reason FROM "group" g JOIN campaign c ON c.id = g.campaign_id'
            " WHERE c.name = %(name)s"
        )
        return {(step, key): (state, reason) for step, key, state, reason in rows}

    def submissions(self) -> list[tuple[tuple[str, str], Path, bool]]:
        """Return all submissions: of which group, where, and whether unfinished."""
        rows = self.rows(
            "SELECT g.step, g.key, s.directory, s.state <> 'finished' FROM submission s"
            ' JOIN "group" g ON g.id = s.group_id JOIN campaign c ON c.id = g.campaign_id'
            " WHERE c.name = %(name)s ORDER BY s.id"
        )
        return [((step, key), Path(directory), alive) for step, key, directory, alive in rows]


def spare_steps() -> Iterator[dict[str, Any]]:
    """Steps that no other needs: the first pipeline once more, and commands."""
    for name in SPARE_STEPS:
        if name.startswith("idle"):
            yield {"name": name, "action": "command", "arguments": {"run": ["true"]}}
            continue
        yield {
            "name": name,
            "after": ["ingestBias", "curated"],
            "pipeline": "${DEMO_PIPELINES}/cpBias.yaml",
            "scope": "exposure",
            "where": "exposure.observation_type = 'zero' AND detector NOT IN (31, 61)",
            "inputs": ["DECam/raw/all", "DECam/calib/curated/19700101T000000Z", "DECam/calib/unbounded"],
            "output": f"DECam/calib/{name}",
        }


def disturbed_campaign(file: Path, *, name: str) -> None:
    """Write the demo's campaign with the spare steps in it, without the longest of its own."""
    content = yaml.safe_load(DEMO.read_text().replace("${CAMPAIGN_DIR}", str(DEMO.parent)))
    for key, folder in (("failure_rules", "campaign"), ("site", "site")):
        content[key] = str(CHECKOUT / folder / content[key])
    content["site"] += ".yaml"
    own = [step for step in content["steps"] if step["name"] not in LEFT_OUT]
    content.update(campaign=name, steps=[*own, *spare_steps()])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def disturb(watch: Watch, monkey: Monkey, *, victims: set[tuple[str, str]], seconds: float) -> None:
    """Tick, and let the monkey have its way between two ticks, until nothing moves any more."""
    deadline = time.monotonic() + seconds
    while True:
        watch.tick()
        moving = [
            name for name, (state, _) in watch.groups().items() if state in {"waiting", "ready", "running"}
        ]
        if not moving:
            return
        assert time.monotonic() < deadline, f"still moving: {moving}; {watch.groups()}"
        for name, directory, alive in watch.submissions():
            likely = 0.6 if alive else 0.1
            if (not alive or name in victims) and monkey.number < MOST_HITS and monkey.dice.random() < likely:
                monkey.hit(directory, alive=alive)


def check_groups(watch: Watch, monkey: Monkey, *, victims: set[tuple[str, str]]) -> None:
    """Undamaged groups are done; a victim is done or waits for a person, who is told why."""
    for name, (state, reason) in watch.groups().items():
        hits = "; ".join(monkey.hits.get(name, ()))
        if name in victims:
            assert state in {"done", "needs_review"}, (name, state, reason, hits)
            assert reason.strip()
            assert reason.isprintable()
        else:
            assert state == "done", (name, state, reason, hits)
    errors = watch.rows(
        "SELECT t.id, t.error FROM tick t JOIN campaign c ON c.id = t.campaign_id"
        " WHERE c.name = %(name)s AND t.finished_at IS NULL"
    )
    assert errors == [], "every tick has come to its end"
    for view in ("status", "failures"):
        assert watch.installation.json(view, watch.name)


@pytest.fixture
def own() -> Iterator[Installation]:
    """An installation of its own, stopped and checked for orphans."""
    with new_installation(**NO_FAULTS) as made:
        yield made.with_environment(**NO_FAULTS, DEMO_DIR=str(made.root / "monkey"))


@pytest.fixture
def sound(tmp_path: Path) -> Survey:
    """The same survey, reduced by pipetask in this process, disturbed by nobody."""
    made = Survey(tmp_path)
    made.run_calibration()
    for step in DRP_STEPS:
        if step.name in {"step1", "step2a", "step2b_9813"}:
            made.run_or_fail(step)
    return made


def differences(one: Path, other: Path, *, first: Sequence[str], second: str) -> list[Difference]:
    """Return what differs, outside the tract that is a victim."""
    found = compare_collections(
        repository=one, other_repository=other, first=runs_of(one, *first), second=runs_of(other, second)
    )
    return [each for each in found if "tract=9814" not in each.data_id]


def start(installation: Installation, *, name: str) -> Watch:
    file = installation.root / "monkey" / "monkey.yaml"
    disturbed_campaign(file, name=name)
    applied = installation.run("apply", str(file))
    assert applied.returncode == 0, applied.stderr
    return Watch(installation, name, installation.run("db", "url", "--libpq").stdout.strip())


@pytest.mark.timeout(2400)
def test_what_a_monkey_damages_hurts_nobody_else(own: Installation, sound: Survey) -> None:
    watch = start(own, name="monkey")
    seed = int(os.environ.get("MONKEY_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 20)
    monkey = Monkey(folder=own.root / "monkey" / "submissions" / watch.name, seed=seed)
    disturb(watch, monkey, victims=VICTIMS, seconds=1800)
    check_groups(watch, monkey, victims=VICTIMS)
    assert VICTIMS & monkey.hits.keys(), "the monkey slept"
    repository = own.root / "monkey" / "repo"
    for chain, reference in CALIBRATION.items():
        assert differences(repository, sound.repository, first=[chain], second=reference) == []
    assert differences(repository, sound.repository, first=REDUCED, second=OUTPUT) == []
