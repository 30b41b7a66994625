"""Making groups anew by hand, and what generations were made from."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cli_help import Cli

from merian_campaign.context import CommandContext
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.overlaps import Overlaps, SkyExposure
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.states import GroupState, SubmissionOutcome

ONE = Basis(exposures=frozenset({1, 2}))
TWO = Basis(exposures=frozenset({2, 3, 4}), upstream={"step1/all": 2})


def submitted(context: CommandContext, name: str, step: str, *, number: int, basis: Basis | None) -> None:
    """Bring the first group of a step through a submission to done."""
    store, now = context.store, context.clock()
    group = next(group for group in store.snapshot(name).groups if group.step == step)
    store.move_group(group_id=group.id, state=GroupState.READY, reason="", actor="t", now=now)
    made = store.prepare_submission(
        group_id=group.id, number=number, run_collection=f"{name}/{step}/{number}", repository="/repo",
        directory=f"/x/{name}/{step}/{number}", remedy=Remedy(), reason="test", actor="t", now=now,
        basis=basis,
    )  # fmt: skip
    store.harvest(
        submission_id=made.id, quanta=(), outcome=SubmissionOutcome.SUCCEEDED, reason="", actor="t", now=now
    )
    store.move_group(group_id=group.id, state=GroupState.DONE, reason="", actor="t", now=now)


@pytest.fixture
def context(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> CommandContext:
    """A campaign whose first tract is done, made from two exposures."""
    monkeypatch.delenv("MERIAN_CAMPAIGN_DATABASE_URL", raising=False)
    monkeypatch.setenv("MERIAN_CAMPAIGN_HOME", str(cli.home))
    context = CommandContext()
    name = cli.applied()
    submitted(context, name, "step3", number=1, basis=ONE)
    rows = tuple(SkyExposure(exposure=number, day_obs=20210317 + number // 3) for number in (1, 2, 3))
    context.store.record_overlaps(
        campaign_id=context.store.snapshot(name).campaign.id,
        overlaps=Overlaps(exposures=rows, basis="", seen_at=context.clock()), actor="t", now=context.clock(),
    )  # fmt: skip
    return context


def shown(cli: Cli, group: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli("show", cli.name, group, "--json").fine())
    return found


def test_a_group_is_made_anew(cli: Cli, context: CommandContext) -> None:
    assert (
        "generation 1 (readers see it): 2 exposures of 1 night"
        in cli("show", cli.name, "step3/tract9813").fine()
    )
    cli("redo", cli.name, "step3/tract9814").refused(2, "step3/tract9814 is waiting and has not run")
    cli("redo", cli.name, "step3/*", "nope", "--yes").refused(2, "'nope'")
    assert shown(cli, "step3/tract9813")["generation"] == 1
    said = cli("redo", cli.name, "step3/*", "--reason", "a better sky model", "--yes").fine()
    assert "step3/tract9813: waiting; generation 2 begins" in said

    found = shown(cli, "step3/tract9813")
    assert (found["generation"], found["published"], found["state"]) == (2, 1, "waiting")
    words = cli("show", cli.name, "step3/tract9813").fine()
    assert "generation 2 (begun): not submitted yet" in words
    # What there is now is not known here; that generation 2 was made from nothing yet is no answer.
    cli("diff", cli.name, "step3/tract9813").refused(2, "what it would be made from now is not known")
    (event, *_) = found["events"]
    assert (event["kind"], event["reason"]) == ("redo", "a better sky model")
    submitted(context, cli.name, "step3", number=2, basis=TWO)
    found = shown(cli, "step3/tract9813")
    assert [entry["generation"] for entry in found["submissions"]] == [1, 2]
    assert found["generations"][1]["basis"] == {**TWO.to_json(), "nights": [20210317, 20210318]}
    words = cli("show", cli.name, "step3/tract9813").fine()
    assert "generation 2 (in the making): 3 exposures of 2 nights" in words
    assert "reads generation 2 of step1/all" in words


def test_what_is_under_way_is_not_made_anew(cli: Cli, context: CommandContext) -> None:
    store, now = context.store, context.clock()
    group = next(group for group in store.snapshot(cli.name).groups if group.submissions)
    store.move_group(group_id=group.id, state=GroupState.READY, reason="", actor="t", now=now)
    store.prepare_submission(
        group_id=group.id, number=2, run_collection=f"{cli.name}/live", repository="/repo", reason="test",
        directory=f"/x/{cli.name}/live", remedy=Remedy(), actor="t", now=now,
    )  # fmt: skip
    cli("redo", cli.name, "step3/tract9813").refused(2, "has a submission under way; redo it afterwards")
    assert store.snapshot(cli.name).group(group.id).generation == 1


def test_the_inputs_of_two_generations(cli: Cli, context: CommandContext) -> None:
    cli("diff", cli.name, "step3/tract9813", "1", "2").refused(2, "has no generation 2", "it has 1")
    cli("redo", cli.name, "step3/tract9813").fine()
    submitted(context, cli.name, "step3", number=2, basis=TWO)
    found = json.loads(cli("diff", cli.name, "step3/tract9813", "1", "2", "--json").fine())
    told = {key: found[key] for key in ("from", "to", "added", "added_nights", "removed", "upstream")}
    assert told == {
        "from": "1", "to": "2", "added": [3, 4], "added_nights": [20210318], "removed": [1],
        "upstream": [{"group": "step1/all", "from": 1, "to": 2}],
    }  # fmt: skip
    words = cli("diff", cli.name, "step3/tract9813", "1", "2").fine()
    assert "+ 2 exposures of 1 night (20210318)" in words
    assert "- 1 exposure" in words
    assert "step1/all: generation 1 -> 2" in words
    assert "no difference" in cli("diff", cli.name, "step3/tract9813", "2", "2").fine()


def test_a_generation_of_which_nothing_was_written_down(cli: Cli, context: CommandContext) -> None:
    submitted(context, cli.name, "step1", number=1, basis=None)
    cli("diff", cli.name, "step1", "1", "1").refused(2, "nobody wrote down what generation 1 was made from")
    assert "nobody wrote down what it was made from" in cli("show", cli.name, "step1").fine()


def test_what_is_being_made_anew_is_told_alike_everywhere(cli: Cli, context: CommandContext) -> None:
    assert json.loads(cli("status", cli.name, "--json").fine())["remaking"] is None
    assert "made anew" not in cli("status", cli.name).fine()
    before = context.clock()
    cli("redo", cli.name, "step3/tract9813", "--reason", "a better sky model").fine()
    told = json.loads(cli("status", cli.name, "--json").fine())
    assert told["remaking"] == {
        "groups": 1, "under_way": 0, "waiting": 1, "stuck": 0, "complete": 0, "expected": 0, "succeeded": 0,
        "first": "step3/tract9813", "reason": "a better sky model",
    }  # fmt: skip
    words = "1 group is being made anew (1 waiting), e.g. step3/tract9813: a better sky model"
    assert words in cli("status", cli.name).fine().replace("\n", " ")
    assert [row["remade"] for row in told["groups"] if row["remade"]] == ["a better sky model"]
    head = json.loads(cli("report", cli.name, "--json").fine())["headline"]
    assert (head["remade"], head["remade_words"]) == (told["remaking"], words)
    then = context.status(cli.name, at=before)
    assert then.remaking is None

    submitted(context, cli.name, "step3", number=2, basis=TWO)
    assert json.loads(cli("status", cli.name, "--json").fine())["remaking"]["complete"] == 1
    (group, *_) = (one for one in context.store.snapshot(cli.name).groups if one.step == "step3")
    context.store.published(group_id=group.id, generation=2, actor="t", now=context.clock())
    for found in (context.status(cli.name), context.status(cli.name, at=context.clock())):
        assert found.remaking is None
