"""Failure rules held against what was recorded: what would have changed, and what none says anything of."""

from __future__ import annotations

import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from merian_campaign.domain.execution.quanta import Attempt, Judgement
from merian_campaign.domain.failures.certainty import Certainty
from merian_campaign.domain.failures.failure_rules import FailureRule
from merian_campaign.domain.failures.rule_remedy import AGAIN_REMEDIES, HELD_REMEDIES, read_remedy
from merian_campaign.domain.failures.rules import RETURNED, Evidence, judge
from merian_campaign.domain.safe_text.folding import escaped, folded, pattern_of
from merian_campaign.domain.safe_text.patterns import problem
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.safe_text.yaml_writer import quote
from merian_campaign.domain.states import FINAL_VERDICTS, Verdict

__all__ = [
    "FailureCluster",
    "PastFailure",
    "RuleUse",
    "Trial",
    "VerdictChange",
    "draft",
    "rejudged",
    "trial",
    "unmatched",
]

_MEASURED: Final = {
    Verdict.OUT_OF_MEMORY: "out_of_memory",
    Verdict.WALLTIME: "walltime",
    Verdict.NODE_LOST: "node_lost",
    Verdict.PREEMPTED: "node_lost",
}
_MOST_TASKS: Final = 10
_WIDTH: Final = 100


@dataclass(frozen=True, kw_only=True)
class PastFailure:
    """An attempt that failed, as it is on record.

    Parameters
    ----------
    step, group, task, data_id : `str`
        Of its quantum.
    attempt : `Attempt`
        With the verdict that it got then, and the rule that this was by.
    release : `str`
        Of the LSST stack that it ran under, in words.
    """

    step: str
    group: str
    task: str
    data_id: str
    attempt: Attempt
    release: str = ""

    @property
    def place(self) -> str:
        """Where it was, in words."""
        return f"{self.step}/{self.group} {self.data_id}"


@dataclass(frozen=True, kw_only=True)
class VerdictChange:
    """Failures of a task that would have another verdict or remedy.

    Parameters
    ----------
    task : `str`
        Its label.
    before, after : `str`
        Verdict and remedy in words.
    effect : `str`
        What that would have changed in what is run again; empty for nothing.
    rule : `str`
        By which rule; empty for none.
    attempts : `int`
        How many attempts.
    example : `PastFailure`
        The first of them.
    """

    task: str
    before: str
    after: str
    effect: str
    rule: str
    attempts: int
    example: PastFailure


