"""What an earlier life of a campaign, or another database, left or still does is not taken for one's own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from survey_help import make_survey
from test_cli_isolation import NOW, SOUND, place_of

from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import ForeignError
from merian_campaign.domain.record.snapshot import GroupView, Remedy
from merian_campaign.domain.rendering.naming import submission_directory
from merian_campaign.domain.states import GroupState, SubmissionOutcome
from merian_campaign.host import processes
from merian_campaign.submission_context import drive_submission

NAME = "second"
ANOTHER = "8a8e3a43-0000-4000-8000-000000000000"
OURS, THEIRS, OLD, EMPTY = range(4)


@dataclass(frozen=True)
class Life:
    """A campaign with a submission of each kind under way."""

    context: CommandContext
    folder: Path

    def group(self, tract: int) -> GroupView:
        return next(one for one in self.context.store.snapshot(NAME).groups if one.tract == tract)

    def directory(self, tract: int) -> Path:
        key = self.group(tract).key
        return Path(
            submission_directory(
                root=str(self.folder / "work"), campaign=NAME, step="step3", group=key, number=1
            )
        )

    def write(self, tract: int, kind: str, value: Any) -> None:
        path = place_of(kind, self.directory(tract))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value) + "\n")

    def submitted(self, tract: int) -> None:
        """Let a group have a submission whose driver is this process."""
        store, group = self.context.store, self.group(tract)
        store.move_group(group_id=group.id, state=GroupState.READY, reason="", actor="t", now=NOW)
        made = store.prepare_submission(
            group_id=group.id, number=1, run_collection=f"run/{tract}", repository=str(self.folder / "repo"),
            directory=str(self.directory(tract)), remedy=Remedy(), reason="first", actor="t", now=NOW,
        )  # fmt: skip
        me = processes.identity(os.getpid())
        store.claim(submission_id=made.id, driver=me, lease_seconds=180, now=NOW, expected_epoch=0)
        uuid = self.context.store.snapshot(NAME).campaign.uuid
        self.write(tract, "identity", {"campaign": uuid, "group": f"step3/{group.key}", "number": 1})


@pytest.fixture
def life(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Life]:
    survey = make_survey(tmp_path)
    survey.edit("campaign: night", f"work_dir: {tmp_path}/work\ncampaign: {NAME}")
    survey.edit('tracts: ["9813-9814"]', f'tracts: ["0-{EMPTY}"]')
    survey.edit("    after: [step1]\n", "")
    monkeypatch.delenv("MERIAN_CAMPAIGN_DATABASE_URL", raising=False)
    monkeypatch.setenv("MERIAN_CAMPAIGN_HOME", str(home))
    made = Life(context=CommandContext(clock=lambda: NOW), folder=tmp_path)
    made.context.apply(str(survey.file))
    made.context.control.pause(NAME)
    for tract in range(EMPTY + 1):
        made.submitted(tract)
    yield made
    made.context.store.forget(NAME)


def test_only_its_own_outcome_is_believed_and_that_as_far_as_it_is_borne_out(life: Life) -> None:
    ran = SOUND["outcome"]
    everything = {**SOUND, "outcome": {**ran, "campaign": life.context.store.snapshot(NAME).campaign.uuid}}
    for kind in SOUND:
        life.write(OURS, kind, everything[kind])
    # Another database's submission in the same place: all of it is well, and none of it ours.
    for kind in SOUND:
        life.write(
            THEIRS, kind, {**SOUND["outcome"], "campaign": ANOTHER} if kind == "outcome" else SOUND[kind]
        )
    life.write(THEIRS, "identity", {"campaign": ANOTHER, "group": "step3/1", "number": 1})
    theirs = {path: path.read_bytes() for path in life.directory(THEIRS).rglob("*") if path.is_file()}
    # A driver of an earlier life came to its end after the directory was made anew.
    for kind in ("predicted", "journal"):
        life.write(OLD, kind, SOUND[kind])
    life.write(OLD, "outcome", {**ran, "campaign": ANOTHER})
    # What it claims is not so: there were quanta.
    for kind in SOUND:
        life.write(
            EMPTY, kind, {**everything["outcome"], "end": "empty"} if kind == "outcome" else SOUND[kind]
        )

    report = life.context.tick.run(NAME)
    states = [life.group(tract).state for tract in range(EMPTY + 1)]
    assert states[OURS] is GroupState.DONE, report
    assert states[THEIRS] is GroupState.NEEDS_REVIEW
    assert "is of another tracking database, or of an earlier campaign" in life.group(THEIRS).reason
    assert {path: path.read_bytes() for path in theirs} == theirs
    old = life.group(OLD)
    assert old.live is not None
    assert old.state is GroupState.RUNNING
    (submission,) = life.group(EMPTY).submissions
    assert (submission.outcome, life.group(EMPTY).counts.succeeded) == (SubmissionOutcome.LOST, 1)


def test_a_driver_leaves_a_directory_alone_that_has_come_to_be_anothers(life: Life) -> None:
    life.write(OURS, "identity", {"campaign": ANOTHER, "group": "step3/0", "number": 1})
    life.write(THEIRS, "identity", {"campaign": ANOTHER, "group": "step3/1", "number": 1})
    (submission,) = life.group(OURS).submissions
    with pytest.raises(ForeignError, match="is of another tracking database"):
        drive_submission(life.context, submission_id=submission.id, expected_epoch=1)
    assert not (life.directory(OURS) / "outcome.json").exists()
    found = life.context.control.cancel(NAME, groups=[life.group(THEIRS).step + "/" + life.group(THEIRS).key])
    assert "Slurm jobs of it, if any, were left alone" in found.trouble
