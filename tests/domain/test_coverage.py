"""What is asked, and which visits count, for the tracts that cover a campaign's data."""

from __future__ import annotations

import pytest
from domain_help import action, bps, by_tract, campaign

from merian_campaign.domain.campaign.coverage import (
    Coverage,
    TractCoverage,
    campaigns_own,
    coverage_question,
    tracts_text,
)
from merian_campaign.domain.errors import BadInputError

SPEC = campaign(
    bps("step1", where="detector NOT IN (31, 61)"),
    bps("step2a", after=["step1"]),
    by_tract("step3", "step3", after=["step2a"]),
)


def test_steps_over_exposures_and_visits_say_which_visits_and_detectors() -> None:
    asked = coverage_question(SPEC)
    assert asked.steps == {
        "step1": ("instrument = 'DECam' AND detector NOT IN (31, 61)",),
        "step2a": ("instrument = 'DECam' AND skymap = 'rings'",),
    }
    assert asked.collections == ("runs/night/step3", "runs/night/step2a", "runs/night/step1")
    assert coverage_question(SPEC, collections=("other",)).collections == ("other",)


def test_a_detector_that_step_1_leaves_out_does_not_count_however_little_step_2a_says() -> None:
    taken = {"step1": {(5, 1), (6, 1)}, "step2a": {(5, 1), (5, 31), (7, 1)}}
    assert campaigns_own(SPEC, taken) == {(5, 1)}
    assert campaigns_own(SPEC, taken, step="step1") == {(5, 1), (6, 1)}
    first = campaign(bps("step1"))
    assert campaigns_own(first, {"step1": {(5, 1)}}) == {(5, 1)}
    assert campaigns_own(first, {}) == set()


@pytest.mark.parametrize(
    ("steps", "changes", "step", "words"),
    [
        ([bps("step1")], {"skymap": None}, None, "skymap: missing"),
        ([action()], {}, None, "it has no step over exposures or visits"),
        (
            [bps("step1"), by_tract()],
            {},
            "step3",
            "'step3' is no such step; steps over exposures or visits: step1",
        ),
    ],
)
def test_what_cannot_be_asked_says_why(
    steps: list[dict[str, object]], changes: dict[str, object], step: str | None, words: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        coverage_question(campaign(*steps, **changes), step=step)
    assert words in str(caught.value)


def test_tracts_are_written_as_a_file_lists_them() -> None:
    assert tracts_text((9813,)) == "[9813]"
    assert tracts_text((1, 2, 5, 6, 7)) == '[1, 2, "5-7"]'


def test_tracts_with_few_visits_are_left_out() -> None:
    rows = tuple(TractCoverage(tract=n, visits=n, detectors=n, bands={}) for n in (1, 2, 3))
    found = Coverage(tracts=rows, selected=3, summarized=2).at_least(2)
    assert [row.tract for row in found.tracts] == [2, 3]
    assert found.source == "from 2 visits with a visitSummary, of 3"
