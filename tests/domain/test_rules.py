"""From evidence to a verdict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from merian_campaign.domain.execution.quanta import Attempt
from merian_campaign.domain.failures.failure_rules import FailureRule, FailureRules
from merian_campaign.domain.failures.rules import Evidence, judge
from merian_campaign.domain.states import QuantumState, Verdict


def evidence(**changes: object) -> Evidence:
    names = {"exception_type", "exception_message", "exception_bases", "exit_code", "signal"}
    of_attempt = {name: value for name, value in changes.items() if name in names}
    besides = {name: value for name, value in changes.items() if name not in of_attempt}
    attempt = Attempt(try_number=1, state=QuantumState.FAILED, **of_attempt)  # type: ignore[arg-type]
    return Evidence(**({"task": "isr", "attempt": attempt} | besides))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"exception_type": "lsst.pipe.base.AnnotatedPartialOutputsError"}, Verdict.UNKNOWN),
        ({"exception_type": "lsst.pipe.base.AlgorithmError"}, Verdict.ALGORITHM),
        ({"exception_type": "a.b.PsfAlgorithmError"}, Verdict.ALGORITHM),
        ({"exception_type": "lsst.pipe.base.RepeatableQuantumError"}, Verdict.ALGORITHM),
        ({"exit_code": 20}, Verdict.ALGORITHM),
        ({"exception_type": "lsst.pipe.base.InvalidQuantumError"}, Verdict.CONFIGURATION),
        ({"exit_code": 21}, Verdict.CONFIGURATION),
        ({"exception_type": "MemoryError"}, Verdict.OUT_OF_MEMORY),
        ({"exception_type": "numpy._core._exceptions._ArrayMemoryError"}, Verdict.OUT_OF_MEMORY),
        ({"exception_type": "RuntimeError", "exception_message": "std::bad_alloc"}, Verdict.OUT_OF_MEMORY),
        (
            {"exception_type": "OSError", "exception_message": "[Errno 12] Cannot allocate memory"},
            Verdict.OUT_OF_MEMORY,
        ),
        ({"exception_type": "lsst.pex.config.FieldValidationError"}, Verdict.CONFIGURATION),
        ({"exception_type": "ModuleNotFoundError"}, Verdict.CONFIGURATION),
        ({"exception_type": "TimeoutError"}, Verdict.INFRASTRUCTURE),
        ({"exception_type": "sqlalchemy.exc.OperationalError"}, Verdict.INFRASTRUCTURE),
        ({"exception_type": "OSError", "exception_message": "Stale file handle"}, Verdict.INFRASTRUCTURE),
        ({"exception_type": "X", "exception_message": "DATABASE IS LOCKED"}, Verdict.INFRASTRUCTURE),
        ({"exception_type": "ValueError", "exception_message": "no"}, Verdict.UNKNOWN),
        ({"exit_code": 1}, Verdict.UNKNOWN),
        ({"signal": 9, "started": True, "ended": True}, Verdict.UNKNOWN),
        ({"signal": 11, "started": True, "ended": True}, Verdict.UNKNOWN),
        ({}, Verdict.UNKNOWN),
        ({"started": True}, Verdict.NODE_LOST),
        ({"started": True, "driver_lost": True}, Verdict.NODE_LOST),
        ({"started": True, "exception_type": "ValueError"}, Verdict.UNKNOWN),
        ({"started": True, "ended": True, "exit_code": 1}, Verdict.UNKNOWN),
    ],
)
def test_verdicts(changes: dict[str, object], verdict: Verdict) -> None:
    found = judge(evidence(**changes))
    assert found.verdict is verdict
    assert found.evidence
    assert found.charged is (verdict is not Verdict.NODE_LOST)


ALGORITHM = (
    "m.Alg",
    "lsst.pipe.base.AlgorithmError",
    "lsst.pipe.base.RepeatableQuantumError",
    "RuntimeError",
)


@pytest.mark.parametrize(
    ("bases", "verdict"),
    [
        (ALGORITHM, Verdict.ALGORITHM),
        (("m.Alg", "lsst.pipe.base._status.AlgorithmError"), Verdict.ALGORITHM),
        (("m.Alg", "lsst.pipe.base.RepeatableQuantumError", "RuntimeError"), Verdict.ALGORITHM),
        (("m.Alg", "lsst.pipe.base.InvalidQuantumError"), Verdict.CONFIGURATION),
        (("m.Alg", "MemoryError", "Exception"), Verdict.OUT_OF_MEMORY),
        # What is known by class is not judged by name.
        (("m.Alg", "RuntimeError"), Verdict.UNKNOWN),
        (("m.Alg", "other.AlgorithmError"), Verdict.UNKNOWN),
        (("m.Alg", "lsst.pipe.base.AlgorithmErrors"), Verdict.UNKNOWN),
    ],
)
def test_an_exception_is_judged_by_its_class(bases: tuple[str, ...], verdict: Verdict) -> None:
    assert judge(evidence(exception_type="m.Alg", exception_bases=bases)).verdict is verdict
    named = judge(evidence(exception_type="m.NoAlgorithmError", exception_bases=bases))
    assert named.verdict is verdict


@pytest.mark.parametrize("signal", [9, 15])
def test_what_was_ended_after_its_driver_died_is_not_charged(signal: int) -> None:
    found = judge(evidence(signal=signal, started=True, ended=True, driver_lost=True))
    assert found.verdict is Verdict.NODE_LOST
    assert not found.charged


@pytest.mark.parametrize(
    "changes",
    [{"signal": 11}, {"exit_code": 1}, {"signal": 9, "exception_type": "ValueError"}],
)
def test_a_dead_driver_excuses_no_failure_of_its_own(changes: dict[str, object]) -> None:
    found = judge(evidence(started=True, ended=True, driver_lost=True, **changes))
    assert found.verdict is Verdict.UNKNOWN
    assert found.charged


@pytest.mark.parametrize(
    ("word", "verdict", "charged"),
    [
        ("out_of_memory", Verdict.OUT_OF_MEMORY, True),
        ("walltime", Verdict.WALLTIME, True),
        ("node_lost", Verdict.NODE_LOST, False),
        ("cancelled", Verdict.NODE_LOST, False),
    ],
)
def test_the_guards_own_measurement_comes_first(word: str, verdict: Verdict, charged: bool) -> None:
    rule = FailureRule(task=".*", verdict=Verdict.ALGORITHM)
    found = judge(
        evidence(journal_verdict=word, exception_type="AlgorithmError", journal_evidence="figures"),
        rules=(rule,),
    )
    assert (found.verdict, found.charged, found.evidence) == (verdict, charged, "figures")
    assert word in judge(evidence(journal_verdict=word)).evidence


@pytest.mark.parametrize("word", ["ok", "failed", "something new"])
def test_other_words_of_the_guard_are_no_verdict(word: str) -> None:
    assert judge(evidence(journal_verdict=word, exit_code=1)).verdict is Verdict.UNKNOWN


def test_the_campaigns_rules_come_before_the_built_in_ones_and_the_first_wins() -> None:
    rules = (
        FailureRule(task="calib", exception="MemoryError", verdict=Verdict.CONFIGURATION),
        FailureRule(
            exception="MemoryError", message="sky", verdict=Verdict.INFRASTRUCTURE, note="sky is big"
        ),
        FailureRule(exception="MemoryError", verdict=Verdict.ALGORITHM),
    )
    sky = judge(evidence(exception_type="MemoryError", exception_message="sky"), rules=rules)
    assert (sky.verdict, sky.evidence) == (Verdict.INFRASTRUCTURE, "MemoryError: sky is big")
    assert judge(evidence(exception_type="MemoryError"), rules=rules).verdict is Verdict.ALGORITHM
    assert judge(evidence(exception_type="MemoryError")).verdict is Verdict.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("condition", "changes", "matches"),
    [
        ({"task": "is"}, {}, False),
        ({"task": "is."}, {}, True),
        ({"exception": "Value"}, {"exception_type": "a.ValueError"}, True),
        ({"exception": "^Value"}, {"exception_type": "a.ValueError"}, False),
        ({"exception": ".*"}, {"exit_code": 1}, False),
        ({"bases": r"\.AlgorithmError$"}, {"exception_type": "m.Alg", "exception_bases": ALGORITHM}, True),
        ({"bases": r"^m\.Other$"}, {"exception_type": "m.Alg", "exception_bases": ALGORITHM}, False),
        ({"bases": ".*"}, {"exception_type": "m.Alg"}, False),
        ({"message": "x*"}, {"exit_code": 1}, False),
        ({"message": "(?i)NO LUCK"}, {"exception_message": "there is no luck"}, True),
        ({"exit_code": 0}, {}, False),
        ({"exit_code": 3}, {"exit_code": 3}, True),
        ({"signal": 11}, {"signal": 11}, True),
        ({"signal": 11}, {"signal": 6}, False),
        ({"signal": 11, "task": "other"}, {"signal": 11}, False),
    ],
)
def test_every_condition_of_a_rule_must_hold(
    condition: dict[str, object], changes: dict[str, object], matches: bool
) -> None:
    rule = FailureRule.model_validate({**condition, "verdict": "walltime"})
    found = judge(evidence(**changes), rules=(rule,))
    assert (found.verdict is Verdict.WALLTIME) is matches


def test_a_rule_may_declare_a_lost_node_and_that_is_never_charged() -> None:
    rule = FailureRule(exit_code=137, verdict=Verdict.NODE_LOST)
    assert not judge(evidence(exit_code=137), rules=(rule,)).charged


@given(
    exception=st.none() | st.text(max_size=20),
    message=st.none() | st.text(max_size=20),
    exit_code=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(1, 64),
    started=st.booleans(),
    ended=st.booleans(),
)
def test_there_is_always_a_verdict_with_words(**changes: object) -> None:
    names = {"exception": "exception_type", "message": "exception_message"}
    found = judge(evidence(**{names.get(name, name): value for name, value in changes.items()}))
    assert found.verdict in Verdict
    assert found.evidence


@pytest.mark.parametrize(
    "rule",
    [
        {"verdict": "infrastructure"},
        {"exception": "X"},
        {"exception": "(", "verdict": "infrastructure"},
        {"exception": "", "verdict": "infrastructure"},
        {"exception": "X", "verdict": "nonsense"},
        {"exception": "X", "verdict": "infrastructure", "exitcode": 3},
        {"exit_code": "3", "verdict": "infrastructure"},
    ],
)
def test_rules_that_are_refused(rule: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FailureRules.model_validate({"rules": [rule]})
