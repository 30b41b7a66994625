"""What an export takes by default, and by wish."""

from __future__ import annotations

import pytest
from domain_help import action, bps, by_tract, campaign, group, snapshot

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.states import GroupState
from merian_campaign.transfer.manifest import FINAL_TYPES, chosen_types, merged_chain, wish

WHOLE = campaign(
    bps("step1"),
    by_tract("step2b", "step2b", after=["step1"]),
    bps("step2d", after=["step2b"]),
    by_tract("step3", after=["step2d"]),
    action("later", after=["step3"]),
)


def asked(spec: CampaignSpec = WHOLE, **changes: object) -> object:
    values = {"types": (), "tracts": (), "where": ""} | changes
    return wish(spec, snapshot(), **values)  # type: ignore[arg-type]


def test_by_default_the_final_products_of_the_last_tract_steps() -> None:
    found = wish(WHOLE, snapshot(), types=(), tracts=(), where="")
    assert found.chains == ("runs/night/step3",)
    assert (found.types, found.where, found.chain) == (FINAL_TYPES, "", "runs/night")


def test_types_are_looked_for_in_all_steps_the_last_first() -> None:
    found = wish(WHOLE, snapshot(), types=("calexp",), tracts=(), where="")
    assert found.chains == tuple(f"runs/night/{name}" for name in ("step3", "step2d", "step2b", "step1"))


def test_tracts_and_a_query_are_joined() -> None:
    found = wish(WHOLE, snapshot(), types=(), tracts=(9814, 9813, 9813), where="band = 'N708' OR patch = 1")
    assert found.where == "skymap = 'rings' AND tract IN (9813, 9814) AND (band = 'N708' OR patch = 1)"


def test_groups_that_are_not_complete_are_named() -> None:
    groups = (
        group("step3", tract=9813, state=GroupState.DONE, counts=Counts(succeeded=5)),
        group("step3", tract=9814, state=GroupState.NEEDS_REVIEW),
        group("step3", tract=9815, state=GroupState.DONE, counts=Counts(succeeded=5, failed=1)),
        group("step1", state=GroupState.RUNNING),
    )
    state = snapshot(*groups)
    assert wish(WHOLE, state, types=(), tracts=(), where="").incomplete == (
        "step3/tract9814",
        "step3/tract9815",
    )
    assert wish(WHOLE, state, types=(), tracts=(9813,), where="").incomplete == ()


def test_what_a_campaign_cannot_have_is_refused() -> None:
    with pytest.raises(BadInputError, match="no step over tracts; name what to export with --types"):
        asked(campaign(bps()))
    with pytest.raises(BadInputError, match="no sky map"):
        asked(campaign(bps(), skymap=None), types=("calexp",), tracts=(1,))


def test_defaults_are_chosen_by_what_exists() -> None:
    names = ["objectTable_tract", "objectTable", "deepCoadd", "deepCoadd_det", "measure_log"]
    assert chosen_types(names, FINAL_TYPES) == ("deepCoadd", "objectTable", "objectTable_tract")


@pytest.mark.parametrize("patterns", [("calexp",), ("objectTable", "nothing*"), FINAL_TYPES])
def test_a_pattern_that_matches_nothing_is_refused_with_what_there_is(patterns: tuple[str, ...]) -> None:
    names = ["deepCoadd_det", "measure_log", *(["objectTable"] if patterns != FINAL_TYPES else [])]
    with pytest.raises(BadInputError, match="there is no dataset type") as caught:
        chosen_types(names, patterns)
    assert "deepCoadd_det" in str(caught.value)
    assert "measure_log" not in str(caught.value)


@pytest.mark.parametrize(
    ("existing", "wanted", "merged"),
    [
        ((), ("a", "b"), ("a", "b")),
        (("a", "b"), ("a", "b"), ("a", "b")),
        (("x", "a", "y", "b"), ("a", "b"), ("x", "a", "y", "b")),
        (("x", "b", "a"), ("a", "b"), ("a", "b", "x")),
        (("x", "b"), ("a", "b"), ("a", "b", "x")),
    ],
)
def test_a_chain_takes_what_is_new_in_front_and_is_left_alone_otherwise(
    existing: tuple[str, ...], wanted: tuple[str, ...], merged: tuple[str, ...]
) -> None:
    assert merged_chain(existing, wanted) == merged
    assert merged_chain(merged, wanted) == merged
