"""When the butler is asked for overlaps, what for, and what its answer means."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from domain_help import (
    NOW,
    action,
    bps,
    by_tract,
    campaign,
    finished,
    group,
    night,
    over,
    readiness,
    seen,
    situation,
    sky,
    snapshot,
    with_overlaps,
)
from pydantic import ValidationError

from merian_campaign.domain.campaign.plan import in_force, plan_groups, tracts_of
from merian_campaign.domain.readiness.overlap_refresh import (
    LOOK_AGAIN,
    OverlapRefresh,
    basis,
    needs_overlaps,
    overlaps_of,
    question,
    reaching,
    refresh_due,
    settled,
)
from merian_campaign.domain.record.overlaps import SkyExposure
from merian_campaign.domain.record.snapshot import GroupView, Snapshot
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.states import CampaignState, GroupState, SubmissionOutcome
from merian_campaign.domain.tick.decide import decide
from merian_campaign.domain.tick.decisions import AddGroups

WELL = SubmissionOutcome.SUCCEEDED
DONE, RUNNING, WAITING = GroupState.DONE, GroupState.RUNNING, GroupState.WAITING
NIGHTS = {"kind": "day_obs", "nights": [20210318, 20210319]}
INGEST = action("ingest", action="ingest-raws", arguments={"files": ["/raw/*"]})
SPEC = campaign(
    INGEST,
    bps("step1", select={"observation_type": "science"}, group_by=NIGHTS, after=["ingest"]),
    by_tract("step3", "step3", after=["step1"]),
    tracts="discover",
)


def groups(ingest: GroupState = DONE, **changes: object) -> tuple[GroupView, ...]:
    return (
        group("ingest", state=ingest, submissions=(finished(),), **changes),
        night("step1", 18),
        night("step1", 19),
    )


# -- whether it matters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "tracts", "needed"),
    [
        pytest.param([bps("step1"), by_tract(after=["step1"])], [1], True, id="a tract after everything"),
        pytest.param(
            [by_tract("step2b", "step2b"), by_tract(after=["step2b"])], [1], False, id="tracts only"
        ),
        pytest.param(
            [bps("step1", group_by=NIGHTS), by_tract(after=["step1"])], [1], True, id="after nights"
        ),
        pytest.param(
            [bps("step1", group_by=NIGHTS), by_tract(after=[{"step": "step1", "match": "all"}])],
            [1],
            True,
            id="a barrier",
        ),
        pytest.param([bps("step1"), by_tract(after=["step1"])], "discover", True, id="discovered"),
        pytest.param(
            [bps("step1", group_by=NIGHTS), bps("step2a", group_by=NIGHTS, after=["step1"])],
            [1],
            True,
            id="nights after nights",
        ),
    ],
)
def test_what_the_registry_has_matters_to_steps_over_exposures_and_to_what_overlaps(
    steps: list[dict[str, object]], tracts: object, needed: bool
) -> None:
    assert needs_overlaps(campaign(*steps, tracts=tracts)) is needed


def test_nobody_is_asked_by_a_campaign_that_does_not_depend_on_it() -> None:
    spec = campaign(by_tract())
    assert refresh_due(spec, snapshot(group("step3", tract=1)), now=NOW) is None


@pytest.mark.parametrize("state", [CampaignState.PAUSED, CampaignState.CANCELLED])
def test_nobody_is_asked_for_a_campaign_that_stands_still(state: CampaignState) -> None:
    assert refresh_due(SPEC, snapshot(*groups(), state=state), now=NOW) is None


# -- when ----------------------------------------------------------------------------------------------


def test_it_waits_for_what_brings_the_data_in() -> None:
    assert refresh_due(SPEC, snapshot(*groups(ingest=RUNNING)), now=NOW) is None
    assert refresh_due(SPEC, snapshot(*groups()), now=NOW) is not None


def seen_before(*after: GroupView) -> Snapshot:
    before = with_overlaps(SPEC, snapshot(*groups()), sky(1, 18, 7), sky(2, 19, 7))
    assert refresh_due(SPEC, before, now=NOW + timedelta(days=1)) is None
    assert settled(SPEC, before) is not None
    return replace(before, groups=after)


def test_it_is_asked_again_after_another_ingest_and_nothing_holds_until_then() -> None:
    again = replace(groups()[0], submissions=(finished(1, WELL), finished(2, WELL)))
    later = seen_before(again, *groups()[1:])
    assert refresh_due(SPEC, later, now=NOW) is not None
    assert settled(SPEC, later) is None
    running = seen_before(*groups(ingest=RUNNING))
    assert refresh_due(SPEC, running, now=NOW) is None
    assert settled(SPEC, running) is None


def test_it_is_asked_again_for_other_nights_and_revisions() -> None:
    more = seen_before(*groups(), night("step1", 20))
    assert refresh_due(SPEC, more, now=NOW) is not None
    same = seen_before(*groups())
    assert refresh_due(SPEC, same, now=NOW) is None
    revised = replace(same, campaign=replace(same.campaign, revision=2))
    assert refresh_due(SPEC, revised, now=NOW) is not None


def test_the_groups_that_are_found_do_not_make_it_ask_again() -> None:
    after = seen_before(*groups(), group("step3", tract=7, state=WAITING))
    assert refresh_due(SPEC, after, now=NOW) is None


def test_what_moves_in_a_group_does_not_make_it_ask_again() -> None:
    moved = seen_before(groups()[0], *(replace(one, state=RUNNING) for one in groups()[1:]))
    assert refresh_due(SPEC, moved, now=NOW) is None


def test_visits_that_somebody_else_defines_are_seen_in_time() -> None:
    waiting = SkyExposure(exposure=2, day_obs=20210319, tracts=None)
    for half in ((sky(1, 18, 7), waiting), (sky(1, 18, 7),)):
        before = with_overlaps(SPEC, snapshot(*groups()), *half)
        assert refresh_due(SPEC, before, now=NOW + LOOK_AGAIN / 2) is None
        assert refresh_due(SPEC, before, now=NOW + LOOK_AGAIN) is not None
        over_now = replace(before, groups=tuple(replace(one, state=DONE) for one in before.groups))
        assert refresh_due(SPEC, over_now, now=NOW + LOOK_AGAIN) is None


def test_a_person_may_ask_for_a_look() -> None:
    before = with_overlaps(SPEC, snapshot(*groups()), sky(1, 18, 7), sky(2, 19, 7))
    assert refresh_due(SPEC, before, now=NOW, asked=True) is not None
    assert refresh_due(SPEC, replace(before, groups=groups(ingest=RUNNING)), now=NOW, asked=True) is None
    never = campaign(by_tract())
    assert refresh_due(never, snapshot(group("step3", tract=1)), now=NOW, asked=True) is None


def test_actions_behind_tracts_hold_nothing_up() -> None:
    late = campaign(
        *SPEC.model_dump(exclude_unset=True)["steps"],
        action("more", action="ingest-raws", arguments={"files": ["/more/*"]}, after=["step3"]),
        tracts="discover",
    )
    everything = snapshot(*groups(), group("more", state=WAITING))
    assert refresh_due(late, everything, now=NOW) is not None


def test_groups_that_the_file_no_longer_has_are_not_asked_for() -> None:
    gone = night("step1", 25, submissions=(finished(),))
    everything = in_force(SPEC, snapshot(*groups(), gone))
    assert basis(SPEC, everything) == basis(SPEC, snapshot(*groups()))


# -- what for ------------------------------------------------------------------------------------------


def test_it_asks_for_what_each_step_takes_and_for_all_of_its_nights() -> None:
    asked = question(SPEC, groups())
    nights = "exposure.day_obs IN (20210318, 20210319)"
    assert (asked.instrument, asked.skymap) == ("DECam", "rings")
    assert asked.steps == {
        "step1": (f"instrument = 'DECam' AND {nights} AND exposure.observation_type = 'science'",)
    }
    assert asked.others == (f"instrument = 'DECam' AND {nights}",)


def test_long_lists_are_asked_for_in_parts() -> None:
    grouping = {"kind": "exposure", "ids": ["1-1200"], "size": 10}
    spec = campaign(bps("step1", group_by=grouping), by_tract(after=["step1"]))
    chunks = tuple(
        group(entry.step, entry.key, selection=entry.selection)
        for entry in plan_groups(spec).wanted
        if entry.step == "step1"
    )
    asked = question(spec, chunks)
    assert len(asked.steps["step1"]) == len(asked.others) == 3
    assert sum(text.count(",") + 1 for text in asked.others) == 1200


# -- what the answer means -----------------------------------------------------------------------------


def test_visits_are_the_campaigns_when_every_step_on_the_way_takes_them() -> None:
    spec = campaign(
        bps("cpBias", "bias", scope="exposure"),
        bps("step0", after=["cpBias"]),
        bps("cpFlat", "flat", scope="exposure", after=["step0"]),
        action("defaults", after=["cpFlat"]),
        bps("step1", after=["defaults"]),
        bps("step2a", after=["step1"]),
        by_tract("step3", "step3", after=["step2a"]),
    )
    taken = {"step0": {1, 2, 3, 4}, "step1": {2, 3, 9}, "step2a": {1, 2, 3, 4, 9}}
    assert reaching(spec, taken, "step3") == {2, 3}
    assert reaching(spec, {}, "step3") == set()


def test_visits_of_two_branches_are_all_the_campaigns() -> None:
    spec = campaign(
        bps("blue", "step1"), bps("red", "step1"), bps("step2a", after=["blue", "red"]),
        by_tract("step3", "step3", after=["step2a"]),
    )  # fmt: skip
    assert reaching(spec, {"blue": {1}, "red": {2}, "step2a": {1, 2, 3}}, "step3") == {1, 2}


def test_only_exposures_that_the_campaign_takes_make_tracts() -> None:
    answer = OverlapRefresh(
        exposures=(sky(2, 18, 8), sky(1, 18, 7), SkyExposure(exposure=3, day_obs=20210318)),
        taken={"step1": frozenset({1, 3})},
    )
    found = overlaps_of(SPEC, answer, basis="b", now=NOW)
    assert [(row.exposure, row.taken) for row in found.exposures] == [(1, True), (2, False), (3, False)]
    assert tracts_of(SPEC, found) == (7,)
    assert found.touched == {7, 8}
    assert (found.basis, found.seen_at, found.visits) == ("b", NOW, 1)


# -- discovery -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tracts", "expected"),
    [
        ("discover", (7, 8)),
        ({"discover": True}, (7, 8)),
        ({"discover": True, "min_visits": 2}, (7,)),
        ({"discover": True, "min_visits": 3}, ()),
        ([1, "3-4"], (1, 3, 4)),
    ],
)
def test_tracts_are_listed_or_those_that_enough_visits_overlap(
    tracts: object, expected: tuple[int, ...]
) -> None:
    spec = campaign(bps("step1"), by_tract(after=["step1"]), tracts=tracts)
    assert tracts_of(spec, seen(sky(1, 18, 8, 7), sky(2, 18, 7))) == expected
    assert tracts_of(spec, None) == spec.listed_tracts


def adds(spec: CampaignSpec, everything: Snapshot) -> list[AddGroups]:
    return [one for one in decide(spec, everything, situation()) if isinstance(one, AddGroups)]


def test_discovered_tracts_become_groups_of_every_step_cut_by_tract() -> None:
    spec = campaign(
        *SPEC.model_dump(exclude_unset=True)["steps"],
        by_tract("step4", "step3", after=["step3"]),
        bps("own", "step3", group_by={"kind": "tract", "tracts": [5]}, after=["step1"]),
        tracts="discover",
    )
    everything = with_overlaps(spec, snapshot(*groups()), sky(1, 18, 8, 7))
    found = adds(spec, everything)
    assert [(one.step, [new.key for new in one.groups]) for one in found] == [
        ("step3", ["tract7", "tract8"]),
        ("step4", ["tract7", "tract8"]),
    ]
    assert [(new.selection, new.ordinal) for new in found[0].groups] == [
        (over("tract", 7), 2),
        (over("tract", 8), 2),
    ]
    assert found[0].reason == "tracts that 1 visits overlap"


def test_nothing_is_added_before_it_is_known_or_twice_or_to_a_cancelled_campaign() -> None:
    assert adds(SPEC, snapshot(*groups())) == []
    there = group("step3", tract=7, state=WAITING)
    assert adds(SPEC, with_overlaps(SPEC, snapshot(*groups(), there), sky(1, 18, 7))) == []
    cancelled = with_overlaps(SPEC, snapshot(*groups(), state=CampaignState.CANCELLED), sky(1, 18, 7))
    assert adds(SPEC, cancelled) == []
    old = with_overlaps(SPEC, snapshot(*groups()), sky(1, 18, 7))
    assert old.overlaps is not None
    assert adds(SPEC, replace(old, overlaps=replace(old.overlaps, basis="old"))) == []


def test_new_data_make_new_groups_and_take_none_away() -> None:
    ran = group("step3", tract=7, state=DONE, submissions=(finished(),))
    never = group("step3", tract=6, state=WAITING)
    everything = with_overlaps(SPEC, snapshot(*groups(), ran, never), sky(1, 18, 8))
    (added,) = adds(SPEC, everything)
    assert [new.key for new in added.groups] == ["tract8"]
    for overlaps in (everything.overlaps, None):
        plan = plan_groups(SPEC, existing=everything.groups, overlaps=overlaps)
        assert (plan.dropped, plan.orphaned) == ((), ())


def test_a_file_alone_has_no_groups_of_discovered_tracts() -> None:
    assert {entry.step for entry in plan_groups(SPEC).wanted} == {"ingest", "step1"}


def test_one_pass_adds_and_the_next_releases() -> None:
    before = tuple(replace(one, state=DONE) for one in groups())
    everything = with_overlaps(SPEC, snapshot(*before), sky(1, 18, 7), sky(2, 19, 7))
    (added,) = decide(SPEC, everything, situation())
    assert isinstance(added, AddGroups)
    tract = group("step3", tract=7, state=WAITING)
    after = replace(everything, groups=(*before, tract))
    assert readiness(SPEC, after, tract).state is GroupState.READY


@pytest.mark.parametrize(
    ("steps", "tracts", "words"),
    [
        ([by_tract()], "discover", "no step over exposures or visits comes before 'step3'"),
        ([bps("step1"), by_tract()], "discover", "no step over exposures or visits comes before 'step3'"),
        ([bps("step1"), by_tract(after=["step1"])], "discovered", "found 'discovered'"),
        ([bps("step1"), by_tract(after=["step1"])], {"discover": False}, "discover"),
        ([bps("step1"), by_tract(after=["step1"])], {"min_visits": 0}, "min_visits"),
        ([bps("step1"), by_tract(after=["step1"])], {"minimum": 2}, "minimum"),
        ([bps("step1"), by_tract(after=["step1"])], [], "or write tracts: discover"),
    ],
)
def test_what_cannot_be_discovered_is_refused(
    steps: list[dict[str, object]], tracts: object, words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        campaign(*steps, tracts=tracts)
    assert words in str(caught.value)
