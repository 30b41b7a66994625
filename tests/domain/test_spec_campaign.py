"""Rules between the steps of a campaign."""

from itertools import pairwise

import pytest
from domain_help import action, bps, by_tract, campaign, document
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.spec.campaign import find_cycle, steps_before


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([bps("a", "step1"), bps("a", "step2a")], r"steps\[a\].name: two steps are called 'a'"),
        ([bps("step1", after=["stpe0"]), bps("step0")], r"no step 'stpe0'; did you mean 'step0'\?"),
        ([bps("step1", after=["calib"]), bps("step0")], r"no step 'calib'; steps are: step1, step0"),
        ([bps("step1", after=["step1"])], r"in a circle: step1 -> step1"),
        (
            [bps("step0", after=["step2a"]), bps("step1", after=["step0"]), bps("step2a", after=["step1"])],
            r"in a circle: step0 -> step2a -> step1 -> step0",
        ),
        ([bps("a", "step1", output="x/y"), bps("b", "step2a", output="x/y")], r"already the output of 'a'"),
        ([bps("a", "step1", output="runs/night/b"), bps("b", "step2a")], r"already the output of 'a'"),
        ([bps("step1"), bps("step2a", inputs=["stpe1"])], r"did you mean 'step1'\?"),
        ([bps("step1", after=[{"step": "step0", "match": "some"}]), bps("step0")], r"'auto' or 'all'"),
    ],
)
def test_steps_that_do_not_fit_together(steps: list[dict[str, object]], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        campaign(*steps)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": []}, "at least 1"),
        ({"campaign": "a b"}, "pattern"),
        ({"campaign": "x" * 65}, "64"),
        ({"butler": ""}, "at least 1"),
        ({"wms": "panda"}, "'stock' or 'campaign'"),
        ({"collections": {"output": "a,b"}}, "pattern"),
        ({"collections": {"output": ""}}, "at least 1"),
        ({"limits": {"submissions": 0}}, "greater than or equal to 1"),
        ({"variables": {"A": 1}}, "valid string"),
        ({"tracks": [1]}, "Extra inputs"),
    ],
)
def test_values_that_a_campaign_may_not_hold(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        CampaignSpec.model_validate(document(**changes))


def test_a_step_sees_the_steps_before_it_latest_first() -> None:
    spec = campaign(
        action("chain"),
        bps("step1", after=["chain"]),
        bps("step2a", after=["step1"]),
        by_tract("step2b", "step2b", after=["step2a"]),
        bps("step2c", after=["step2a"]),
        bps("step2d", after=["step2b"]),
    )
    assert steps_before(spec, "step2d") == ("step2b", "step2a", "step1", "chain")
    assert steps_before(spec, "step2c") == ("step2a", "step1", "chain")
    assert steps_before(spec, "chain") == ()


EDGES = st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef")), min_size=1)


@given(EDGES)
def test_a_cycle_is_found_exactly_when_there_is_one(raw: dict[str, set[str]]) -> None:
    edges = {name: tuple(sorted(after & set(raw))) for name, after in raw.items()}
    cycle = find_cycle(edges)
    reachable = {name: set(after) for name, after in edges.items()}
    for middle in edges:
        for after in reachable.values():
            if middle in after:
                after.update(reachable[middle])
    assert bool(cycle) == any(name in after for name, after in reachable.items())
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(second in edges[first] for first, second in pairwise(cycle))


def test_the_resolved_document_of_a_campaign_can_be_read_again() -> None:
    spec = campaign(by_tract(after=[{"step": "step1", "require": "complete"}]), bps())
    again = CampaignSpec.model_validate(
        document(by_tract(after=[{"step": "step1", "require": "complete"}]), bps())
    )
    assert again == spec
    assert spec.output_of(spec.steps[0]) == "runs/night/step3"
