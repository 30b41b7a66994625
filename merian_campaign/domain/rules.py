"""Failure rules: from the evidence of a failed attempt to a verdict.

Rules are data (``campaign/failure-rules.yaml`` holds the shipped ones); their patterns are of RE2
(`~merian_campaign.domain.patterns`). The first rule that matches wins. What no rule matches is
`Verdict.UNKNOWN`, and unknown never gets more memory.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from merian_campaign.domain import patterns
from merian_campaign.domain.quanta import Attempt, Judgement
from merian_campaign.domain.spec.base import Strict
from merian_campaign.domain.states import FREE_VERDICTS, Verdict


def _pattern(text: str) -> str:
    wrong = patterns.problem(text)
    if wrong:
        raise ValueError(f"{text!r} is not a regular expression of RE2: {wrong}")
    return text


Pattern = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_pattern)]


class FailureRule(Strict):
    """One rule; every condition given must hold."""

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
    verdict: Annotated[Verdict, Field(strict=False, description="What it means.")]
    note: Annotated[str, Field(description="For the person who reads the verdict.")] = ""

    @model_validator(mode="after")
    def _some_condition(self) -> FailureRule:
        conditions = (self.task, self.exception, self.bases, self.message, self.exit_code, self.signal)
        if all(value is None for value in conditions):
            raise ValueError("a rule needs one of task, exception, bases, message, exit_code, signal")
        return self


class FailureRules(Strict):
    """A file of rules."""

    rules: Annotated[
        tuple[FailureRule, ...],
        BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v),
        Field(description="The first that matches wins."),
    ]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A failed attempt, and what is known of it besides.

    Parameters
    ----------
    task : `str`
        Task label.
    attempt : `Attempt`
        The attempt, not judged yet.
    journal_verdict : `str` or `None`
        What the guard that ran it wrote: ``out_of_memory``, ``walltime``, ``node_lost``, ``cancelled``;
        ``refused`` when no node can ever run it.
    journal_evidence : `str`
        The guard's figures in words.
    started, ended : `bool`
        Whether the journal saw it start and end.
    driver_lost : `bool`
        Whether the submission's driver died.
    block : `Judgement` or `None`
        What the fate of its block (a Slurm job) means for it.
    """

    task: str
    attempt: Attempt
    journal_verdict: str | None = None
    journal_evidence: str = ""
    started: bool = False
    ended: bool = False
    driver_lost: bool = False
    block: Judgement | None = None


# ``lsst.pipe.base`` documents of these that "retries will not address" them: AlgorithmError is one of the
# RepeatableQuantumErrors. NoWorkFound and UnprocessableDataError are no failures; of an
# AnnotatedPartialOutputsError the middleware reports the cause, whose class counts.
_REPEATABLE = "the task says that a retry cannot help"

BUILT_IN = (
    FailureRule(
        bases=r"^lsst\.pipe\.base\.(?:_status\.)?(?:AlgorithmError|RepeatableQuantumError)$",
        verdict=Verdict.ALGORITHM,
        note=_REPEATABLE,
    ),
    FailureRule(exit_code=20, verdict=Verdict.ALGORITHM, note="exit code 20: repeatable quantum error"),
    FailureRule(
        bases=r"^lsst\.pipe\.base\.(?:_status\.)?InvalidQuantumError$",
        verdict=Verdict.CONFIGURATION,
        note="the quantum itself is wrong",
    ),
    FailureRule(exit_code=21, verdict=Verdict.CONFIGURATION, note="exit code 21: invalid quantum"),
    FailureRule(bases=r"^MemoryError$", verdict=Verdict.OUT_OF_MEMORY, note="an allocation was refused"),
    FailureRule(
        exception=r"MemoryError|ArrayMemoryError|bad_alloc|BadAlloc",
        verdict=Verdict.OUT_OF_MEMORY,
        note="an allocation was refused",
    ),
    FailureRule(
        message=r"std::bad_alloc|Cannot allocate memory|Unable to allocate",
        verdict=Verdict.OUT_OF_MEMORY,
        note="an allocation was refused",
    ),
    FailureRule(
        exception=r"FieldValidationError|ImportError|ModuleNotFoundError|SyntaxError",
        verdict=Verdict.CONFIGURATION,
        note="code or configuration does not load",
    ),
    FailureRule(
        message=r"password authentication failed|no pg_hba\.conf entry"
        r"|FATAL: +(?:database|role) \"[^\"]*\" does not exist",
        verdict=Verdict.CONFIGURATION,
        note="the database refuses this account",
    ),
    FailureRule(
        bases=r"^(?:psycopg2|sqlalchemy\.exc|sqlite3)\.OperationalError$",
        verdict=Verdict.TRANSIENT,
        note="a service did not answer",
    ),
    FailureRule(
        exception=r"ConnectionError|ConnectionResetError|BrokenPipeError|TimeoutError|OperationalError",
        verdict=Verdict.TRANSIENT,
        note="a service did not answer",
    ),
    FailureRule(
        exception=r"^TornFile$",
        verdict=Verdict.TRANSIENT,
        note="its metadata was not written to its end",
    ),
    FailureRule(
        message=r"(?i)database is locked|stale file handle|connection (reset|refused|timed out)"
        r"|input/output error|no space left on device|temporarily unavailable|disk quota exceeded"
        r"|remote i/o error|read-only file system|too many open files|no locks available"
        r"|no route to host|network is unreachable|transport endpoint is not connected"
        r"|server closed the connection|terminating connection|too many clients|deadlock detected"
        r"|could not serialize access|could not extend file|database system is (starting|shutting)",
        verdict=Verdict.TRANSIENT,
        note="file system, database or network trouble",
    ),
)
"""Rules that always apply, after the campaign's own."""

