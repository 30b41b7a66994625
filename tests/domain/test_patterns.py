"""Patterns that people write: bounded time, clear refusals."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from merian_campaign.domain.execution.quanta import Attempt
from merian_campaign.domain.failures import error_classes
from merian_campaign.domain.failures.failure_rules import FailureRule, FailureRules
from merian_campaign.domain.failures.rules import BUILT_IN, Evidence, judge
from merian_campaign.domain.safe_text import patterns
from merian_campaign.domain.safe_text.last_error import last_error
from merian_campaign.domain.stack.requirements import parse_requirement, satisfies
from merian_campaign.domain.stack.stack_versions import tag_of
from merian_campaign.domain.states import QuantumState, Verdict
from merian_campaign.middleware.actions.runner import last_words
from merian_campaign.wms.version_lookup import _VERSION

SHIPPED = Path(__file__).resolve().parents[2] / "campaign" / "failure-rules.yaml"
EXPLOSIVE = [
    "(a+)+$",
    "(a|a)*$",
    "(a|aa)+$",
    "(.*a){20}$",
    "(a*)*b",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "(x+x+)+y",
]
MEGABYTE = 1_000_000


@pytest.mark.parametrize("pattern", EXPLOSIVE)
@pytest.mark.parametrize("text", ["a" * MEGABYTE + "!", "x" * MEGABYTE, "ab" * (MEGABYTE // 2)])
def test_no_pattern_takes_long_on_any_text(pattern: str, text: str) -> None:
    # With a backtracking engine this does not end.
    rule = FailureRule(message=pattern, exception=pattern, verdict=Verdict.INFRASTRUCTURE)
    attempt = Attempt(try_number=1, state=QuantumState.FAILED, exception_type=text, exception_message=text)
    assert judge(Evidence(task=text, attempt=attempt), rules=(rule,)).evidence


@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        ("(", "missing )"),
        ("(?=a)", "cannot look ahead"),
        ("(?!a)b", "put it first"),
        ("(?<=a)b", "cannot look behind"),
        (r"(a)\1", "cannot refer back"),
        ("(?P<x>a)(?P=x)", "cannot refer back"),
        ("(?>a)", "ordinary group"),
        ("a++", "goes back"),
        (r"a\Z", r"write \z"),
        ("(x{100}){100}", "1000 repetitions"),
        (r"\p{L}{300}", "fewer or smaller repetitions"),
        ("a\0", "control characters"),
        ("a\ud800", "control characters"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_to_write_instead(pattern: str, advice: str) -> None:
    assert advice in patterns.problem(pattern)
    with pytest.raises(ValueError, match=r"is not a regular expression of RE2|string_unicode"):
        FailureRules.model_validate({"rules": [{"message": pattern, "verdict": "infrastructure"}]})


@given(st.text(max_size=60))
def test_any_pattern_is_refused_in_words_or_matches(pattern: str) -> None:
    if not patterns.problem(pattern):
        assert patterns.found_in(pattern, pattern) in {True, False}


@given(st.text())
def test_any_text_can_be_looked_at(text: str) -> None:
    assert patterns.whole("(?s).*", text)


def shipped() -> tuple[FailureRule, ...]:
    return FailureRules.model_validate(yaml.safe_load(SHIPPED.read_text())).rules


TEXTS = [
    "",
    *("TransientError", "a.b.TransientError", "FatalAlgorithmError", "lsst.NoPsfStarsToStarsMatchError", "X"),
    *("MatcherFailure", "could not serialize access", "Deadlock DETECTED", "server closed the connection"),
    *(
        "std::bad_alloc",
        "Unable to allocate 4 GiB",
        "DATABASE IS LOCKED\n",
        "connection timed out",
        "é error",
    ),
    *(
        "AlgorithmError",
        "numpy._core._exceptions._ArrayMemoryError",
        "TimeoutError\nInput/output error",
        "no",
    ),
    *("ModuleNotFoundError", "InvalidQuantumError", "BrokenPipeError", "OperationalError", "no  space left"),
]


@pytest.mark.parametrize("rule", [*shipped(), *BUILT_IN])
def test_shipped_rules_match_what_they_did_with_pythons_engine(rule: FailureRule) -> None:
    for pattern in filter(None, (rule.exception, rule.message)):
        for text in TEXTS:
            assert patterns.found_in(pattern, text) is (re.search(pattern, text) is not None), (pattern, text)


def test_the_end_of_a_text_is_before_its_last_newline() -> None:
    assert patterns.found_in("luck$", "no luck\n")
    assert not patterns.found_in("luck$", "no luck\nat all")
    assert patterns.found_in("(?m)luck$", "no luck\nat all")


@pytest.mark.parametrize(
    "line",
    [
        *("A" * MEGABYTE, "Error" * (MEGABYTE // 5), "A.a" * (MEGABYTE // 3), " A" * (MEGABYTE // 2)),
        *("relation " * (MEGABYTE // 9), "w1." * (MEGABYTE // 3), "w" + "1" * MEGABYTE + "A", "." * MEGABYTE),
        *("connection was " * (MEGABYTE // 15), "time" * (MEGABYTE // 4), " " * MEGABYTE, "x" * MEGABYTE),
    ],
)
def test_our_own_patterns_take_lines_of_a_megabyte(line: str) -> None:
    # What grows with the square of the length needs hours here.
    assert len(last_error(line)) <= 400
    assert last_words([line]) == line.strip()
    assert error_classes.needs_person(line, checked=False) in {True, False}
    assert len(tag_of(line)) <= 1000
    assert _VERSION.search(line) is None


@pytest.mark.parametrize(
    "line", ["a" + " " * MEGABYTE + ")(", "a [" + " " * MEGABYTE, "a" + " ;" * 1000, "==" * MEGABYTE]
)
def test_requirements_of_a_megabyte(line: str) -> None:
    found = parse_requirement(line, of="x")
    assert found is None or found.name == "a"
    assert satisfies("1", line) in {True, False}


@pytest.mark.parametrize(
    "text", ["\n" * MEGABYTE, "version:\n" * (MEGABYTE // 9), "version" + " " * MEGABYTE]
)
def test_files_of_a_megabyte_that_name_no_version(text: str) -> None:
    assert _VERSION.search(text) is None
