"""Selections: terms of data queries, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from domain_help import action, bps, campaign
from pydantic import ValidationError

from merian_campaign.domain.rendering.render import data_query
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.base import as_ranges, expand_ranges
from merian_campaign.domain.spec.exposure_selection import Select

JANUARY = "exposure.day_obs >= 20220101 AND exposure.day_obs <= 20220131"


@pytest.mark.parametrize(
    ("given", "terms"),
    [
        ({}, ()),
        ({"observation_type": "science"}, ("exposure.observation_type = 'science'",)),
        (
            {"observation_type": ["dome flat", "zero"]},
            ("exposure.observation_type IN ('dome flat', 'zero')",),
        ),
        ({"day_obs": 20210318}, ("exposure.day_obs = 20210318",)),
        (
            {"day_obs": "20210101-20220630"},
            ("exposure.day_obs >= 20210101 AND exposure.day_obs <= 20220630",),
        ),
        (
            {"day_obs": ["20220101-20220131", 20210318]},
            (f"((exposure.day_obs = 20210318) OR ({JANUARY}))",),
        ),
        (
            {"physical_filter": "N708 DECam c0012 7080.0 400.0"},
            ("physical_filter = 'N708 DECam c0012 7080.0 400.0'",),
        ),
        ({"band": ["N540", "N708"]}, ("band IN ('N540', 'N708')",)),
        ({"target": "COSMOS"}, ("exposure.target_name = 'COSMOS'",)),
        (
            {"exposures": ["10-12"], "exclude_exposures": [11, 20], "exclude_detectors": [31, 61]},
            ("exposure IN (10, 12)", "detector NOT IN (31, 61)"),
        ),
        (
            {"exclude_exposures": [20], "exclude_detectors": 31},
            ("exposure NOT IN (20)", "detector NOT IN (31)"),
        ),
    ],
)  # fmt: skip
def test_terms(given: dict[str, Any], terms: tuple[str, ...]) -> None:
    assert Select.model_validate(given).terms() == terms


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"target": "COSMOS' OR '1'='1"}, "cannot be put into a data query"),
        ({"observation_type": "{butlerConfig}"}, "cannot be put into a data query"),
        ({"day_obs": "20220101-20210101"}, "runs backwards"),
        ({"day_obs": "March"}, "write nights as YYYYMMDD"),
        ({"exposures": [5, 6], "exclude_exposures": ["5-7"]}, "leaves out all that exposures names"),
        ({"detectors": [1]}, "Extra inputs"),
    ],
)
def test_refusals(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Select.model_validate(given)


def test_a_stored_selection_reads_back_the_same() -> None:
    given = Select.model_validate({"day_obs": ["20210318-20210320"], "exclude_detectors": [31]})
    assert Select.model_validate(given.model_dump(mode="json")) == given


def test_a_selection_joins_the_groups_and_the_steps_own_terms() -> None:
    select = {"observation_type": "science", "exclude_detectors": [31, 61]}
    spec = campaign(bps("one", "step1", select=select, where="exposure.seq_num > 3"))
    step = spec.steps[0]
    assert isinstance(step, BpsStep)
    query = data_query(spec=spec, step=step, selection=Selection(dimension="day_obs", values=(20210318,)))
    assert query.endswith(
        "exposure.day_obs = 20210318 AND exposure.observation_type = 'science' AND "
        "detector NOT IN (31, 61) AND exposure.seq_num > 3"
    )


@pytest.mark.parametrize(
    ("subset", "changes"),
    [("step2b", {"group_by": "tract"}), ("step2c", {}), ("step2a", {"scope": "global"})],
)
def test_only_steps_over_exposures_and_visits_select(subset: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="select"):
        campaign(bps("some", subset, select={"target": "COSMOS"}, **changes))


@pytest.mark.parametrize(
    ("subset", "changes"), [("step3", {"group_by": "tract"}), ("step2a", {"scope": "global"})]
)
def test_bands_and_detectors_are_chosen_in_other_steps_too(subset: str, changes: dict[str, Any]) -> None:
    select = {"band": ["N540", "N708"], "exclude_detectors": [31]}
    spec = campaign(bps("some", subset, select=select, **changes))
    step = spec.steps[0]
    assert isinstance(step, BpsStep)
    query = data_query(spec=spec, step=step, selection=Selection())
    assert query.endswith("band IN ('N540', 'N708') AND detector NOT IN (31)")


def test_a_query_of_the_campaign_is_in_that_of_every_step() -> None:
    spec = campaign(
        bps("a", "step1", where="visit > 3"), bps("b", "step3", group_by="tract"),
        where="detector < 9 OR detector > 11",
    )  # fmt: skip
    queries = [
        data_query(spec=spec, step=step, selection=Selection())
        for step in spec.steps
        if isinstance(step, BpsStep)
    ]
    assert queries[0].endswith(" AND (detector < 9 OR detector > 11) AND visit > 3")
    assert queries[1].endswith(" AND (detector < 9 OR detector > 11)")


def test_a_query_of_the_campaign_names_no_tract() -> None:
    with pytest.raises(
        ValidationError, match="where: found 'tract'; it is added to the steps over exposures"
    ):
        campaign(bps("a", "step1"), where="tract = 9813")


def test_actions_do_not_select() -> None:
    with pytest.raises(ValidationError, match="select"):
        CampaignSpec.model_validate(
            {**campaign(bps("a", "step1")).model_dump(), "steps": [action(select={})]}
        )


def test_ranges_are_written_as_they_are_read() -> None:
    values = (1, 2, 3, 7, 9, 10, 20)
    assert as_ranges(values) == ("1-3", "7", "9", "10", "20")
    assert expand_ranges(list(as_ranges(values))) == values
    assert as_ranges(()) == ()