_BY_NAME = (
    FailureRule(
        exception=r"AlgorithmError|RepeatableQuantumError", verdict=Verdict.ALGORITHM, note=_REPEATABLE
    ),
    FailureRule(
        exception=r"InvalidQuantumError", verdict=Verdict.CONFIGURATION, note="the quantum itself is wrong"
    ),
)
"""Rules for exceptions of which nothing but the name is known; they come before the others."""

_ENDING_SIGNALS = frozenset({signal.SIGKILL, signal.SIGTERM})


def _matches(rule: FailureRule, *, task: str, attempt: Attempt) -> bool:
    return (
        (rule.task is None or patterns.whole(rule.task, task))
        and _found(rule.exception, attempt.exception_type)
        and (rule.bases is None or any(_found(rule.bases, base) for base in attempt.exception_bases))
        and _found(rule.message, attempt.exception_message)
        and (rule.exit_code is None or rule.exit_code == attempt.exit_code)
        and (rule.signal is None or rule.signal == attempt.signal)
    )


def _found(pattern: str | None, text: str | None) -> bool:
    """Say whether a condition holds; what is not known matches no pattern, not even an empty one."""
    return pattern is None or (text is not None and patterns.found_in(pattern, text))


def judge(evidence: Evidence, *, rules: tuple[FailureRule, ...] = ()) -> Judgement:
    """Say why an attempt failed.

    The guard's own measurement comes first, then how the Slurm job around it ended, then the rules, then
    what can be inferred from how the process ended. A lost node or driver is never charged.
    """
    guard = _from_guard(evidence)
    attempt, block = evidence.attempt, evidence.block
    if block is not None and attempt.exception_type is None and (guard is None or not guard.charged):
        return block
    if guard is not None:
        return guard
    by_name = () if attempt.exception_bases else _BY_NAME
    for rule in (*rules, *by_name, *BUILT_IN):
        if _matches(rule, task=evidence.task, attempt=attempt):
            found = _short(attempt.exception_type) or _ending(attempt)
            return Judgement(
                verdict=rule.verdict,
                evidence=f"{found}: {rule.note}" if rule.note else found,
                charged=rule.verdict not in FREE_VERDICTS,
            )
    if attempt.exception_type is None and evidence.started and not evidence.ended:
        return Judgement(
            verdict=Verdict.NODE_LOST,
            evidence="it started and never ended: the worker, node or driver under it went away",
            charged=False,
        )
    if evidence.driver_lost and attempt.exception_type is None and attempt.signal in _ENDING_SIGNALS:
        # What a dead driver left running is ended by the next one.
        return Judgement(
            verdict=Verdict.NODE_LOST, evidence=f"{_ending(attempt)}; its driver had died", charged=False
        )
    return Judgement(verdict=Verdict.UNKNOWN, evidence=_unknown(attempt), charged=True)


def _from_guard(evidence: Evidence) -> Judgement | None:
    verdicts = {
        "out_of_memory": (Verdict.OUT_OF_MEMORY, True),
        "walltime": (Verdict.WALLTIME, True),
        "node_lost": (Verdict.NODE_LOST, False),
        "cancelled": (Verdict.NODE_LOST, False),
        "refused": (Verdict.CONFIGURATION, True),
    }
    if evidence.journal_verdict not in verdicts:
        return None
    verdict, charged = verdicts[evidence.journal_verdict]
    text = evidence.journal_evidence or f"the guard ended it: {evidence.journal_verdict}"
    return Judgement(verdict=verdict, evidence=text, charged=charged)


def _short(exception_type: str | None) -> str:
    """Return an exception's name without its module."""
    return (exception_type or "").rpartition(".")[2]


def _ending(attempt: Attempt) -> str:
    if attempt.signal is not None:
        return f"killed by signal {attempt.signal}"
    if attempt.exit_code is not None:
        return f"exit code {attempt.exit_code}"
    return "no exit status"


def _unknown(attempt: Attempt) -> str:
    if attempt.exception_type is not None:
        return f"{_short(attempt.exception_type)}: no rule matches"
    if attempt.signal is not None:
        return f"{_ending(attempt)}, no sign of memory or time limits"
    if attempt.exit_code == 0:
        return "exit code 0, and no outputs"
    return f"{_ending(attempt)}, and no log"
