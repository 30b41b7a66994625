"""Failure rules as people write them: what matches a failed attempt, what it means, and what to do about it.

Three files hold them: the product's, the site's, the campaign's (``failure-rules.yaml``). Of the rules that
match, the campaign's go before the site's, and those before the product's; in one file the most specific goes
first, that is the one with most conditions, and of equals the one that stands first.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from merian_campaign.domain.execution.quanta import Attempt
from merian_campaign.domain.failures.rule_remedy import RuleRemedy
from merian_campaign.domain.safe_text import patterns
from merian_campaign.domain.spec.base import Strict, brief
from merian_campaign.domain.stack.release_order import release_key
from merian_campaign.domain.states import Verdict

MOST_RULES: Final = 2000
"""Rules of one file: each is tried on each attempt that failed."""

_LONGEST_LABEL: Final = 200


_NEEDS: Final = {RuleRemedy.MORE_MEMORY: Verdict.OUT_OF_MEMORY, RuleRemedy.LONGER: Verdict.WALLTIME}


def _pattern(text: str) -> str:
    wrong = patterns.problem(text)
    if wrong:
        raise ValueError(f"{text!r} is not a regular expression of RE2: {wrong}")
    return text


def _release(text: str) -> str:
    if release_key(text) is None:
        raise ValueError(f"found {brief(text)}; write w_2026_43, d_2026_10_20, v29.1.1 or 30.2026.4300")
    return text


def _listed(value: object) -> object:
    if isinstance(value, list) and len(value) > MOST_RULES:
        raise ValueError(f"found {len(value)} rules; a file has at most {MOST_RULES}")
    return tuple(value) if isinstance(value, list) else value


Pattern = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_pattern)]


class FailureRule(Strict):
    """One rule; every condition given must hold."""

    name: Annotated[str | None, Field(min_length=1, max_length=64, description="For events and reports.")] = (
        None
    )
    task: Annotated[Pattern | None, Field(description="Whole task label, a regular expression.")] = None
    exception: Annotated[Pattern | None, Field(description="Anywhere in the exception's full type name.")] = (
        None
    )
    bases: Annotated[
        Pattern | None,
        Field(description="Anywhere in the name of the exception's class or a base of it."),
    ] = None
    message: Annotated[Pattern | None, Field(description="Anywhere in the exception's message.")] = None
    exit_code: Annotated[int | None, Field(description="Of the process.")] = None
    signal: Annotated[int | None, Field(description="Number of the signal that ended the process.")] = None
    memory_ratio: Annotated[
        float | None,
        Field(gt=0, le=1000, strict=False, description="At least so much of its memory request was used."),
    ] = None
    host: Annotated[Pattern | None, Field(description="Anywhere in the name of the host that it ran on.")] = (
        None
    )
    verdict: Annotated[Verdict, Field(strict=False, description="What it means.")]
    remedy: Annotated[
        RuleRemedy | None,
        Field(strict=False, description="What is done about it; default: as the verdict has it."),
    ] = None
    up_to: Annotated[
        float | None,
        Field(
            ge=0,
            le=1_000_000_000,
            strict=False,
            allow_inf_nan=False,
            description="With accept: below 1, a part of the task's quanta in a group; from 1, a number.",
        ),
    ] = None
    note: Annotated[str, Field(max_length=500, description="For the person who reads the verdict.")] = ""
    ticket: Annotated[str, Field(max_length=200, description="Where it is followed, e.g. DM-37483.")] = ""
    solved_in: Annotated[
        str | None,
        Field(
            max_length=64, description="Release of the stack in which it is solved; seen later, you are told."
        ),
        AfterValidator(_release),
    ] = None
    expires: Annotated[
        date | None, Field(strict=False, description="Last day (UTC) of failures for which it holds.")
    ] = None
    shadow: Annotated[
        bool, Field(description="Only say in the evidence what it would have done; the next rule decides.")
    ] = False

    @model_validator(mode="after")
    def _check(self) -> FailureRule:
        if not self.specificity:
            raise ValueError(f"a rule needs one of {', '.join(CONDITIONS)}")
        needs = None if self.remedy is None else _NEEDS.get(self.remedy)
        if needs is not None and self.verdict is not needs:
            raise ValueError(f"remedy: {self.remedy} goes only with verdict: {needs}")
        if (self.up_to is not None) is not (self.remedy is RuleRemedy.ACCEPT):
            raise ValueError("remedy: accept needs up_to:, how much may be lost so, and nothing else has it")
        return self

    @property
    def specificity(self) -> int:
        """How many conditions it has."""
        return sum(getattr(self, name) is not None for name in CONDITIONS)

    @property
    def label(self) -> str:
        """What it is called: its name, else its conditions."""
        if self.name:
            return self.name
        found = ((name, getattr(self, name)) for name in CONDITIONS)
        return ", ".join(f"{name} {value}" for name, value in found if value is not None)[:_LONGEST_LABEL]

    def holds_of(self, *, task: str, attempt: Attempt) -> bool:
        """Say whether all conditions hold of an attempt that failed."""
        return (
            (self.task is None or patterns.whole(self.task, task))
            and _found(self.exception, attempt.exception_type)
            and (self.bases is None or any(_found(self.bases, base) for base in attempt.exception_bases))
            and _found(self.message, attempt.exception_message)
            and (self.exit_code is None or self.exit_code == attempt.exit_code)
            and (self.signal is None or self.signal == attempt.signal)
            and (self.memory_ratio is None or _ratio(attempt) >= self.memory_ratio)
            and _found(self.host, attempt.host)
            and (self.expires is None or attempt.ended is None or attempt.ended.date() <= self.expires)
        )

    def words(self) -> str:
        """Say what it means and does, e.g. ``algorithm, accept up to 0.001``."""
        remedy = "" if self.remedy is None else f", {self.remedy.replace('_', ' ')}"
        return f"{self.verdict}{remedy}{'' if self.up_to is None else f' up to {self.up_to:g}'}"


CONDITIONS: Final = (
    "task",
    "exception",
    "bases",
    "message",
    "exit_code",
    "signal",
    "memory_ratio",
    "host",
)
"""Conditions that a rule may have."""


class FailureRules(Strict):
    """A file of rules."""

    rules: Annotated[
        tuple[FailureRule, ...],
        BeforeValidator(_listed),
        Field(description="Of those that match, the one with most conditions wins, then the first."),
    ]


def in_order(
    *, campaign: Iterable[FailureRule], site: Iterable[FailureRule] = (), product: Iterable[FailureRule] = ()
) -> tuple[FailureRule, ...]:
    """Return rules in the order in which they are tried: the first that matches wins."""
    layers = (campaign, site, product)
    return tuple(rule for layer in layers for rule in sorted(layer, key=lambda rule: -rule.specificity))


def stored_remedy(rule: FailureRule) -> str | None:
    """Return what is kept of a rule's remedy with an attempt, e.g. ``accept 0.001``."""
    if rule.remedy is None:
        return None
    return rule.remedy if rule.up_to is None else f"{rule.remedy} {rule.up_to:g}"


def _found(pattern: str | None, text: str | None) -> bool:
    """Say whether a condition holds; what is not known matches no pattern, not even an empty one."""
    return pattern is None or (text is not None and patterns.found_in(pattern, text))


def _ratio(attempt: Attempt) -> float:
    if not attempt.peak_mb or not attempt.requested_mb:
        return 0.0
    return attempt.peak_mb / attempt.requested_mb
