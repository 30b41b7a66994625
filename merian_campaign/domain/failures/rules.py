"""From the evidence of a failed attempt to a verdict, by measurements and by failure rules.

What is measured comes before rules; a rule's remedy counts also there, where it agrees on the verdict. The
first rule that matches wins. What no rule matches is `Verdict.UNKNOWN`, and unknown never gets more memory.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from merian_campaign.domain.execution.quanta import Attempt, Judgement
from merian_campaign.domain.failures.failure_rules import FailureRule, stored_remedy
from merian_campaign.domain.stack.release_order import at_least
from merian_campaign.domain.states import FREE_VERDICTS, Verdict


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
    release : `str`
        The release of the LSST stack that it ran under, in words; empty when that is not known.
    """

    task: str
    attempt: Attempt
    journal_verdict: str | None = None
    journal_evidence: str = ""
    started: bool = False
    ended: bool = False
    driver_lost: bool = False
    block: Judgement | None = None
    release: str = ""


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
        verdict=Verdict.INFRASTRUCTURE,
        note="a service did not answer",
    ),
    FailureRule(
        exception=r"ConnectionError|ConnectionResetError|BrokenPipeError|TimeoutError|OperationalError",
        verdict=Verdict.INFRASTRUCTURE,
        note="a service did not answer",
    ),
    FailureRule(
        exception=r"^TornFile$",
        verdict=Verdict.INFRASTRUCTURE,
        note="its metadata was not written to its end",
    ),
    FailureRule(
        message=r"(?i)database is locked|stale file handle|connection (reset|refused|timed out)"
        r"|input/output error|no space left on device|temporarily unavailable|disk quota exceeded"
        r"|remote i/o error|read-only file system|too many open files|no locks available"
        r"|no route to host|network is unreachable|transport endpoint is not connected"
        r"|server closed the connection|terminating connection|too many clients|deadlock detected"
        r"|could not serialize access|could not extend file|database system is (starting|shutting)",
        verdict=Verdict.INFRASTRUCTURE,
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


RETURNED: Final = " (returned)"
"""What the name of a rule ends with, as kept with an attempt, whose failure was said to be solved."""

_LONGEST_SHADOW: Final = 300


def judge(evidence: Evidence, *, rules: tuple[FailureRule, ...] = ()) -> Judgement:
    """Say why an attempt failed.

    The guard's own measurement comes first, then how the Slurm job around it ended, then the rules, then
    what can be inferred from how the process ended. A lost node or driver is never charged.

    Parameters
    ----------
    evidence : `Evidence`
        The attempt.
    rules : `tuple` [`FailureRule`, ...]
        In the order in which they are tried (`~merian_campaign.domain.failures.failure_rules.in_order`).
    """
    attempt = evidence.attempt
    matching = [rule for rule in rules if rule.holds_of(task=evidence.task, attempt=attempt)]
    deciding = [rule for rule in matching if not rule.shadow]
    found = _measured(evidence)
    if found is not None:
        agreeing = next((rule for rule in deciding if rule.verdict is found.verdict and rule.remedy), None)
        if agreeing is not None:
            found = replace(_by_rule(agreeing, evidence, words=found.evidence), charged=found.charged)
    else:
        found = _ruled(evidence, deciding) or _inferred(evidence)
    shadows = "; ".join(f"{rule.label} would say {rule.words()}" for rule in matching if rule.shadow)
    if not shadows:
        return found
    return replace(found, evidence=f"{found.evidence} [in shadow: {shadows[:_LONGEST_SHADOW]}]")


def _measured(evidence: Evidence) -> Judgement | None:
    """Return the verdict of whoever watched it, or of the end of its block; `None` when neither tells."""
    guard = _from_guard(evidence)
    block = evidence.block
    if block is not None and evidence.attempt.exception_type is None and (guard is None or not guard.charged):
        return block
    return guard


def _ruled(evidence: Evidence, deciding: list[FailureRule]) -> Judgement | None:
    attempt = evidence.attempt
    by_name = () if attempt.exception_bases else _BY_NAME
    built_in = (r for r in (*by_name, *BUILT_IN) if r.holds_of(task=evidence.task, attempt=attempt))
    rule = next(chain(deciding, built_in), None)
    if rule is None:
        return None
    return _by_rule(rule, evidence, words=_short(attempt.exception_type) or _ending(attempt))


def _by_rule(rule: FailureRule, evidence: Evidence, *, words: str) -> Judgement:
    """Return the verdict of a rule; with its remedy, and whether what it tells of was said to be solved."""
    label = rule.label
    words = ": ".join(filter(None, (words, rule.note)))
    if rule.ticket:
        words = f"{words} ({rule.ticket})"
    if rule.solved_in is not None and at_least(evidence.release, rule.solved_in):
        label = f"{label}{RETURNED}"
        words = f"{words}; said to be solved in {rule.solved_in}, and seen again"
    return Judgement(
        verdict=rule.verdict,
        evidence=words,
        charged=rule.verdict not in FREE_VERDICTS,
        rule=label,
        remedy=stored_remedy(rule),
    )


def _inferred(evidence: Evidence) -> Judgement:
    """Return what can be inferred from how the process ended."""
    attempt = evidence.attempt
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