@dataclass(frozen=True, kw_only=True)
class RuleUse:
    """How many failures a rule decided, and of how many it only said what it would have done."""

    rule: FailureRule
    decided: int
    shadowed: int


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What rules would have made of a history.

    Parameters
    ----------
    attempts : `int`
        Failures that were looked at.
    changes : `tuple` [`VerdictChange`, ...]
        The most frequent first.
    uses : `tuple` [`RuleUse`, ...]
        In the order in which rules are tried; those that match something.
    unknown : `int`
        Failures that no rule says anything of.
    idle : `tuple` [`FailureRule`, ...]
        Rules of those that were tried that match nothing, in their order.
    """

    attempts: int
    changes: tuple[VerdictChange, ...]
    uses: tuple[RuleUse, ...]
    unknown: int
    idle: tuple[FailureRule, ...] = ()

    @property
    def otherwise(self) -> int:
        """Failures whose verdict was measured, or is by a built-in rule."""
        return self.attempts - self.unknown - sum(use.decided for use in self.uses)


@dataclass(frozen=True, kw_only=True)
class FailureCluster:
    """Failures alike of which no rule says anything.

    Parameters
    ----------
    exception : `str`
        Full name of the exception's type; empty where there is none.
    words : `str`
        What their messages have in common.
    attempts : `int`
        How many.
    tasks : `tuple` [`str`, ...]
        Labels of their tasks.
    groups : `int`
        Groups that have any.
    example : `PastFailure`
        The first of them.
    """

    exception: str
    words: str
    attempts: int
    tasks: tuple[str, ...]
    groups: int
    example: PastFailure


def rejudged(past: PastFailure, *, rules: tuple[FailureRule, ...]) -> Judgement:
    """Return what rules make of a failure now.

    A verdict of out of memory, wall time or a lost node that was measured stays; where nobody wrote down
    whether it was, one that is by no rule.
    """
    attempt = past.attempt
    sure = attempt.certainty == Certainty.MEASURED or (not attempt.certainty and attempt.rule is None)
    measured = attempt.verdict if attempt.verdict in _MEASURED and sure else None
    block = None
    if measured is not None and attempt.exception_type is None:
        block = Judgement(verdict=measured, evidence=attempt.evidence, charged=attempt.charged)
    return judge(
        Evidence(
            task=past.task,
            attempt=attempt,
            journal_verdict=None if measured is None else _MEASURED[measured],
            journal_evidence=attempt.evidence,
            started=attempt.started is not None,
            ended=attempt.ended is not None,
            block=block,
            release=past.release,
        ),
        rules=rules,
    )


def trial(history: Iterable[PastFailure], *, rules: tuple[FailureRule, ...]) -> Trial:
    """Return what rules would have made of a history."""
    number, unknown = 0, 0
    found: dict[tuple[str, str, str, str, str], list[PastFailure]] = defaultdict(list)
    decided, shadowed = Counter[str](), Counter[str]()
    for past in history:
        number += 1
        after = rejudged(past, rules=rules)
        unknown += after.verdict is Verdict.UNKNOWN and after.rule is None
        name = (after.rule or "").removesuffix(RETURNED)
        decided[name] += 1
        shadowed.update(
            rule.label
            for rule in rules
            if rule.shadow and rule.holds_of(task=past.task, attempt=past.attempt)
        )
        before = past.attempt
        if (before.verdict, before.remedy) != (after.verdict, after.remedy):
            was, will = _words(before.verdict, before.remedy), _words(after.verdict, after.remedy)
            found[past.task, was, will, _effect(before, after), name].append(past)
    changes = [
        VerdictChange(
            task=task, before=was, after=will, effect=effect, rule=name, attempts=len(pasts), example=pasts[0]
        )
        for (task, was, will, effect, name), pasts in found.items()
    ]
    return Trial(
        attempts=number,
        changes=tuple(sorted(changes, key=lambda change: -change.attempts)),
        uses=(uses := tuple(_uses(rules, decided, shadowed))),
        unknown=unknown,
        idle=tuple(rule for rule in rules if rule not in [use.rule for use in uses]),
    )


def _uses(rules: Iterable[FailureRule], decided: Counter[str], shadowed: Counter[str]) -> Iterator[RuleUse]:
    for rule in rules:
        counted = shadowed if rule.shadow else decided
        if counted[rule.label]:
            use = counted.pop(rule.label)
            yield RuleUse(rule=rule, decided=0 if rule.shadow else use, shadowed=use if rule.shadow else 0)


def unmatched(history: Iterable[PastFailure]) -> tuple[FailureCluster, ...]:
    """Return what no rule says anything of, put together by exception and words, the most frequent first."""
    found: dict[tuple[str, str], list[PastFailure]] = defaultdict(list)
    for past in history:
        attempt = past.attempt
        if attempt.verdict is Verdict.UNKNOWN and attempt.rule is None:
            said = folded(one_line(attempt.exception_message or ""))
            words = said if attempt.exception_type else _ending(attempt)
            found[attempt.exception_type or "", words].append(past)
    clusters = [
        FailureCluster(
            exception=exception,
            words=words,
            attempts=len(pasts),
            tasks=tuple(sorted({past.task for past in pasts})),
            groups=len({(past.step, past.group) for past in pasts}),
            example=pasts[0],
        )
        for (exception, words), pasts in found.items()
    ]
    return tuple(sorted(clusters, key=lambda cluster: -cluster.attempts))


def draft(clusters: Sequence[FailureCluster]) -> str:
    """Return a file of rules, one for each cluster, in shadow until a person has said what it means."""
    if not clusters:
        return "rules: []\n"
    return "rules:\n" + "".join(_draft(cluster) for cluster in clusters)


def _draft(cluster: FailureCluster) -> str:
    attempt = cluster.example.attempt
    many = f"{cluster.attempts} attempt{'s' if cluster.attempts > 1 else ''}, in {cluster.groups} "
    said = f"{many}group{'s' if cluster.groups > 1 else ''}, e.g. {cluster.example.place}: "
    said += one_line(": ".join(filter(None, (cluster.exception, attempt.exception_message or cluster.words))))
    lines = [f"  # {text}" for text in textwrap.wrap(said, _WIDTH)]
    conditions: dict[str, str] = {}
    if len(cluster.tasks) <= _MOST_TASKS:
        conditions["task"] = quote("|".join(cluster.tasks))
    if cluster.exception:
        wanted = {
            "exception": f"^{escaped(cluster.exception)}$",
            "message": pattern_of(attempt.exception_message or ""),
        }
        conditions |= {key: quote(text) for key, text in wanted.items() if text and not problem(text)}
    elif attempt.signal is not None:
        conditions["signal"] = str(attempt.signal)
    elif attempt.exit_code is not None:
        conditions["exit_code"] = str(attempt.exit_code)
    if not conditions:
        return ""
    lines += [
        f"  {'-' if number == 0 else ' '} {key}: {value}"
        for number, (key, value) in enumerate(conditions.items())
    ]
    lines += ["    verdict: unknown  # say what it is,", "    shadow: true      # and take this line away"]
    return "\n".join(lines) + "\n"


def _words(verdict: Verdict | None, remedy: str | None) -> str:
    said = (verdict or Verdict.UNKNOWN).replace("_", " ")
    return f"{said}, {remedy.replace('_', ' ')}" if remedy else said


def _effect(before: Attempt, after: Judgement) -> str:
    """Say what a change of verdict and remedy changes in what is run again."""
    was, will = _is_held(before.verdict, before.remedy), _is_held(after.verdict, after.remedy)
    if was is not will:
        return "not run again" if will else "run again"
    charged = before.charged is not after.charged and not will
    return ("counted" if after.charged else "not counted") + " as a try" if charged else ""


def _is_held(verdict: Verdict | None, remedy: str | None) -> bool:
    kind, _ = read_remedy(remedy)
    return kind in HELD_REMEDIES or (verdict in FINAL_VERDICTS and kind not in AGAIN_REMEDIES)


def _ending(attempt: Attempt) -> str:
    if attempt.signal is not None:
        return f"signal {attempt.signal}"
    return "no exit status" if attempt.exit_code is None else f"exit code {attempt.exit_code}"
