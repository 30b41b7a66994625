"""Rules as people write them: which goes first, what each condition and remedy means, what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from merian_campaign.domain.execution.quanta import Attempt, Judgement
from merian_campaign.domain.failures.failure_rules import FailureRule, FailureRules, in_order, stored_remedy
from merian_campaign.domain.failures.rule_remedy import HELD_REMEDIES, RuleRemedy, allowed, read_remedy
from merian_campaign.domain.failures.rules import RETURNED, Evidence, judge
from merian_campaign.domain.stack.release_order import at_least, release_key
from merian_campaign.domain.states import QuantumState, Verdict

SHIPPED = Path(__file__).parents[2] / "campaign" / "failure-rules.yaml"
ENDED = datetime(2026, 11, 22, 15, tzinfo=UTC)


def rule(verdict: str = "infrastructure", **changes: object) -> FailureRule:
    return FailureRule.model_validate({"verdict": verdict, **changes})


def evidence(task: str = "isr", release: str = "", **changes: object) -> Evidence:
    attempt = Attempt(try_number=1, state=QuantumState.FAILED, ended=ENDED, **changes)  # type: ignore[arg-type]
    return Evidence(task=task, attempt=attempt, started=True, ended=True, release=release)


def shipped() -> tuple[FailureRule, ...]:
    return in_order(
        campaign=(), product=FailureRules.model_validate(yaml.safe_load(SHIPPED.read_text())).rules
    )


def test_the_campaign_goes_before_the_site_and_that_before_the_product_then_the_most_specific() -> None:
    broad, narrow = rule(message="a", name="broad"), rule(message="a", task="isr", name="narrow")
    second = rule(message="b", name="second")
    found = in_order(campaign=[broad, second], site=[broad, narrow], product=[narrow, broad])
    assert [entry.label for entry in found] == ["broad", "second", "narrow", "broad", "narrow", "broad"]
    assert judge(evidence(exception_message="a b"), rules=in_order(campaign=[broad, narrow])).rule == "narrow"


@pytest.mark.parametrize(
    ("condition", "changes", "holds"),
    [
        ({"memory_ratio": 0.9}, {"peak_mb": 900, "requested_mb": 1000}, True),
        ({"memory_ratio": 0.9}, {"peak_mb": 899, "requested_mb": 1000}, False),
        ({"memory_ratio": 0.9}, {"requested_mb": 1000}, False),
        ({"host": "^node7"}, {"host": "node7.cluster"}, True),
        ({"host": "^node7"}, {"host": "node8"}, False),
        ({"host": ".*"}, {}, False),
        ({"signal": 9, "expires": date(2026, 11, 22)}, {"signal": 9}, True),
        ({"signal": 9, "expires": "2026-11-21"}, {"signal": 9}, False),
        ({"signal": 9, "shadow": True}, {"signal": 9}, False),
    ],
)
def test_conditions(condition: dict[str, object], changes: dict[str, object], holds: bool) -> None:
    found = judge(evidence(exit_code=1, **changes), rules=(rule("walltime", **condition),))
    assert (found.verdict is Verdict.WALLTIME) is holds


def test_a_rule_in_shadow_says_what_it_would_have_done_and_the_next_one_decides() -> None:
    shadow = rule("algorithm", message="x", remedy="accept", up_to=0.01, shadow=True, name="try it")
    found = judge(evidence(exception_message="x"), rules=(shadow, rule(message="x", name="real")))
    assert (found.verdict, found.rule, found.remedy) == (Verdict.INFRASTRUCTURE, "real", None)
    assert "in shadow: try it would say algorithm, accept up to 0.01" in found.evidence


def test_a_rule_leaves_its_name_its_remedy_and_its_ticket() -> None:
    found = judge(
        evidence(exception_message="x"),
        rules=(rule("algorithm", message="x", remedy="accept", up_to=3, note="why", ticket="DM-1"),),
    )
    assert (found.rule, found.remedy) == ("message x", "accept 3")
    assert found.evidence.endswith("why (DM-1)")


def test_what_was_measured_stays_and_gets_the_remedy_of_a_rule_that_agrees() -> None:
    measured = replace(evidence(signal=9), journal_verdict="out_of_memory", journal_evidence="figures")
    others = rule("infrastructure", signal=9, remedy="block")
    agreeing = rule("out_of_memory", signal=9, remedy="fewer_workers")
    found = judge(measured, rules=(others, agreeing))
    assert (found.verdict, found.remedy, found.charged) == (Verdict.OUT_OF_MEMORY, "fewer_workers", True)
    assert found.evidence.startswith("figures")
    assert judge(measured, rules=(others,)).remedy is None


def test_a_block_that_ran_out_of_time_is_still_not_charged() -> None:
    block = Judgement(verdict=Verdict.WALLTIME, evidence="its block ended", charged=False)
    found = judge(
        replace(evidence(signal=15), block=block), rules=(rule("walltime", signal=15, remedy="longer"),)
    )
    assert (found.remedy, found.charged) == ("longer", False)


@pytest.mark.parametrize(
    ("release", "returned"),
    [
        ("w_2026_43, python 3.12", True),
        ("w_2026_40", True),
        ("w_2026_39", False),
        ("", False),
        ("v30.1", False),
    ],
)
def test_a_failure_that_was_solved_says_that_it_is_back(release: str, returned: bool) -> None:
    solved = rule(message="x", solved_in="w_2026_40", name="old")
    found = judge(evidence(exception_message="x", release=release), rules=(solved,))
    assert found.rule == ("old" + RETURNED if returned else "old")
    assert ("seen again" in found.evidence) is returned


@pytest.mark.parametrize(
    ("one", "other", "later"),
    [
        ("w_2026_43", "w_2026_43", True),
        ("lsst_distrib 30.2026.4300, python 3.12", "w_2026_42", True),
        ("d_2026_10_20", "w_2026_43", True),
        ("w_2025_52", "w_2026_01", False),
        ("v29_1_1", "v29.1", True),
        ("v28.0", "v29.1", False),
        ("v29.1", "w_2026_01", False),
        ("no LSST stack", "w_2026_01", False),
        ("d_2026_99_99", "w_2026_01", False),
    ],
)
def test_releases_in_order(one: str, other: str, later: bool) -> None:
    assert at_least(one, other) is later


@given(st.text(max_size=300))
def test_any_text_is_a_release_or_none(text: str) -> None:
    assert release_key(text) is None or at_least(text, text)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            {"message": "x", "verdict": "unknown", "remedy": "more_memory"},
            "goes only with verdict: out_of_memory",
        ),
        (
            {"message": "x", "verdict": "infrastructure", "remedy": "longer"},
            "goes only with verdict: walltime",
        ),
        ({"message": "x", "verdict": "algorithm", "remedy": "accept"}, "needs up_to"),
        ({"message": "x", "verdict": "algorithm", "up_to": 0.1}, "needs up_to"),
        ({"message": "x", "verdict": "algorithm", "remedy": "accept", "up_to": -1}, "greater than or equal"),
        ({"message": "x", "verdict": "algorithm", "remedy": "shrug"}, "same_again"),
        ({"message": "x", "verdict": "algorithm", "solved_in": "soon"}, "write w_2026_43"),
        ({"message": "x", "verdict": "algorithm", "expires": "soon"}, "date"),
        ({"memory_ratio": 0, "verdict": "out_of_memory"}, "greater than 0"),
        ({"host": "(", "verdict": "infrastructure"}, "regular expression of RE2"),
    ],
)
def test_what_is_refused(document: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        FailureRules.model_validate({"rules": [document]})


def test_a_file_has_so_many_rules() -> None:
    with pytest.raises(ValidationError, match="at most 2000"):
        FailureRules.model_validate({"rules": [{"signal": 1, "verdict": "unknown"}] * 2001})


@pytest.mark.parametrize("remedy", RuleRemedy)
def test_what_is_kept_of_a_remedy_is_read_again(remedy: RuleRemedy) -> None:
    verdict = {"more_memory": "out_of_memory", "longer": "walltime"}.get(remedy, "infrastructure")
    more = {"up_to": 0.001} if remedy is RuleRemedy.ACCEPT else {}
    kept = stored_remedy(rule(verdict, signal=1, remedy=remedy, **more))
    assert read_remedy(kept) == (remedy, more.get("up_to", 0.0))


@pytest.mark.parametrize("stored", [None, "", "of a later release", "accept many"])
def test_remedies_that_nobody_knows_are_none(stored: str | None) -> None:
    assert read_remedy(stored) == (None, 0.0)


@pytest.mark.parametrize(
    ("up_to", "of", "number"), [(0.001, 999, 0), (0.001, 40_000, 40), (3, 10, 3), (0, 10, 0)]
)
def test_how_much_may_be_lost(up_to: float, of: int, number: int) -> None:
    assert allowed(up_to, of=of) == number


@pytest.mark.parametrize(
    ("task", "exception", "message", "verdict", "remedy"),
    [
        ("characterizeImage", "RuntimeError",
         "Unable to measure aperture correction for required algorithm 'modelfit_CModel': only 0 sources",
         Verdict.ALGORITHM, RuleRemedy.ACCEPT),
        ("calibrate", "ValueError", "PSF at (1.0, 2.0) has an invalid FWHM value of nan",
         Verdict.ALGORITHM, RuleRemedy.ACCEPT),
        ("calibrate", "ValueError", "cannot convert float NaN to integer",
         Verdict.ALGORITHM, RuleRemedy.ACCEPT),
        ("isr", "ValueError", "cannot convert float NaN to integer", Verdict.UNKNOWN, None),
        ("calibrate", "RuntimeError", "No matches to use for photocal", Verdict.ALGORITHM, RuleRemedy.ACCEPT),
        ("subtractImages", "RuntimeError", "Cannot find any objects suitable for KernelCandidacy",
         Verdict.ALGORITHM, RuleRemedy.ACCEPT),
        ("detection", "RuntimeError", "All pixels masked. Cannot estimate background",
         Verdict.ALGORITHM, RuleRemedy.BLOCK),
        ("finalizeCharacterization", "RuntimeError", "can't start new thread",
         Verdict.INFRASTRUCTURE, RuleRemedy.FEWER_WORKERS),
        ("isr", "sqlalchemy.exc.InternalError",
         'could not read block 7 in file "base/1/2": Remote I/O error', Verdict.INFRASTRUCTURE,
         RuleRemedy.PAUSE_CAMPAIGN),
        ("isr", "OSError", "[Errno 28] No space left on device", Verdict.INFRASTRUCTURE, None),
        ("forcedPhotCoadd", "OSError", "[Errno 28] No space left on device", Verdict.INFRASTRUCTURE,
         RuleRemedy.FEWER_WORKERS),
        ("isr", "BlockingIOError", "[Errno 11] Resource temporarily unavailable", Verdict.INFRASTRUCTURE,
         RuleRemedy.FEWER_WORKERS),
        ("deblend", "MemoryError", "std::bad_alloc", Verdict.OUT_OF_MEMORY, None),
        ("deblend", "KeyError", "'base_PsfFlux'", Verdict.UNKNOWN, None),
    ],
)  # fmt: skip
def test_the_shipped_catalogue(
    task: str, exception: str, message: str, verdict: Verdict, remedy: RuleRemedy | None
) -> None:
    found = judge(evidence(task, exception_type=exception, exception_message=message), rules=shipped())
    assert (found.verdict, read_remedy(found.remedy)[0]) == (verdict, remedy)


def test_files_may_have_the_names_of_earlier_versions() -> None:
    assert rule("transient", signal=9).verdict is Verdict.INFRASTRUCTURE


def test_the_shipped_catalogue_accepts_little_and_says_why() -> None:
    for entry in shipped():
        assert entry.note
        if entry.remedy in HELD_REMEDIES:
            assert entry.task is not None
        assert entry.up_to is None or entry.up_to <= 0.001
