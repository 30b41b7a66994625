"""Rules held against a history: what would have changed, and drafts for what no rule matches."""

from __future__ import annotations

from datetime import date

import yaml
from domain_help import NOW
from hypothesis import given
from hypothesis import strategies as st

from merian_campaign.domain.execution.quanta import Attempt
from merian_campaign.domain.failures.failure_rules import FailureRule, FailureRules
from merian_campaign.domain.failures.rule_trial import PastFailure, draft, rejudged, trial, unmatched
from merian_campaign.domain.safe_text import patterns
from merian_campaign.domain.safe_text.folding import folded, pattern_of
from merian_campaign.domain.states import QuantumState, Verdict
from merian_campaign.reports.rule_lines import trial_json, trial_lines


def past(
    verdict: Verdict = Verdict.UNKNOWN, *, task: str = "calibrate", group: str = "night1", **changes: object
) -> PastFailure:
    values = {"exception_type": "m.ValueError", "exception_message": "no luck", "charged": True, **changes}
    attempt = Attempt(
        try_number=1, state=QuantumState.FAILED, verdict=verdict, started=NOW, ended=NOW, **values
    )  # type: ignore[arg-type]
    return PastFailure(step="step1", group=group, task=task, data_id="detector=1,visit=7", attempt=attempt)


def rules(*documents: dict[str, object]) -> tuple[FailureRule, ...]:
    return FailureRules.model_validate({"rules": list(documents)}).rules


LUCK = {"name": "luck", "message": "no luck", "verdict": "algorithm"}


def test_what_would_change_is_counted_with_an_example_and_what_it_means() -> None:
    history = [past(), past(group="night2"), past(exception_message="other")]
    found = trial(history, rules=rules(LUCK))
    (change,) = found.changes
    assert (change.before, change.after, change.effect) == ("unknown", "algorithm", "not run again")
    assert (change.rule, change.attempts, change.example) == ("luck", 2, history[0])
    assert (found.attempts, found.unknown, found.uses[0].decided) == (3, 1, 2)


def test_all_failures_are_accounted_for_and_a_rule_that_does_nothing_is_named() -> None:
    history = [past(), past(Verdict.OUT_OF_MEMORY, exception_type=None), past(exception_message="other")]
    old = {"message": "other", "verdict": "algorithm", "expires": date(2020, 1, 1)}
    never = {"name": "never", "message": "never seen", "verdict": "algorithm"}
    product = rules({"name": "shipped", "message": "seen elsewhere", "verdict": "algorithm"})
    found = trial(history, rules=(*rules(LUCK, old, never), *product))
    assert (found.uses[0].decided, found.otherwise, found.unknown) == (1, 1, 1)
    assert [rule.label for rule in found.idle] == ["message other", "never", "shipped"]
    assert list(trial_lines(found, today=date(2026, 11, 26), shipped=product))[2:] == [
        "rule luck: algorithm: 1 failed attempt",
        "rule message other: matches no failed attempt on record; it expired on 2020-01-01",
        "rule never: matches no failed attempt on record",
        "measured, or by built-in rules: 1 failed attempt",
        "no rule says anything of 1 failed attempt",
    ]
    assert trial_json(found)["measured_or_built_in"] == 1


def test_what_is_as_it_was_is_no_change() -> None:
    found = trial([past(Verdict.ALGORITHM, rule="luck")], rules=rules(LUCK))
    assert (found.changes, found.unknown) == ((), 0)


def test_a_remedy_alone_is_a_change_and_a_rule_in_shadow_is_none() -> None:
    history = [past(Verdict.ALGORITHM, rule="luck")]
    (change,) = trial(history, rules=rules({**LUCK, "remedy": "same_again"})).changes
    assert (change.after, change.effect) == ("algorithm, same again", "run again")
    found = trial(
        history, rules=rules({**LUCK, "verdict": "infrastructure", "shadow": True, "name": "try"}, LUCK)
    )
    assert found.changes == ()
    assert [(use.decided, use.shadowed) for use in found.uses] == [(0, 1), (1, 0)]


def test_without_its_rule_a_failure_is_unknown_again() -> None:
    (change,) = trial([past(Verdict.ALGORITHM, rule="luck")], rules=()).changes
    assert (change.after, change.effect, change.rule) == ("unknown", "run again", "")


def test_what_was_measured_stays() -> None:
    every = rules({"task": ".*", "verdict": "algorithm"})
    for verdict in (Verdict.OUT_OF_MEMORY, Verdict.WALLTIME, Verdict.NODE_LOST):
        for exception in ("m.ValueError", None):
            kept = past(verdict, exception_type=exception, charged=verdict is not Verdict.NODE_LOST)
            assert rejudged(kept, rules=every).verdict is verdict
            assert trial([kept], rules=every).changes == ()
    ruled = {"rule": "other", "remedy": "fewer_workers", "exception_type": None}
    kept = past(Verdict.OUT_OF_MEMORY, certainty="measured", **ruled)
    assert rejudged(kept, rules=()).verdict is Verdict.OUT_OF_MEMORY
    assert rejudged(past(Verdict.OUT_OF_MEMORY, rule="other"), rules=every).verdict is Verdict.ALGORITHM


def test_failures_alike_are_one_cluster_whatever_their_numbers_and_paths() -> None:
    history = [
        past(
            exception_message=f"cannot read /repo/{n}/a.fits of visit {n} at 0xf{n} in 'run{n}'",
            group=f"night{n % 2}",
        )
        for n in range(7)
    ]
    history += [
        past(exception_type=None, exception_message=None, signal=11),
        past(Verdict.ALGORITHM, rule="x"),
    ]
    first, second = unmatched(history)
    assert (first.attempts, first.groups, first.tasks) == (7, 2, ("calibrate",))
    assert first.words == "cannot read # of visit # at # in #"
    assert (second.exception, second.words) == ("", "signal 11")


def test_drafts_are_rules_that_match_what_they_are_drafted_from_and_change_nothing() -> None:
    history = [past(exception_message=f"flux[{n}] is (nan) + {n}%") for n in range(3)]
    none = {"exception_type": None, "exception_message": None}
    history += [past(task=f"t{n}", exit_code=3, **none) for n in range(11)]
    text = draft(unmatched(history))
    drafted = FailureRules.model_validate(yaml.safe_load(text)).rules
    assert [rule.shadow for rule in drafted] == [True, True]
    assert all(rule.verdict is Verdict.UNKNOWN for rule in drafted)
    for one in history:
        assert any(rule.holds_of(task=one.task, attempt=one.attempt) for rule in drafted)
    assert trial(history, rules=drafted).changes == ()
    assert "# 11 attempts, in 1 group, e.g. step1/night1 detector=1,visit=7" in text


@given(st.text(max_size=300), st.text(max_size=60))
def test_any_text_is_folded_and_drafted_inertly(message: str, exception: str) -> None:
    found = unmatched([past(exception_message=message, exception_type=exception or None)])
    drafted = FailureRules.model_validate(yaml.safe_load(draft(found))).rules
    assert len(drafted) <= 1
    assert len(folded(message)) <= 200
    pattern = pattern_of(message)
    assert not pattern or not patterns.problem(pattern)


def test_nothing_is_drafted_from_nothing() -> None:
    assert FailureRules.model_validate(yaml.safe_load(draft(()))).rules == ()
