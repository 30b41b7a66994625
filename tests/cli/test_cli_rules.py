"""`rules test` and `rules suggest` on a campaign with failures on record."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import psycopg2
import pytest
import yaml
from cli_help import Cli

from merian_campaign.context import CommandContext
from merian_campaign.domain.execution.quanta import Attempt, Quantum
from merian_campaign.domain.failures.failure_rules import FailureRules
from merian_campaign.domain.record.attempt_rows import AttemptRow
from merian_campaign.domain.states import GroupState, QuantumState, SubmissionOutcome, Verdict
from merian_campaign.reports.failures import evidence_words


@pytest.fixture
def failed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> str:
    """A campaign of whose first group two quanta failed of what no rule knows; its name."""
    monkeypatch.delenv("MERIAN_CAMPAIGN_DATABASE_URL", raising=False)
    monkeypatch.setenv("MERIAN_CAMPAIGN_HOME", str(cli.home))
    context = CommandContext()
    name, now, store = cli.applied(), context.clock(), context.store
    group = store.snapshot(name).groups[0]
    store.move_group(group_id=group.id, state=GroupState.READY, reason="", actor="t", now=now)
    submission = store.prepare_submission(
        group_id=group.id, number=1, run_collection=f"runs/{name}/1", repository="/repo",
        directory=f"/submissions/{name}/1", remedy=group.asked, reason="", actor="t", now=now, basis=None,
    )  # fmt: skip
    quanta = [
        Quantum(
            task="calibrate", data_id=f"detector={n}", dimensions={"detector": n}, state=QuantumState.FAILED,
            attempts=(
                Attempt(
                    try_number=1, state=QuantumState.FAILED, verdict=Verdict.UNKNOWN, evidence="none",
                    exception_type="m.ValueError", exception_message=f"no luck with {n}: \x1b[31mred",
                    exception_bases=("m.ValueError",), started=now - timedelta(minutes=1), ended=now,
                ),
            ),
        )
        for n in (1, 2)
    ]  # fmt: skip
    worked = Attempt(
        try_number=1, state=QuantumState.SUCCEEDED, peak_mb=300, started=now - timedelta(minutes=1), ended=now
    )
    quanta.append(
        Quantum(
            task="isr", data_id="detector=1", dimensions={"detector": 1}, state=QuantumState.SUCCEEDED,
            attempts=(worked,),
        )
    )  # fmt: skip
    store.harvest(
        submission_id=submission.id,
        quanta=quanta,
        outcome=SubmissionOutcome.PARTIAL,
        reason="",
        actor="t",
        now=now,
    )
    return name


def test_drafts_are_tried_and_change_what_a_person_makes_of_them(
    cli: Cli, failed: str, tmp_path: Path
) -> None:
    assert "no rule says anything of 2 failed attempts" in cli("rules", "test", failed).fine()
    drafts = cli("rules", "suggest", failed).fine()
    assert "\x1b" not in drafts
    (drafted,) = FailureRules.model_validate(yaml.safe_load(drafts)).rules
    assert (drafted.task, drafted.shadow) == ("calibrate", True)
    assert json.loads(cli("rules", "suggest", failed, "--json").fine())["clusters"][0]["attempts"] == 2

    file = tmp_path / "mine.yaml"
    file.write_text(drafts)
    said = cli("rules", "test", failed, str(file)).fine()
    assert "2 failed attempts on record; 0 would change" in said
    assert "in shadow would say unknown of 2 failed attempts" in said
    file.write_text(
        drafts.replace("verdict: unknown", "verdict: algorithm").replace("shadow: true", "shadow: false")
    )
    found = json.loads(cli("rules", "test", failed, str(file), "--json").fine())
    (change,) = found["changes"]
    assert (change["before"], change["after"], change["effect"]) == ("unknown", "algorithm", "not run again")
    assert (change["attempts"], found["unknown"]) == (2, 0)


def test_what_is_no_file_of_rules_is_refused(cli: Cli, failed: str, tmp_path: Path) -> None:
    cli("rules", "test", failed, str(tmp_path / "none.yaml")).refused(2, "none.yaml")
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{message: x, verdict: algorithm, remedy: accept}]\n")
    cli("rules", "test", failed, str(file)).refused(2, "rules.yaml", "needs up_to")
    file.write_text("rules: [{message: x, verdict: algorithm, expires: tomorrow}]\n")
    cli("rules", "test", failed, str(file)).refused(
        2, "expires: found 'tomorrow'; write a date like 2026-12-31"
    )
    cli("rules", "test", "nobody").refused(2, "no campaign is called 'nobody'")


def test_usage_says_what_is_asked_for_next(cli: Cli, failed: str) -> None:
    (found,) = json.loads(cli("usage", failed, "--json").fine())["memory"]
    assert (found["task"], found["measured"], found["learned"]) == ("isr", 1, False)
    assert found["fits"] == 1.0
    assert "asks next" in cli("usage", failed).fine()


def test_usage_shows_what_was_measured_though_no_file_tells_the_rest(
    cli: Cli, failed: str, sql: psycopg2.extensions.connection
) -> None:
    known = json.loads(cli("usage", failed, "--json").fine())["usage"]
    with sql.cursor() as cursor:
        cursor.execute(
            "UPDATE revision SET spec = '{}' WHERE campaign_id = (SELECT id FROM campaign WHERE name = %s)",
            (failed,),
        )
    done = cli("usage", failed, "--json")
    assert json.loads(done.fine()) | {"memory": []} == json.loads(done.stdout)
    assert json.loads(done.stdout)["usage"] == known
    assert "what is asked for next cannot be told: campaign" in done.stderr


def test_what_a_rule_does_is_told_with_the_failure() -> None:
    row = AttemptRow(
        task="isr", data_id="detector=1", submission=1, try_number=1, state="failed", verdict="algorithm",
        rule="photometry", remedy="accept 0.001",
    )  # fmt: skip
    assert evidence_words(row).endswith("rule photometry: accept 0.001")
