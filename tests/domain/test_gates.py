"""What groups wait for where steps are cut by tract and by night: what overlaps on the sky, and no more.

Nights 18 and 19 of March 2021 see tract 1, night 20 sees tracts 1 and 2, night 21 tract 2; night 22 is cloudy
(biases only), night 23 looks off all tracts.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from domain_help import (
    action,
    bps,
    by_tract,
    campaign,
    finished,
    group,
    night,
    over,
    readiness,
    sky,
    snapshot,
    with_overlaps,
)
from hypothesis import given
from hypothesis import strategies as st

from merian_campaign.domain.campaign.plan import GroupReadiness, plan_groups
from merian_campaign.domain.readiness.gates import Gates
from merian_campaign.domain.record.overlaps import SkyExposure
from merian_campaign.domain.record.snapshot import GroupView, Snapshot
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.states import GroupState

DONE, RUNNING, WAITING = GroupState.DONE, GroupState.RUNNING, GroupState.WAITING
READY, BLOCKED, REVIEW = GroupState.READY, GroupState.BLOCKED, GroupState.NEEDS_REVIEW

NIGHTS = {"kind": "day_obs", "nights": ["20210318-20210323"]}
SPEC = campaign(
    bps("step1", group_by=NIGHTS),
    bps("step2a", after=["step1"], group_by=NIGHTS),
    by_tract("step2b", "step2b", after=["step2a"]),
    bps("step2d", after=["step2b"], group_by=NIGHTS),
    by_tract("step3", "step3", after=["step2d"]),
    bps("step2e", after=["step2d"]),
    tracts=[1, 2, 3],
)
BIAS = SkyExposure(exposure=90, day_obs=20210322)
SKY = (
    sky(81, 18, 1),
    sky(91, 19, 1),
    sky(201, 20, 1),
    sky(202, 20, 2),
    sky(211, 21, 2),
    BIAS,
    sky(231, 23),
)


def all_groups(spec: CampaignSpec = SPEC, **states: GroupState) -> Snapshot:
    """A group of each kind, all waiting but for those given: by step, or step and night or tract."""

    def state(step: str, key: str) -> GroupState:
        short = key.removeprefix("night202103").removeprefix("tract")
        return states.get(f"{step}_{short}", states.get(step, WAITING))

    return snapshot(
        *(
            group(entry.step, entry.key, selection=entry.selection, state=state(entry.step, entry.key))
            for entry in plan_groups(spec).wanted
        )
    )


def pick(everything: Snapshot, name: str) -> GroupView:
    return next(entry for entry in everything.groups if f"{entry.step}/{entry.key}" == name)


def judged(
    name: str, *exposures: SkyExposure, spec: CampaignSpec = SPEC, **states: GroupState
) -> GroupReadiness:
    everything = all_groups(spec, **states)
    if exposures:
        everything = with_overlaps(spec, everything, *exposures)
    return readiness(spec, everything, pick(everything, name))


def needed(name: str, *exposures: SkyExposure, spec: CampaignSpec = SPEC) -> list[str]:
    everything = with_overlaps(spec, all_groups(spec), *exposures)
    found = Gates(spec=spec, snapshot=everything).needs(pick(everything, name))
    return [f"{need.group.step}/{need.group.key.removeprefix('night202103')}" for need in found.groups]


# -- a tract after nights ------------------------------------------------------------------------------


def test_a_tract_moves_on_while_a_night_that_does_not_overlap_it_is_in_step_1() -> None:
    states = {"step1": DONE, "step2a": DONE, "step1_21": RUNNING, "step2a_21": WAITING}
    assert judged("step2b/tract1", *SKY, **states).state is READY
    other = judged("step2b/tract2", *SKY, **states)
    assert other == GroupReadiness(
        state=WAITING, reason="waits for step2a/night20210321 (waiting) of its visits"
    )


def test_without_overlaps_it_waits_for_all_nights_as_before() -> None:
    found = judged("step2b/tract1", step1=DONE, step2a=DONE, step2a_21=RUNNING)
    assert found.state is WAITING
    assert found.reason == (
        "waits for step2a/night20210321 (running), as long as it is not known which of these it overlaps"
    )


def test_overlaps_that_rest_on_something_else_by_now_are_none() -> None:
    everything = with_overlaps(SPEC, all_groups(step2a=DONE, step2a_21=RUNNING), *SKY)
    one = pick(everything, "step2b/tract1")
    assert readiness(SPEC, everything, one).state is READY
    assert everything.overlaps is not None
    later = replace(everything, overlaps=replace(everything.overlaps, basis="before the new ingest"))
    assert readiness(SPEC, later, one).state is WAITING
    revised = replace(everything, campaign=replace(everything.campaign, revision=2))
    assert readiness(SPEC, revised, one).state is WAITING


@pytest.mark.parametrize(
    "unknown",
    [
        pytest.param((), id="nothing of the night was seen"),
        pytest.param((SkyExposure(exposure=211, day_obs=20210321, tracts=None),), id="no visit defined"),
        pytest.param(
            (sky(210, 21, 2), SkyExposure(exposure=211, day_obs=20210321, tracts=None)), id="one has no visit"
        ),
    ],
)
def test_a_night_of_which_not_all_is_known_is_waited_for(unknown: tuple[SkyExposure, ...]) -> None:
    rest = tuple(row for row in SKY if row.exposure != 211)
    assert needed("step2b/tract1", *rest, *unknown) == ["step2a/18", "step2a/19", "step2a/20", "step2a/21"]
    found = judged("step2b/tract1", *rest, *unknown, step2a=DONE, step2a_21=RUNNING)
    assert found.reason == "waits for step2a/night20210321 (running), whose visits are not defined yet"


def test_a_cloudy_night_holds_no_tract_back() -> None:
    assert needed("step2b/tract1", *SKY) == ["step2a/18", "step2a/19", "step2a/20"]
    assert judged("step2b/tract1", *SKY, step2a=DONE, step2a_22=REVIEW).state is READY


def test_a_tract_that_no_visit_overlaps_waits_for_everything() -> None:
    assert len(needed("step2b/tract3", *SKY)) == 6
    found = judged("step2b/tract3", *SKY, step2a=DONE, step2a_18=RUNNING)
    assert found.reason == "waits for step2a/night20210318 (running), as no visit overlaps it so far"


@pytest.mark.parametrize(("lists", "nights"), [({"one": [1]}, 3), ({"one": [1, 2]}, 4), ({"one": [1, 3]}, 6)])
def test_lists_of_tracts_wait_for_the_nights_of_each(lists: dict[str, list[int]], nights: int) -> None:
    grouping = {"kind": "lists", "dimension": "tract", "lists": lists}
    spec = campaign(
        bps("step2a", group_by=NIGHTS), bps("step2b", "step2b", group_by=grouping, after=["step2a"])
    )
    assert len(needed("step2b/one", *SKY, spec=spec)) == nights


# -- a night after tracts ------------------------------------------------------------------------------


def test_2d_of_a_night_waits_for_2b_of_all_its_tracts_and_of_no_others() -> None:
    assert needed("step2d/night20210320", *SKY) == ["step2b/tract1", "step2b/tract2"]
    assert needed("step2d/night20210318", *SKY) == ["step2b/tract1"]
    states = {"step1": DONE, "step2a": DONE, "step2b_1": DONE, "step2b_2": RUNNING}
    assert judged("step2d/night20210318", *SKY, **states).state is READY
    found = judged("step2d/night20210320", *SKY, **states)
    assert found.reason == "waits for step2b/tract2 (running) of its tracts"


def test_a_tract_without_visits_does_not_hold_nights_back() -> None:
    states = {"step2a": DONE, "step2b": DONE, "step2b_3": WAITING}
    assert judged("step2d/night20210318", *SKY, **states).state is READY


def test_a_night_of_which_not_all_is_known_waits_for_every_tract() -> None:
    rest = tuple(row for row in SKY if row.exposure != 211)
    needs = needed("step2d/night20210321", *rest)
    assert needs[:3] == ["step2b/tract1", "step2b/tract2", "step2b/tract3"]
    # And for what tracts wait for in part only, as all was waited for before.
    assert needs[3:] == [f"step2a/{night}" for night in range(18, 24)]


def test_a_night_off_all_tracts_still_waits_for_its_own_visits() -> None:
    assert needed("step2d/night20210323", *SKY) == ["step2a/23"]
    assert judged("step2d/night20210323", *SKY, step1=DONE, step2a_18=DONE).state is WAITING
    assert judged("step2d/night20210323", *SKY, step1=DONE, step2a_23=DONE).state is READY
    # So does a cloudy one.
    assert needed("step2d/night20210322", *SKY) == ["step2a/22"]


def test_visits_off_all_tracts_are_waited_for_besides_the_tracts_of_the_others() -> None:
    chunks = {"kind": "visit", "ids": [201, 202, 203], "size": 2}
    spec = campaign(
        bps("step2a", group_by=chunks),
        by_tract("step2b", "step2b", after=["step2a"]),
        bps("step2d", group_by=NIGHTS, after=["step2b"]),
        tracts=[1, 2],
    )
    (first, second) = (entry.key for entry in plan_groups(spec).wanted if entry.step == "step2a")
    rest = (sky(201, 20, 1), sky(202, 20, 2))
    assert needed("step2d/night20210320", *rest, sky(203, 20, 1), spec=spec) == [
        "step2b/tract1",
        "step2b/tract2",
    ]
    assert needed("step2b/tract1", *rest, sky(203, 20), spec=spec) == [f"step2a/{first}"]
    assert needed("step2d/night20210320", *rest, sky(203, 20), spec=spec) == [
        "step2b/tract1",
        "step2b/tract2",
        f"step2a/{first}",
        f"step2a/{second}",
    ]


def test_a_night_behind_two_steps_of_tracts_waits_for_what_those_wait_for() -> None:
    spec = campaign(
        action("defaults"),
        bps("step1", group_by=NIGHTS, after=["defaults"]),
        by_tract("stars", "step2b", after=["step1"]),
        by_tract("step2b", "step2b", after=["stars", "defaults"]),
        bps("step2d", group_by=NIGHTS, after=["step2b"]),
        tracts=[1, 2],
    )
    assert needed("step2d/night20210323", *SKY, spec=spec) == ["step1/23", "defaults/all"]


def test_step_3_of_a_tract_waits_for_every_visit_that_overlaps_it() -> None:
    assert needed("step3/tract2", *SKY) == ["step2d/20", "step2d/21"]


# -- equal cuts ----------------------------------------------------------------------------------------


def test_a_night_waits_for_itself() -> None:
    assert needed("step2a/night20210319", *SKY) == ["step1/19"]
    # No overlaps are needed for that.
    assert judged("step2a/night20210319", step1_19=DONE).state is READY
    assert judged("step2a/night20210319", step1=DONE, step1_19=RUNNING).reason == (
        "waits for step1/night20210319 (running)"
    )


def test_a_night_that_the_step_before_does_not_have_waits_for_all_of_it() -> None:
    spec = campaign(
        bps("step1", group_by={"kind": "day_obs", "nights": ["20210318-20210319"]}),
        bps("step2a", after=["step1"], group_by={"kind": "day_obs", "nights": ["20210319-20210320"]}),
    )
    assert needed("step2a/night20210319", *SKY, spec=spec) == ["step1/19"]
    assert needed("step2a/night20210320", *SKY, spec=spec) == ["step1/18", "step1/19"]


def test_chunks_of_visits_wait_for_the_chunks_that_share_a_visit() -> None:
    spec = campaign(
        bps("step1", group_by={"kind": "visit", "ids": ["1-6"], "size": 2}),
        bps("step2a", after=["step1"], group_by={"kind": "visit", "ids": ["1-6"], "size": 3}),
    )
    (first, second) = (entry.key for entry in plan_groups(spec).wanted if entry.step == "step2a")
    everything = all_groups(spec)
    gates = Gates(spec=spec, snapshot=everything)
    values = [
        [need.group.selection.values for need in gates.needs(pick(everything, f"step2a/{key}")).groups]
        for key in (first, second)
    ]
    assert values == [[(1, 2), (3, 4)], [(3, 4), (5, 6)]]


def test_everything_and_global_steps_are_joined_to_all() -> None:
    assert needed("step2e/all", *SKY) == [
        *(f"step2d/{day}" for day in range(18, 24)),
        *(f"step2b/tract{tract}" for tract in (1, 2, 3)),
        *(f"step2a/{day}" for day in range(18, 24)),
    ]
    # A step of scope global is about everything, however it is cut.
    spec = campaign(
        bps("step1", group_by=NIGHTS),
        bps("step2a", scope="global", group_by=NIGHTS, after=["step1"]),
        by_tract("step2b", "step2b", after=["step2a"]),
    )
    assert len(needed("step2a/night20210318", *SKY, spec=spec)) == 6
    assert len(needed("step2b/tract9813", *SKY, spec=spec)) == 6


def test_match_all_is_a_barrier_whatever_overlaps() -> None:
    spec = campaign(
        bps("step2a", group_by=NIGHTS),
        by_tract("step2b", "step2b", after=[{"step": "step2a", "match": "all"}]),
        tracts=[1],
    )
    assert len(needed("step2b/tract1", *SKY, spec=spec)) == 6


def test_what_waits_for_all_tracts_waits_for_the_nights_off_them_too() -> None:
    spec = campaign(
        bps("step1", group_by=NIGHTS),
        bps("step2a", group_by=NIGHTS, after=["step1"]),
        by_tract("step2b", "step2b", after=["step2a"]),
        by_tract("stars", "step2b", after=["step2b"]),
        bps("step2d", after=["stars"]),
        tracts=[1, 2],
    )
    states = {"step1": DONE, "step2a": DONE, "step2b": DONE, "stars": DONE}
    assert judged("step2d/all", *SKY, spec=spec, **states).state is READY
    late = judged("step2d/all", *SKY, spec=spec, **states, step2a_23=RUNNING)
    assert late == GroupReadiness(state=WAITING, reason="waits for step2a/night20210323 (running)")


# -- exposures, visits and nights ----------------------------------------------------------------------


def exposures_then(dimension: str, **then: object) -> CampaignSpec:
    lists = {"kind": "lists", "dimension": dimension, "lists": {"early": [81, 91], "late": [201, 211]}}
    return campaign(bps("step1", group_by=lists), bps("step2d", after=["step1"], **then), tracts=[1, 2])


@pytest.mark.parametrize("dimension", ["exposure", "visit"])
def test_nights_tracts_exposures_and_visits_are_joined_by_the_same_rows(dimension: str) -> None:
    nights = exposures_then(dimension, group_by=NIGHTS)
    assert needed("step2d/night20210319", *SKY, spec=nights) == ["step1/early"]
    assert needed("step2d/night20210321", *SKY, spec=nights) == ["step1/late"]
    tracts = campaign(
        *(step.model_dump(exclude_unset=True) for step in nights.steps[:1]),
        by_tract("step2b", "step2b", after=["step1"]),
        tracts=[1, 2],
    )
    assert needed("step2b/tract1", *SKY, spec=tracts) == ["step1/early", "step1/late"]
    assert needed("step2b/tract2", *SKY, spec=tracts) == ["step1/late"]


def test_ids_that_were_never_seen_are_waited_for() -> None:
    spec = exposures_then("exposure", group_by=NIGHTS)
    few = tuple(row for row in SKY if row.exposure != 211)
    assert needed("step2d/night20210319", *few, spec=spec) == ["step1/early", "step1/late"]


def test_an_exposure_may_have_several_visits() -> None:
    snap = SkyExposure(exposure=81, day_obs=20210318, visits=(810, 811), tracts=(1, 2))
    spec = campaign(
        bps("step1", group_by={"kind": "exposure", "ids": [81, 91], "size": 1}),
        bps("step2a", after=["step1"], group_by={"kind": "visit", "ids": [91, 811], "size": 1}),
    )
    assert needed("step2a/visit811", snap, sky(91, 19, 1), spec=spec) == ["step1/exposure81"]
    assert needed("step2a/visit91", snap, sky(91, 19, 1), spec=spec) == ["step1/exposure91"]


# -- trouble -------------------------------------------------------------------------------------------


def test_trouble_spreads_along_overlaps_only() -> None:
    states = {"step1": DONE, "step2a": DONE, "step2a_21": REVIEW, "step2b_1": DONE, "step2b_2": BLOCKED}
    assert judged("step2b/tract1", *SKY, step2a=DONE, step2a_21=REVIEW).state is READY
    stuck = judged("step2b/tract2", *SKY, **states)
    assert stuck == GroupReadiness(
        state=BLOCKED, reason="needs step2a/night20210321 (needs_review) of its visits"
    )
    assert judged("step2d/night20210318", *SKY, **states).state is READY
    assert judged("step2d/night20210320", *SKY, **states).reason == (
        "needs step2b/tract2 (blocked) of its tracts"
    )
    after = {"step2d": DONE, "step2d_21": BLOCKED}
    assert judged("step3/tract1", *SKY, **after).state is READY
    assert judged("step3/tract2", *SKY, **after).state is BLOCKED


def test_a_gate_that_asks_for_all_quanta_asks_along_overlaps() -> None:
    gate = [{"step": "step2a", "require": "complete"}]
    spec = campaign(bps("step2a", group_by=NIGHTS), by_tract("step2b", "step2b", after=gate), tracts=[1, 2])
    everything = all_groups(spec, step2a=DONE)
    lossy = tuple(
        replace(entry, counts=replace(entry.counts, succeeded=9, failed=1), submissions=(finished(),))
        if entry.key == "night20210321"
        else entry
        for entry in everything.groups
    )
    everything = with_overlaps(spec, replace(everything, groups=lossy), *SKY)
    assert readiness(spec, everything, pick(everything, "step2b/tract1")).state is READY
    assert readiness(spec, everything, pick(everything, "step2b/tract2")).reason == (
        "needs step2a/night20210321 is done with 1 quanta lost, and the gate asks for all of its visits"
    )


# -- discovered tracts ---------------------------------------------------------------------------------

FOUND = campaign(
    action("ingest", action="ingest-raws", arguments={"files": ["/raw/*"]}),
    bps("step1", group_by=NIGHTS, after=["ingest"]),
    by_tract("step2b", "step2b", after=["step1"]),
    bps("step2d", after=["step2b"], group_by=NIGHTS),
    by_tract("step3", "step3", after=["step2d", "step2b"]),
    action("release", after=["step3"]),
    tracts="discover",
)


def found_groups(*tracts: int, state: GroupState = DONE) -> tuple[GroupView, ...]:
    nights = [night(step, day, state=DONE) for step in ("step1", "step2d") for day in range(18, 24)]
    both = [group(step, tract=tract, state=state) for step in ("step2b", "step3") for tract in tracts]
    ends = (group("ingest", state=DONE), group("release", state=WAITING))
    return (*nights, *both, *ends)


def test_what_comes_after_a_step_waits_until_its_tracts_are_discovered() -> None:
    everything = snapshot(*found_groups())
    release = group("release", state=WAITING)
    found = readiness(FOUND, everything, release)
    assert found == GroupReadiness(
        state=WAITING, reason="waits for step3: its tracts are discovered once visits are defined"
    )
    one = night("step2d", 18)
    assert "waits for step2b: its tracts are discovered" in readiness(FOUND, everything, one).reason


def test_what_comes_after_waits_until_every_discovered_tract_has_its_group() -> None:
    release = group("release", state=WAITING)
    half = with_overlaps(FOUND, snapshot(*found_groups(1)), *SKY)
    assert readiness(FOUND, half, release).reason == "waits for step3: its tracts are being added"
    assert readiness(FOUND, half, night("step2d", 18)).state is READY
    assert readiness(FOUND, half, night("step2d", 20)).reason == (
        "waits for step2b: its tracts are being added"
    )
    whole = with_overlaps(FOUND, snapshot(*found_groups(1, 2)), *SKY)
    assert readiness(FOUND, whole, release).state is READY


def test_the_same_tract_needs_no_discovery() -> None:
    stale = snapshot(*found_groups(1))
    spec = campaign(
        *FOUND.model_dump(exclude_unset=True)["steps"][:3],
        by_tract("step3", after=["step2b"]),
        tracts="discover",
    )
    assert readiness(spec, stale, group("step3", tract=1, state=WAITING)).state is READY


def test_nothing_is_released_when_no_tract_was_discovered() -> None:
    nothing = with_overlaps(FOUND, snapshot(*found_groups()), sky(231, 23), BIAS)
    found = readiness(FOUND, nothing, group("release", state=WAITING))
    assert found == GroupReadiness(
        state=WAITING, reason="waits for step3: no tract was discovered, 1 visits were seen"
    )


def test_a_selection_is_found_by_each_of_its_dimensions() -> None:
    overlaps = with_overlaps(SPEC, all_groups(), *SKY).overlaps
    assert overlaps is not None
    assert overlaps.rows(over("visit", 201, 202)) == (SKY[2], SKY[3])
    assert overlaps.rows(over("day_obs", 20210322)) == (BIAS,)
    assert overlaps.rows(over("exposure", 201, 7)) is None
    assert overlaps.touched == {1, 2}
    assert overlaps.tract_visits == {1: 3, 2: 2}
    assert overlaps.in_words() == "6 visits on 2 tracts"


# -- any survey ----------------------------------------------------------------------------------------


@st.composite
def surveys(draw: st.DrawFn) -> tuple[CampaignSpec, tuple[SkyExposure, ...]]:
    """Visits on some nights and tracts, some not defined; each step over visits has a cut of its own."""
    visits = draw(st.integers(1, 8))
    nights = [draw(st.integers(18, 20)) for _ in range(visits)]
    tracts = [draw(st.sets(st.integers(1, 4), max_size=3)) for _ in range(visits)]
    defined = [draw(st.integers(0, 5)) > 0 for _ in range(visits)]
    cuts = [
        NIGHTS,
        {"kind": "visit", "ids": [f"1-{visits}"], "size": draw(st.integers(1, 3))},
        {"kind": "exposure", "ids": [f"1-{visits}"], "size": draw(st.integers(1, 3))},
        "everything",
    ]
    over_visits = [draw(st.sampled_from(cuts)) for _ in range(3)]
    spec = campaign(
        bps("step1", group_by=over_visits[0]),
        bps("step2a", after=["step1"], group_by=over_visits[1]),
        by_tract("step2b", "step2b", after=["step2a"]),
        bps("step2d", after=["step2b"], group_by=over_visits[2]),
        by_tract("step3", "step3", after=["step2d"]),
        tracts=[1, 2, 3],
    )
    rows = tuple(
        sky(number + 1, nights[number], *sorted(tracts[number]))
        if defined[number]
        else SkyExposure(exposure=number + 1, day_obs=20210300 + nights[number], tracts=None)
        for number in range(visits)
    )
    return spec, rows


def concerns(one: GroupView, row: SkyExposure) -> bool:
    """Say whether a group works on a visit; where one will lie that is not defined yet, nobody knows."""
    values = {"": 0, "visit": row.exposure, "exposure": row.exposure, "day_obs": row.day_obs}
    if one.tract is not None:
        return row.tracts is None or one.tract in row.tracts
    return not one.selection.dimension or values[one.selection.dimension] in one.selection.values


def all_before(gates: Gates, start: GroupView) -> set[str]:
    """Everything that is done before a group, directly or not."""
    found: set[str] = set()
    left = [start]
    while left:
        for need in gates.needs(left.pop()).groups:
            name = f"{need.group.step}/{need.group.key}"
            if name not in found:
                found.add(name)
                left.append(need.group)
    return found


@given(surveys())
def test_whatever_the_cuts_nothing_starts_before_all_that_its_visits_need(
    survey: tuple[CampaignSpec, tuple[SkyExposure, ...]],
) -> None:
    spec, rows = survey
    everything = with_overlaps(spec, all_groups(spec), *rows)
    gates = Gates(spec=spec, snapshot=everything)
    steps = [step.name for step in spec.steps]
    for one in everything.groups:
        before = all_before(gates, one)
        earlier = steps[: steps.index(one.step)]
        for row in (row for row in rows if concerns(one, row)):
            needed_first = {
                f"{other.step}/{other.key}"
                for other in everything.groups
                if other.step in earlier and concerns(other, row)
            }
            assert needed_first <= before, (one.step, one.key, row)


def test_what_waits_for_whole_steps_needs_one_value_however_many_wait() -> None:
    """Made, and judged, for each of a thousand tracts, it would take the square of their number."""
    groups = [
        group(one.step, one.key, selection=one.selection, state=WAITING) for one in plan_groups(SPEC).wanted
    ]
    gates = Gates(spec=SPEC, snapshot=snapshot(*groups))
    tracts = [one for one in groups if one.step == "step3"]
    first, *others = [gates.needs(one).groups for one in tracts]
    assert {need.group.step for need in first} == {"step2a", "step2b", "step2d"}
    assert others
    assert all(one is first for one in others)
