"""Orders to many groups at once: what they mean, the question before, and all of it or nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import psycopg2
import pytest
from cli_help import PROGRAM, Cli, environment

from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.states import GroupState, SubmissionOutcome


@pytest.fixture
def context(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandContext]:
    """A paused campaign whose two tracts need review."""
    monkeypatch.delenv("MERIAN_CAMPAIGN_DATABASE_URL", raising=False)
    monkeypatch.setenv("MERIAN_CAMPAIGN_HOME", str(cli.home))
    context = CommandContext()
    name = cli.applied()
    for group in context.store.snapshot(name).groups:
        if group.step == "step3":
            for state in (GroupState.READY, GroupState.NEEDS_REVIEW):
                context.store.move_group(
                    group_id=group.id, state=state, reason="why", actor="t", now=context.clock()
                )
    return context


def states(cli: Cli) -> dict[str, str]:
    board = json.loads(cli("status", cli.name, "--json").fine())
    return {f"{group['step']}/{group['group']}": group["state"] for group in board["groups"]}


def answered(cli: Cli, answer: str, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [str(PROGRAM), *arguments], input=answer, env=environment(cli.home), capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.mark.usefixtures("context")
def test_a_pattern_asks_and_does_all(cli: Cli) -> None:
    review = {"step1/all": "waiting", "step3/tract9813": "needs_review", "step3/tract9814": "needs_review"}
    for answer in ("n\n", ""):
        code, said = answered(cli, answer, "retry", cli.name, "step3/*")
        assert code == 1
        assert "Retry 2 groups: step3/tract9813, step3/tract9814? [y/N]" in said
        assert "where there is nobody to ask, say --yes" in said
        assert states(cli) == review
    code, said = answered(cli, "y\n", "retry", cli.name, "step3/*", "-m", "disk was full\x1b[31m")
    assert (code, "2 groups: ready; the next tick submits them" in said) == (0, True)
    assert set(states(cli).values()) == {"waiting", "ready"}


@pytest.mark.usefixtures("context")
def test_all_or_nothing(cli: Cli) -> None:
    before = states(cli)
    cli("retry", cli.name, "step3/tract9813", "step1/all", "--yes").refused(2, "step1/all is waiting")
    cli("retry", cli.name, "step3", "nope", "--yes").refused(2, "'nope'; steps are step1, step3")
    cli("retry", cli.name, "step3", "--verdict", "out_of_memory", "--yes").refused(2, "none of 2 groups")
    assert "Usage" in cli("retry", cli.name, "step3", "--verdict", "hunger").stderr
    assert states(cli) == before
    assert "2 groups: done" in cli("accept", cli.name, "step3", "--yes").fine()
    assert states(cli)["step3/tract9814"] == "done"


@pytest.mark.usefixtures("context")
def test_one_group_that_is_named_needs_no_yes(cli: Cli) -> None:
    assert "step3/tract9813: done" in cli("accept", cli.name, "step3/tract9813").fine()
    assert "cancelled" in cli("cancel", cli.name, "step1", "step3", "--yes").fine()
    assert states(cli) == {
        "step1/all": "cancelled", "step3/tract9813": "done", "step3/tract9814": "cancelled",
    }  # fmt: skip


def test_a_campaign_that_this_release_does_not_understand(
    cli: Cli, context: CommandContext, sql: psycopg2.extensions.connection
) -> None:
    """It is told what to do; it can be cancelled; and it is no concern of other campaigns."""
    with sql.cursor() as cursor:
        cursor.execute(
            "UPDATE revision SET spec = spec || '{\"butler\": 7}' WHERE campaign_id ="
            " (SELECT id FROM campaign WHERE name = %s)",
            [cli.name],
        )
    for order in (context.tick.run, context.tick.plan):
        with pytest.raises(
            BadInputError, match=r"revision 1: as it was applied, .*: butler: .*apply it again"
        ):
            order(cli.name)
    assert cli.name in {campaign.name for campaign in context.store.campaigns()}
    assert context.control.cancel(cli.name).submissions == 0
    assert set(states(cli).values()) == {"cancelled"}


def test_who_waits_for_the_next_try_need_not_wait(
    cli: Cli, context: CommandContext, sql: psycopg2.extensions.connection
) -> None:
    group = context.store.snapshot(cli.name).groups[0]
    context.store.move_group(
        group_id=group.id, state=GroupState.READY, reason="", actor="t", now=context.clock()
    )
    made = context.store.prepare_submission(
        group_id=group.id, number=1, run_collection=cli.name, repository="/repo", directory=f"/x/{cli.name}",
        remedy=Remedy(), reason="first", actor="t", now=context.clock(),
    )  # fmt: skip
    context.store.harvest(
        submission_id=made.id, quanta=(), outcome=SubmissionOutcome.FAILED, actor="t", now=context.clock(),
        reason="OSError: No space left on device",
    )  # fmt: skip
    context.tick.run(cli.name)
    waiting = context.store.snapshot(cli.name).group(group.id)
    assert (waiting.state, "next try at" in waiting.reason) == (GroupState.READY, True)
    assert "step1/all: ready" in cli("retry", cli.name, "step1").fine()
    with sql.cursor() as cursor:
        cursor.execute('SELECT attempts_from FROM "group" WHERE id = %s', [group.id])
        assert cursor.fetchone() == (1,)
