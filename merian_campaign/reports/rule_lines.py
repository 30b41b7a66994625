"""What failure rules would have changed, and drafts of new ones, for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from merian_campaign.domain.failures.failure_rules import FailureRule
from merian_campaign.domain.failures.rule_trial import FailureCluster, Trial, VerdictChange

__all__ = ["clusters_json", "trial_json", "trial_lines"]


def trial_json(trial: Trial) -> dict[str, Any]:
    """Return a trial for machines."""
    return {
        "attempts": trial.attempts,
        "unknown": trial.unknown,
        "changes": [
            {
                "task": one.task,
                "before": one.before,
                "after": one.after,
                "effect": one.effect,
                "rule": one.rule,
                "attempts": one.attempts,
                "example": one.example.place,
            }
            for one in trial.changes
        ],
        "rules": [
            {"rule": use.rule.label, "decided": use.decided, "in_shadow": use.shadowed} for use in trial.uses
        ],
        "idle": [
            {"rule": rule.label, "expires": None if rule.expires is None else rule.expires.isoformat()}
            for rule in trial.idle
        ],
        "measured_or_built_in": trial.otherwise,
    }


def trial_lines(trial: Trial, *, today: date, shipped: Sequence[FailureRule] = ()) -> Iterator[str]:
    """Yield a trial in words: what would have changed, what each rule did, what none says anything of.

    Of rules that match nothing it says so, the ``shipped`` ones aside: most of these do not, anywhere.
    """
    changed = sum(one.attempts for one in trial.changes)
    yield f"{_attempts(trial.attempts)} on record; {changed:,} would change"
    yield from map(_change, trial.changes)
    for use in trial.uses:
        what = f"in shadow would say {use.rule.words()} of" if use.rule.shadow else f"{use.rule.words()}:"
        over = _over(use.rule, today)
        yield f"rule {use.rule.label}: {what} {_attempts(use.decided or use.shadowed)}{over}"
    for rule in trial.idle:
        if rule not in shipped:
            yield f"rule {rule.label}: matches no failed attempt on record{_over(rule, today)}"
    if trial.otherwise:
        yield f"measured, or by built-in rules: {_attempts(trial.otherwise)}"
    if trial.unknown:
        yield f"no rule says anything of {_attempts(trial.unknown)}"


def clusters_json(clusters: Sequence[FailureCluster]) -> dict[str, Any]:
    """Return what no rule says anything of for machines."""
    return {
        "clusters": [
            {
                "exception": one.exception,
                "words": one.words,
                "attempts": one.attempts,
                "tasks": list(one.tasks),
                "groups": one.groups,
                "example": one.example.place,
            }
            for one in clusters
        ]
    }


def _change(one: VerdictChange) -> str:
    effect = f"; {one.effect}" if one.effect else ""
    rule = f" by rule {one.rule}" if one.rule else " by no rule"
    where = f"{_attempts(one.attempts)}, e.g. {one.example.place}"
    return f"{one.task}: {one.before} -> {one.after}{rule}{effect}: {where}"


def _over(rule: FailureRule, today: date) -> str:
    return f"; it expired on {rule.expires}" if rule.expires is not None and rule.expires < today else ""


def _attempts(number: int) -> str:
    return "1 failed attempt" if number == 1 else f"{number:,} failed attempts"
