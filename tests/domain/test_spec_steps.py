"""What a step may select, and the values in it that are refused."""

from typing import Any

import pytest
from domain_help import action, bps, by_tract, campaign
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from merian_campaign.domain.spec.base import walltime_seconds

NIGHTS = {"kind": "day_obs", "nights": [20210318]}
VISITS = {"kind": "visit", "ids": ["1-10"], "size": 5}
TRACT_LISTS = {"kind": "lists", "dimension": "tract", "lists": {"north": [9813]}}


def complaint(*steps: dict[str, Any], **changes: object) -> str:
    with pytest.raises(ValidationError) as caught:
        campaign(*steps, **changes)
    errors = caught.value.errors()
    return "\n".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in errors)


@pytest.mark.parametrize("subset", ["step0", "step1", "step2a", "step2d"])
@pytest.mark.parametrize(
    ("found", "changes"),
    [
        ("group_by: found 'tract'", {"group_by": "tract"}),
        ("group_by: found 'tract'", {"group_by": {"kind": "tract", "tracts": [9813]}}),
        ("group_by: found 'tract'", {"group_by": TRACT_LISTS}),
        ("where: found 'tract'", {"where": "tract = 9813"}),
        ("where: found 'tract'", {"where": "detector NOT IN (31, 61) AND (tract=9813)"}),
        ("where: found 'tract'", {"where": "skymap = 'tract' AND tract IN (9813)"}),
        ("where: found 'TRACT'", {"where": "TRACT = 9813"}),
        ("where: found 'patch'", {"where": "patch > 3"}),
        ("where: found 'patch'", {"where": "patch.cell_x = 3"}),
    ],
)
def test_exposures_and_visits_are_never_cut_by_tract(
    subset: str, found: str, changes: dict[str, object]
) -> None:
    said = complaint(bps("some", subset, **changes))
    assert found in said
    assert "partial visits" in said
    assert "day_obs, exposure or visit" in said


@pytest.mark.parametrize("subset", ["step0", "step1", "step2a", "step2d"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"where": "exposure.target_name = 'tract 9813 patch 3'"},
        {"where": "exposure.observation_reason = 'tract'"},
        {"where": "my_tract_list = 3 AND tracts = 4"},
        {"group_by": NIGHTS},
        {"group_by": VISITS},
        {"group_by": {"kind": "exposure", "ids": [5], "size": 1}},
        {"group_by": {"kind": "lists", "dimension": "visit", "lists": {"tract9813": [5]}}},
    ],
)
def test_exposures_and_visits_are_selected_as_wholes(subset: str, changes: dict[str, object]) -> None:
    assert campaign(bps("some", subset, **changes)).steps[0].name == "some"


@pytest.mark.parametrize("subset", ["step2b", "step3"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"where": "patch = 3"},
        {"where": "exposure.target_name = 'tract'"},
        {"where": "tracts = 3 AND my.tract = 2"},
    ],
)
def test_tract_steps_need_a_tract(subset: str, changes: dict[str, object]) -> None:
    said = complaint(bps("some", subset, **changes))
    assert "needs a tract" in said
    assert "partial visit coverage" in said
    assert "group_by: tract" in said


@pytest.mark.parametrize("subset", ["step2b", "step3"])
@pytest.mark.parametrize("grouping", [NIGHTS, VISITS])
def test_tract_steps_are_not_cut_by_visit_or_night_even_with_a_tract(
    subset: str, grouping: dict[str, object]
) -> None:
    said = complaint(bps("some", subset, where="tract = 9813", group_by=grouping))
    assert "partial visit coverage" in said


@pytest.mark.parametrize("subset", ["step2b", "step3"])
@pytest.mark.parametrize(
    "changes",
    [
        {"group_by": "tract"},
        {"group_by": "tract", "where": "patch IN (1, 2)"},
        {"group_by": TRACT_LISTS},
        {"where": "tract = 9813"},
    ],
)
def test_tract_steps_with_a_tract(subset: str, changes: dict[str, object]) -> None:
    assert campaign(bps("some", subset, **changes)).steps[0].name == "some"


@pytest.mark.parametrize("changes", [{"where": "detector = 1"}, {"group_by": NIGHTS}, {"group_by": "tract"}])
def test_instrument_steps_are_not_cut_at_all(changes: dict[str, object]) -> None:
    assert "scope instrument" in complaint(bps("some", "step2c", **changes))


def test_a_scope_in_the_file_wins_over_the_subset_name() -> None:
    assert campaign(bps("some", "step1", scope="tract", group_by="tract")).steps
    assert "partial visits" in complaint(bps("some", "step3", scope="visit", group_by="tract"))


@pytest.mark.parametrize("pipeline", ["/pipe.yaml", "/pipe.yaml#nightly"])
def test_an_unknown_subset_must_say_its_scope(pipeline: str) -> None:
    assert "write scope: exposure, visit, global, tract or instrument" in complaint(
        bps("some", pipeline=pipeline)
    )
    assert campaign(bps("some", pipeline=pipeline, scope="exposure")).steps


