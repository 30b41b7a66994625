"""Damaged files of one group: it needs review, with the file named; those beside it come to their end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cli_help import run_program
from survey_help import make_survey

from merian_campaign.context import CommandContext
from merian_campaign.domain.execution.quanta import canonical_data_id
from merian_campaign.domain.record.snapshot import GroupView, Remedy, Snapshot
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.states import GroupState, SubmissionOutcome
from merian_campaign.domain.tick.decisions import SetAside
from merian_campaign.host import processes
from merian_campaign.services.tick_report import TickReport
from merian_campaign.submission_context import drive_submission

NAME = "damaged"
NOW = datetime.now(UTC)
SPARSE = 100_000_000

UUID = "0191b1f0-0000-7000-8000-000000000001"
QUANTUM = {
    "uuid": UUID,
    "task": "measure",
    "data_id": canonical_data_id({"tract": 1}),
    "dimensions": {"tract": 1},
}
ATTEMPT = {"status": "SUCCESSFUL", "exception_type": None, "exception_message": None, "peak_mb": 900,
           "started": "2026-11-22T15:00:00+00:00", "seconds": 3.5}  # fmt: skip
SOUND: Mapping[str, Any] = {
    "outcome": {"version": 1, "epoch": 1, "end": "ran", "reason": "", "exit_code": 0, "needs_person": False},
    "predicted": {**QUANTUM, "after": []},
    "harvest": {**QUANTUM, "status": "SUCCESSFUL", "caveats": "", "attempts": [ATTEMPT], "log": None},
    "journal": {"v": 1, "t": "2026-11-22T15:00:00.000000Z", "event": "started", "job": "j", "quanta": [UUID]},
    "blocks": {"v": 1, "t": "2026-11-22T15:00:00.000000Z", "event": "refused", "name": "b", "text": "no"},
}


def place_of(kind: str, directory: Path) -> Path:
    paths = SubmissionPaths(directory=str(directory))
    if kind == "blocks":
        return Path(paths.bps) / "blocks.jsonl"
    return Path(getattr(paths, kind))


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(SPARSE)


def _wrong_types(path: Path) -> None:
    values = json.loads(path.read_text())
    path.write_text(json.dumps({name: [{"x": 7}] for name in values}) + "\n")


def _huge_numbers(path: Path) -> None:
    values = json.loads(path.read_text())
    path.write_text(json.dumps(dict.fromkeys(values, 10**400)) + "\n")


def _unlike(path: Path) -> None:
    """Hold what is JSON, and no object."""
    path.write_text('["a", 1]\n')


DAMAGE: Mapping[str, Callable[[Path], object]] = {
    "folder": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "memory": lambda path: path.symlink_to("/proc/self/mem"),
    "sparse": _sparse,
    "nul": lambda path: path.write_bytes(b"\0" * 5000 + b"\n"),
    "deep": lambda path: path.write_text('{"v":' + "[" * 100_000 + "\n"),
    "not-a-number": lambda path: path.write_text('{"v":1,"event":"ended","peak_mb":NaN,"wall_s":Infinity}\n'),
    "half": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "odd-bytes": lambda path: path.write_bytes(b'{"v":1,"event":"\xff\xfe"\n'),
    "wrong-types": _wrong_types,
    "huge-numbers": _huge_numbers,
    "unlike": _unlike,
    "empty": lambda path: path.write_text(""),
}
NO_FILE = {"folder", "fifo", "device", "memory"}
TOLERANT = {"journal", "blocks"}
"""Files that several processes append to, any of which may die in a line: such a line is dropped."""
CASES = [(kind, damage, alive) for kind in SOUND for damage in DAMAGE for alive in (False, True)
         if not (alive and kind in {"outcome", "harvest"})]  # fmt: skip


def must_be_refused(kind: str, damage: str) -> bool:
    if damage in NO_FILE or damage == "sparse":
        return True
    if kind in TOLERANT:
        return False
    return damage != "empty" or kind == "outcome"


@dataclass(frozen=True)
class World:
    """A campaign with a group for every damage, and sound ones before, between and behind them."""

    context: CommandContext
    home: Path
    folder: Path

    def snapshot(self) -> Snapshot:
        return self.context.store.snapshot(NAME)

    def group(self, number: int) -> GroupView:
        return next(group for group in self.snapshot().groups if group.tract == number)

    def directory(self, number: int) -> Path:
        return self.folder / "submissions" / str(number)

    def submitted(self, group: GroupView, *, alive: bool) -> None:
        """Let a group have a submission, whose driver is this process, or has ended."""
        store, directory = self.context.store, self.directory(group.tract or 0)
        store.move_group(group_id=group.id, state=GroupState.READY, reason="", actor="t", now=NOW)
        made = store.prepare_submission(
            group_id=group.id, number=1, run_collection=f"run/{group.tract}", repository="/repo",
            directory=str(directory), remedy=Remedy(), reason="first", actor="t", now=NOW,
        )  # fmt: skip
        me = processes.identity(os.getpid())
        store.claim(submission_id=made.id, driver=me, lease_seconds=180, now=NOW, expected_epoch=0)
        for kind, value in SOUND.items():
            if kind == "outcome" and alive:
                continue
            path = place_of(kind, directory)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value) + "\n")

    def damage(self, number: int, kind: str, damage: str) -> None:
        path = place_of(kind, self.directory(number))
        if damage in NO_FILE:
            path.unlink()
        DAMAGE[damage](path)


@pytest.fixture(scope="module")
def world(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("damaged")
    survey = make_survey(folder)
    survey.edit("campaign: night", f"campaign: {NAME}")
    survey.edit('tracts: ["9813-9814"]', f'tracts: ["0-{len(CASES) + 1}"]')
    survey.edit("    after: [step1]\n", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MERIAN_CAMPAIGN_DATABASE_URL", raising=False)
        patch.setenv("MERIAN_CAMPAIGN_HOME", str(home))
        made = World(context=CommandContext(clock=lambda: NOW), home=home, folder=folder)
        made.context.apply(str(survey.file))
        made.context.control.pause(NAME)
        for group in made.snapshot().groups:
            if group.tract is not None:
                alive = 0 < group.tract <= len(CASES) and CASES[group.tract - 1][2]
                made.submitted(group, alive=alive)
        for number, (kind, damage, _) in enumerate(CASES, start=1):
            made.damage(number, kind, damage)
        yield made
        made.context.store.forget(NAME)


@pytest.fixture(scope="module")
def report(world: World) -> TickReport:
    plan = world.context.tick.plan(NAME)
    assert sum(isinstance(decision, SetAside) for decision in plan.decisions) > 0
    return world.context.tick.run(NAME)


@pytest.mark.parametrize(
    "number", range(1, len(CASES) + 1), ids=[f"{kind}-{damage}-{'alive' if alive else 'ended'}"
                                             for kind, damage, alive in CASES],
)  # fmt: skip
def test_a_damaged_file_is_of_its_group_alone(world: World, report: TickReport, number: int) -> None:
    kind, damage, alive = CASES[number - 1]
    group = world.group(number)
    if must_be_refused(kind, damage):
        assert group.state is GroupState.NEEDS_REVIEW
        assert place_of(kind, world.directory(number)).name in group.reason
        (submission,) = group.submissions
        assert (submission.outcome, submission.needs_person) == (SubmissionOutcome.FAILED, True)
        assert f"step3/tract{number}: needs_review ({group.reason})" in report.actions
        # Its driver learns it at its next beat, and ends itself.
        beat = world.context.store.heartbeat(submission_id=submission.id, epoch=1, lease_seconds=9, now=NOW)
        assert beat is None
    else:
        assert (group.live is not None) == alive


def test_sound_groups_end_as_if_nothing_were(world: World, report: TickReport) -> None:
    for number in (0, len(CASES) + 1):
        assert world.group(number).state is GroupState.DONE
    assert f"{_refused()} groups were set aside for a person, the others go on" in report.notes
    assert report.trouble is None


def test_the_tick_is_on_record(world: World, report: TickReport, sql: Any) -> None:
    with sql.cursor() as cursor:
        cursor.execute("SELECT finished_at, error, actions FROM tick ORDER BY id DESC LIMIT 1")
        finished, error, actions = cursor.fetchone()
    assert finished is not None
    assert "outcome.json" in error
    assert actions == len(report.actions)


def test_a_person_can_give_orders(world: World, report: TickReport) -> None:
    numbers = [number for number, (kind, damage, _) in enumerate(CASES, start=1) if damage == "fifo"]
    groups = [f"step3/tract{number}" for number in numbers]
    control = world.context.control
    control.retry(NAME, groups=[groups[0]], reason="again")
    assert world.group(numbers[0]).state is GroupState.READY
    control.accept(NAME, groups=[groups[1]], reason="as it is")
    assert world.group(numbers[1]).state is GroupState.DONE
    assert control.cancel(NAME, groups=[groups[2]]).trouble == ""
    assert world.group(numbers[2]).state is GroupState.CANCELLED
    for words in (["status", NAME], ["show", NAME, groups[3]], ["plan", NAME], ["tick", NAME]):
        done = run_program(*words, home=world.home)
        # A tick says once that groups have come to need a person.
        assert (done.code, "Traceback" in done.stderr) == (int(words[0] == "tick"), False), done
    followed = [case for case in CASES if case[2] and not must_be_refused(*case[:2])]
    assert report.live == len(followed)


def test_what_runs_with_damaged_files_can_be_cancelled(world: World) -> None:
    """Before any tick has set it aside."""
    number = len(CASES) + 1
    group = world.group(number)
    world.context.control.retry(NAME, groups=[f"step3/tract{number}"], reason="again")
    world.context.store.prepare_submission(
        group_id=group.id, number=2, run_collection="run/again", repository="/repo",
        directory=str(world.directory(number)), remedy=Remedy(), reason="", actor="t", now=NOW,
    )  # fmt: skip
    for kind in ("blocks", "outcome"):
        place_of(kind, world.directory(number)).unlink()
        os.mkfifo(place_of(kind, world.directory(number)))
    assert world.context.control.cancel(NAME, groups=[f"step3/tract{number}"]).submissions == 1
    world.context.tick.run(NAME)
    assert world.group(number).state is GroupState.NEEDS_REVIEW


def test_a_damaged_line_is_told_and_costs_its_own_quantum(world: World, report: TickReport, sql: Any) -> None:
    group = world.group(0)
    world.context.control.retry(NAME, groups=["step3/tract0"], reason="again")
    directory = world.folder / "submissions" / "lines"
    made = world.context.store.prepare_submission(
        group_id=group.id, number=2, run_collection="run/lines", repository="/repo",
        directory=str(directory), remedy=Remedy(), reason="", actor="t", now=NOW,
    )  # fmt: skip
    me = processes.identity(os.getpid())
    world.context.store.claim(submission_id=made.id, driver=me, lease_seconds=180, now=NOW, expected_epoch=0)
    other = {"uuid": f"{UUID[:-1]}2", "data_id": canonical_data_id({"tract": 2}), "dimensions": {"tract": 2}}
    for kind, cut in (("predicted", None), ("harvest", 70)):
        path = place_of(kind, directory)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{json.dumps(SOUND[kind])}\n{json.dumps(SOUND[kind] | other)[:cut]}\n")
    place_of("outcome", directory).write_text(json.dumps(SOUND["outcome"]))
    world.context.tick.run(NAME)
    group = world.group(0)
    assert group.submissions[-1].outcome is SubmissionOutcome.PARTIAL
    assert "1 succeeded, 1 unknown; damaged: harvest.jsonl, line 2: " in group.submissions[-1].reason
    with sql.cursor() as cursor:
        cursor.execute(
            "SELECT data_id, state, (SELECT count(*) FROM quantum_attempt a WHERE a.quantum_id = q.id"
            " AND a.submission_id = %s) FROM quantum q WHERE group_id = %s ORDER BY 1",
            [made.id, group.id],
        )
        assert cursor.fetchall() == [("tract=1", "succeeded", 1), ("tract=2", "unknown", 0)]


def test_a_file_that_is_damaged_between_launch_and_claim_is_told(world: World, report: TickReport) -> None:
    """Hours may lie between the two where drivers are Slurm jobs; an outcome is written all the same."""
    context, number = world.context, world.group(0).submissions[-1].number
    for name, damage, words in (
        ("submit.yaml", os.mkfifo, "submit.yaml: expected a regular file, found a FIFO"),
        ("submit.yaml", Path.mkdir, "submit.yaml: expected a regular file, found a folder"),
        ("submit.yaml", Path.touch, "submit.yaml: there is nothing in it"),
        ("versions.json", Path.mkdir, "versions.json: Is a directory"),
    ):
        if world.group(0).state is not GroupState.READY:
            context.control.retry(NAME, groups=["step3/tract0"], reason="again")
        number += 1
        directory = world.folder / "submissions" / f"claimed{number}"
        directory.mkdir()
        damage(directory / name)
        made = context.store.prepare_submission(
            group_id=world.group(0).id, number=number, run_collection=f"run/claimed{number}", repository="/r",
            directory=str(directory), remedy=Remedy(), reason="", actor="t", now=NOW,
        )  # fmt: skip
        assert drive_submission(context, submission_id=made.id, expected_epoch=0)
        context.tick.run(NAME)
        ended = world.group(0).submissions[-1]
        assert ended.outcome is SubmissionOutcome.FAILED
        assert f"/{words}" in ended.reason


def _refused() -> int:
    return sum(must_be_refused(kind, damage) for kind, damage, _ in CASES)
