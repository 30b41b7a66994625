"""Tracts that come, are taken out, or are cut otherwise: who has read them, and who sees them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from domain_help import NOW, bps, campaign, finished, group, sky, snapshot
from new_data_help import SKY, MiniatureSurvey, after, pick, states, survey

from merian_campaign.domain.campaign.plan import in_force, reasons, taken_out
from merian_campaign.domain.states import GroupState


def test_a_tract_that_comes_later_makes_anew_the_nights_that_overlap_it() -> None:
    tracts = {"discover": True, "min_visits": 2}
    found = MiniatureSurvey(survey(tracts=tracts))
    found.arrive([SKY[81], SKY[201]])
    found.settle()
    assert ("step3", "tract2") not in found.groups
    before = pick(found, "step2d/night20210318")
    found.arrive([SKY[211]])
    found.settle()
    assert states(found) == {GroupState.DONE}
    assert pick(found, "step2d/night20210320").generation == 2
    assert pick(found, "step2d/night20210318").submissions == before.submissions  # off the new tract
    whole = MiniatureSurvey(survey(tracts=tracts))
    whole.arrive([SKY[81], SKY[201], SKY[211]])
    whole.settle()
    assert found.shown_values() == whole.shown_values()


def test_a_tract_that_is_listed_later_is_waited_for_by_what_would_read_it_of_marked_nights() -> None:
    found = after(18, 20, tracts=[1], on_new_data="mark")
    found.spec, found.revision = survey(tracts=[1, 2], on_new_data="mark"), 2
    found.add_groups()
    found.settle()
    night = pick(found, "step2d/night20210320")
    assert night.reason == "stale: step2b/tract2, which it has not read"
    assert pick(found, "step2d/night20210318").reason.startswith("all ")
    assert pick(found, "step3/tract2").state is GroupState.WAITING
    assert pick(found, "step3/tract1").generation == 1


def apply(found: MiniatureSurvey, **changes: object) -> None:
    """The file is applied anew."""
    found.spec, found.revision = survey(**changes), found.revision + 1
    found.add_groups()
    found.settle()


def test_a_tract_that_is_taken_out_is_shown_no_longer_and_comes_back_as_it_was() -> None:
    found = after(18, 20, tracts=[1, 2])
    apply(found, tracts=[1])
    assert pick(found, "step3/tract2").published == 0
    whole = after(18, 20, tracts=[1])
    assert {key: value for key, value in found.shown_values().items() if key != "tract2"} == (
        whole.shown_values()
    )
    assert pick(found, "step2d/night20210320").generation == 2
    assert pick(found, "step2d/night20210318").generation == 1  # off that tract
    submissions = pick(found, "step2b/tract2").submissions
    apply(found, tracts=[1, 2])
    assert pick(found, "step2b/tract2").submissions == submissions
    assert found.shown_values() == after(18, 20, tracts=[1, 2]).shown_values()


def test_marked_what_has_read_a_tract_that_is_taken_out_says_so() -> None:
    found = after(18, 20, tracts=[1, 2], on_new_data="mark")
    apply(found, tracts=[1], on_new_data="mark")
    night = pick(found, "step2d/night20210320")
    assert night.reason == ("stale: step2b/tract2, which it has read and of which there is nothing any more")
    assert (night.state, night.generation) == (GroupState.DONE, 1)


@pytest.mark.parametrize(
    ("tracts", "size", "gone"), [([1, 2], 2, {}), ([1], 1, {"tract2"}), ([3], 1, {"tract1", "tract2"})]
)
def test_what_is_cut_otherwise_is_seen_until_what_takes_its_place_is_done(
    tracts: list[int], size: int, gone: set[str]
) -> None:
    spec = campaign(bps("step3", group_by={"kind": "tract", "size": size}), tracts=tracts)
    held = tuple(
        group("step3", tract=tract, state=GroupState.DONE, submissions=(finished(),)) for tract in (1, 2)
    )
    found = snapshot(*held)
    ids = taken_out(spec, found, in_force(spec, found))
    assert {one.key for one in held if one.id in ids} == set(gone)


def test_a_discovered_tract_that_too_few_visits_overlap_now_is_shown_no_longer() -> None:
    found = after(18, 19, 20, tracts={"discover": True, "min_visits": 3})
    assert found.used("step3", "tract1") == {81, 91, 201}
    found.withdraw(91)
    found.settle()
    tract = pick(found, "step3/tract1")
    assert (tract.state, tract.published, found.shown["step3", "tract1"]) == (GroupState.WAITING, 2, {})
    words = reasons(found.spec, found._snapshot(), now=NOW)[tract.id]
    assert words == "waits for data: fewer visits overlap it than `tracts.min_visits` asks for"
    found.arrive([sky(82, 18, 1)])
    found.settle()
    assert found.used("step3", "tract1") == {81, 82, 201}


def test_what_said_nothing_of_tracts_read_those_that_had_begun() -> None:
    found = after(18, 20, tracts=[1])
    for key, one in found.groups.items():
        if one.basis is not None:
            found.groups[key] = replace(one, basis=replace(one.basis, parts=None))
    found.settle()
    assert pick(found, "step2d/night20210320").generation == 1