@pytest.mark.parametrize("value", [36000, 0, 86399])
def test_an_unquoted_walltime_is_explained(value: int) -> None:
    said = complaint(bps(resources={"isr": {"walltime": value}}))
    assert str(value) in said
    assert 'put it in quotes, e.g. "10:00:00"' in said


@pytest.mark.parametrize("value", ["10:00", "10:60:00", "ten", "1:0:0", "10:00:00\n", "", None, 1.5])
def test_other_walltimes_are_refused(value: object) -> None:
    complaint(bps(resources={"isr": {"walltime": value} if value is not None else {"walltime": []}}))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00:01", 1), ("10:00:00", 36_000), ("1-00:30:00", 88_200), ("240:00:00", 864_000)],
)
def test_walltimes_in_seconds(text: str, seconds: int) -> None:
    step = campaign(bps(resources={"isr": {"walltime": text}})).steps[0]
    assert step.kind == "bps"
    assert walltime_seconds(step.resources["isr"].walltime or "") == seconds


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("detector = {here}", "braces"),
        ('band = "N540"', "single quotes"),
        ("a = 1\nAND b = 2", "one line"),
    ],
)
def test_queries_that_bps_would_garble_are_refused(where: str, words: str) -> None:
    assert words in complaint(bps(where=where))


@pytest.mark.parametrize(
    "entry", ["isr", "isr:doFlat", "isr.doFlat=True", "isr:a=b=c", "isr:a=b\n", "a b:c=d", ""]
)
def test_overrides_that_pipetask_would_not_take_are_refused(entry: str) -> None:
    assert "label:field=value" in complaint(bps(config=[entry]))


@pytest.mark.parametrize("entry", ["isr:doFlat=False", "a:b.c['x']=1", "a:b=", "a:b=visit:1,detector:2"])
def test_overrides_that_pipetask_takes(entry: str) -> None:
    step = campaign(bps(config=[entry])).steps[0]
    assert step.kind == "bps"
    assert step.config == (entry,)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([bps(gruop_by="tract")], "Extra inputs"),
        ([bps(resources={"isr": {"requestMemory": 5}})], "Extra inputs"),
        ([bps(afterburner={"attempts": 3})], "Extra inputs"),
        ([bps(resources={"isr": {"memory": "4096"}})], "valid integer"),
        ([bps(resources={"isr": {"memory": 0}})], "greater than or equal to 1"),
        ([bps(loss_budget=1.0)], "less than 1"),
        ([bps(afterburner={"memory_multiplier": 1})], "greater than 1"),
        ([bps(name="step 1")], "pattern"),
        ([bps(name="1step")], "pattern"),
        ([bps(name="a/b")], "pattern"),
        ([bps(name="a--b")], "pattern"),
        ([bps(group_by="day_obs")], "a mapping with kind:"),
        ([bps(group_by={"kind": "month"})], "month"),
        (
            [action(action="collection_chain")],
            "known actions: certify-calibrations, check-filters, collection-chain",
        ),
        ([action(arguments={"parent": "a"})], "children"),
        ([action(arguments={"parent": "a", "children": []})], "children"),
        ([action(arguments={"parent": "a", "children": ["b"], "mode": "x"})], "mode"),
        ([action(pipeline="/pipe.yaml")], "Extra inputs"),
    ],
)
def test_what_a_step_may_not_hold(steps: list[dict[str, Any]], words: str) -> None:
    assert words in complaint(*steps)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30))
def test_no_condition_on_text_makes_a_query_spatial(text: str) -> None:
    quoted = "".join(c for c in text if c not in "'\"{}$`\\\n\r")
    step = campaign(bps(where=f"exposure.target_name = '{quoted}'")).steps[0]
    assert step.kind == "bps"


def test_actions_check_their_arguments_as_their_own_model() -> None:
    step = campaign(
        action(
            action="certify-calibrations",
            arguments={
                "input": "bias", "output": "calib", "dataset_type": "bias",
                "begin": "2021-01-01T00:00:00", "end": "2022-06-30T23:59:59",
            },
        )
    ).steps[0]  # fmt: skip
    assert step.kind == "action"
    assert step.typed_arguments().model_dump()["begin"] == "2021-01-01T00:00:00"
    bad = {"input": "a", "output": "b", "dataset_type": "bias", "begin": "soon", "end": "2022-06-30"}
    said = complaint(action(action="certify-calibrations", arguments=bad))
    assert "found 'soon'; write an ISO time" in said


def test_tract_steps_need_a_sky_map() -> None:
    assert "needs the campaign's skymap:" in complaint(by_tract(), skymap=None)


def test_a_name_is_a_hint_and_never_a_scope() -> None:
    said = complaint(bps("visits", "step2a", scope=None))
    assert "write scope: exposure, visit, global, tract or instrument, by what its tasks work on" in said
    assert "(step2a was visit in DRP-Merian of 2022; that of other pipelines may differ)" in said
    assert "DRP-Merian" not in complaint(bps("visits", "nightly"))
