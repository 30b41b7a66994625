"""Actions that failed: who waits for the next try, and who for a person; `run` knows the difference."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cli_help import Cli

from merian_campaign.context import CommandContext
from merian_campaign.domain.record.snapshot import GroupView, Remedy
from merian_campaign.domain.states import GroupState, SubmissionOutcome

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
STEP = """
steps:
  - name: link
    action: command
    arguments: {run: [ln, -s, a, b]}
"""


@pytest.fixture
def context(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandContext]:
    """A context at a fixed time, on a campaign of one action that is ready."""
    monkeypatch.delenv("MERIAN_CAMPAIGN_DATABASE_URL", raising=False)
    monkeypatch.setenv("MERIAN_CAMPAIGN_HOME", str(cli.home))
    text = cli.survey.file.read_text()
    cli.survey.file.write_text(text.partition("\nsteps:")[0] + STEP)
    context = CommandContext(clock=lambda: NOW)
    context.apply(cli.file)
    yield context
    context.control.pause(cli.name)


def failed(context: CommandContext, name: str, *, needs_person: bool) -> None:
    """Let the action have failed ten seconds ago."""
    (group,) = context.store.snapshot(name).groups
    context.store.move_group(group_id=group.id, state=GroupState.READY, reason="", actor="tick", now=NOW)
    made = context.store.prepare_submission(
        group_id=group.id,
        number=1,
        run_collection="",
        repository="/repo",
        directory=f"/nowhere/{name}/001",
        remedy=Remedy(),
        reason="first",
        actor="tick",
        now=NOW,
    )
    context.store.harvest(
        submission_id=made.id,
        quanta=(),
        outcome=SubmissionOutcome.FAILED,
        reason="ln: no luck",
        actor="tick",
        now=NOW - timedelta(seconds=10),
        needs_person=needs_person,
    )


def only(context: CommandContext, name: str) -> GroupView:
    (group,) = context.store.snapshot(name).groups
    return group


def test_run_waits_for_the_next_try(cli: Cli, context: CommandContext) -> None:
    failed(context, cli.name, needs_person=False)
    report = context.tick.run(cli.name)
    assert report.actions == ("link/all: ready (try again: ln: no luck; next try at 15:00 UTC)",)
    again = context.tick.run(cli.name)
    assert (again.actions, again.live, again.waiting, again.idle) == ((), 0, True, False)
    assert len(only(context, cli.name).submissions) == 1
    context.control.pause(cli.name)
    assert context.tick.run(cli.name).idle


def test_what_needs_a_person_is_not_waited_for(cli: Cli, context: CommandContext) -> None:
    failed(context, cli.name, needs_person=True)
    assert context.tick.run(cli.name).actions == ("link/all: needs_review (ln: no luck)",)
    assert context.tick.run(cli.name).idle
    assert only(context, cli.name).state is GroupState.NEEDS_REVIEW
