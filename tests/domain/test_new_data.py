"""A group is done for the data that it was made from: what comes later is added, makes it stale, or anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from domain_help import NOW, action, bps, campaign, finished, group, seen, sky, snapshot, with_overlaps
from hypothesis import given, settings
from hypothesis import strategies as st
from new_data_help import MiniatureSurvey, survey

from merian_campaign.domain.campaign.plan import in_force, reasons, taken_out
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.readiness import overlap_refresh
from merian_campaign.domain.readiness.complete_nights import NO_ARRIVALS, night_is_complete
from merian_campaign.domain.readiness.data_change import Change, Freshness
from merian_campaign.domain.readiness.new_data import NewData
from merian_campaign.domain.readiness.overlap_refresh import nights_of
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.overlaps import SkyExposure
from merian_campaign.domain.record.records import IGNORES, STALE
from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.spec.grouping import Chunks
from merian_campaign.domain.spec.new_data import NightComplete
from merian_campaign.domain.spec.steps import After
from merian_campaign.domain.states import GroupState, SubmissionOutcome
from merian_campaign.domain.tick.decisions import Again, MoveGroup
from merian_campaign.domain.tick.extend_or_redo import extend_or_redo

SKY = {
    81: sky(81, 18, 1),
    91: sky(91, 19, 1),
    201: sky(201, 20, 1, 2),
    202: sky(202, 20, 2),
    211: sky(211, 21, 2),
    231: sky(231, 23),
    241: sky(241, 24, 3),
}
SKY = {exposure: replace(row, raws=2) for exposure, row in SKY.items()}


def of(*days: int) -> list[SkyExposure]:
    return [row for row in SKY.values() if row.day_obs - 20210300 in days]


CERTIFY = {
    "input": "DECam/calib/bias",
    "output": "DECam/calib/night",
    "dataset_type": "bias",
    "begin": "2021-01-01T00:00:00",
    "end": "2022-01-01T00:00:00",
}


def after(*days: int, **changes: object) -> MiniatureSurvey:
    """A campaign that is done with these nights."""
    found = MiniatureSurvey(survey(**changes))
    found.arrive(of(*days))
    found.settle()
    return found


def states(found: MiniatureSurvey) -> set[GroupState]:
    return {one.state for one in found.groups.values()}


def pick(found: MiniatureSurvey, name: str) -> GroupView:
    step, _, key = name.partition("/")
    return found.groups[step, key]


# -- the rule ------------------------------------------------------------------------------------------


def test_a_campaign_with_data_ends_done() -> None:
    found = after(18, 20)
    assert states(found) == {GroupState.DONE}
    assert {key for step, key in found.groups if step == "step1"} == {"night20210318", "night20210320"}
    assert {key for step, key in found.groups if step == "step3"} == {"tract1", "tract2"}


def test_a_new_night_makes_its_tracts_anew_and_leaves_the_others() -> None:
    found = after(18, 21)
    before = found.shown["step3", "tract2"]
    found.arrive(of(19))
    found.settle()
    assert states(found) == {GroupState.DONE}
    assert found.shown["step3", "tract2"] == before
    assert pick(found, "step3/tract1").generation == 2
    assert pick(found, "step3/tract2").generation == 1
    assert found.shown_values() == after(18, 19, 21).shown_values()


def test_a_late_exposure_extends_its_night_and_makes_nothing_of_it_anew() -> None:
    found = after(18)
    late = sky(82, 18, 1)
    found.arrive([late])
    found.settle()
    night = pick(found, "step1/night20210318")
    assert (night.generation, len(night.submissions)) == (1, 2)
    assert {exposure for exposure, _ in found.shown["step1", night.key]} == {81, 82}
    assert pick(found, "step3/tract1").generation > 1


def test_a_campaign_without_data_waits_and_says_so() -> None:
    found = MiniatureSurvey(survey(tracts=[1]))
    found.settle()
    found.arrive(of(23))  # off all tracts
    found.settle()
    assert pick(found, "step3/tract1").state is GroupState.WAITING
    assert pick(found, "step2d/night20210323").state is GroupState.DONE


def test_a_listed_night_without_data_waits_and_holds_nothing_up() -> None:
    nights = {"kind": "day_obs", "nights": ["20210318-20210319"]}
    spec = survey()
    steps = tuple(
        step.model_copy(update={"group_by": type(step.group_by).model_validate(nights)})
        if step.name in {"step1", "step2a", "step2d"}
        else step
        for step in spec.steps
    )
    found = MiniatureSurvey(spec.model_copy(update={"steps": steps}))
    found.arrive(of(18))
    found.settle()
    assert pick(found, "step3/tract1").state is GroupState.DONE
    assert pick(found, "step1/night20210319").state is GroupState.WAITING
    assert not pick(found, "step1/night20210319").submissions
    found.arrive(of(19))
    found.settle()
    assert states(found) == {GroupState.DONE}
    assert found.shown_values() == after(18, 19).shown_values()


def test_what_was_withdrawn_is_left_out_of_what_was_made_from_it() -> None:
    found = after(18, 19, 20)
    found.withdraw(91)
    found.settle()
    assert states(found) == {GroupState.DONE}
    assert 91 not in {exposure for exposure, _ in found.shown["step3", "tract1"][1][1]}
    assert pick(found, "step3/tract1").generation == 2
    assert pick(found, "step3/tract2").generation in {1, 2}


def test_a_tract_of_which_all_was_withdrawn_is_shown_no_longer_and_comes_again() -> None:
    found = after(18, 24, tracts=[1, 3])
    found.withdraw(241)
    found.settle()
    tract = pick(found, "step3/tract3")
    assert (tract.state, tract.published) == (GroupState.WAITING, 2)
    assert not found.shown["step3", "tract3"]
    assert pick(found, "step3/tract1").generation == 1
    found.arrive([sky(242, 24, 3)])
    found.settle()
    assert (pick(found, "step3/tract3").published, found.used("step3", "tract3")) == (2, {242})


def test_a_new_generation_of_a_calibration_is_certified_and_makes_stale_what_used_it() -> None:
    spec = campaign(
        bps("cpBias", scope="exposure"),
        action("certify", action="certify-calibrations", arguments=CERTIFY, after=["cpBias"]),
        bps("step0", after=["certify"]),
        on_new_data="mark",
    )
    done = {
        "state": GroupState.DONE,
        "basis": Basis(exposures=frozenset({81})),
        "combines": True,
        "reason": "all done",
    }
    first = (finished(1, generation=1),)
    again = {"generation": 2, "published": 2, "submissions": (*first, finished(2, generation=2))}
    bias = group("cpBias", id=1, **done | again)
    certified = group("certify", id=2, submissions=first, **done)
    user = group("step0", id=3, submissions=first, **done)

    def change(one: GroupView, *groups: GroupView) -> Change:
        found = snapshot(*groups)
        row = replace(SKY[81], steps=frozenset({"cpBias", "step0"}))
        overlaps = replace(seen(row), basis=overlap_refresh.basis(spec, found) or "")
        new = NewData(spec=spec, snapshot=replace(found, overlaps=overlaps), arrivals=NO_ARRIVALS, now=NOW)
        return new.change(one)

    # An action is run again, whatever becomes of products that are marked.
    assert change(certified, bias, certified, user).freshness is Freshness.REDO
    recent = group("certify", id=2, **done | again | {"basis": Basis(upstream={"cpBias/all": 2})})
    assert change(recent, bias, recent, user).freshness is Freshness.CURRENT
    stale = change(user, bias, recent, user)
    assert (stale.freshness, set(stale.upstream)) == (Freshness.STALE, {"cpBias/all", "certify/all"})


def test_an_action_with_other_arguments_is_done_again_and_makes_stale_what_read_it() -> None:
    found = after(18, on_new_data="mark")
    assert pick(found, "defaults/all").generation == 1

    def edited(name: str, **arguments: object) -> CampaignSpec:
        steps = tuple(
            one.model_copy(update={"arguments": {**one.arguments, **arguments}}) if one.name == name else one
            for one in found.spec.steps
        )
        return found.spec.model_copy(update={"steps": steps})

    submissions = found.submissions
    found.spec, found.revision = edited("ingest", processes=4), 2
    found.settle()
    assert found.submissions == submissions + 1  # it looks, and nobody read anything else
    assert not [one for one in found.groups.values() if one.reason.startswith(STALE)]
    found.spec, found.revision = edited("defaults", children=["DECam/calib/new", "skymaps"]), 3
    found.settle()
    assert pick(found, "defaults/all").generation == 2
    stale = {one.step: one.reason for one in found.groups.values() if one.reason.startswith(STALE)}
    assert stale.pop("step2a") == "stale: a new generation of defaults/all"
    assert stale.pop("step2c") == "stale: reads step2a/night20210318, which is stale"
    assert stale.keys() == {"step2b", "step2d", "step3"}


def test_curated_calibrations_of_another_release_are_told_and_made_by_nobody() -> None:
    spec = campaign(
        action("curated", action="write-curated-calibrations", arguments={"instrument": "a.B"}),
        bps("step1", after=["curated"]),
    )
    old, new = (
        {"versions_sha": "a", "versions_short": "w_40"},
        {"versions_sha": "b", "versions_short": "w_44"},
    )

    def told(**of_step: str) -> str | None:
        done = {"state": GroupState.DONE, "counts": Counts(succeeded=1)}
        wrote = replace(finished(outcome=SubmissionOutcome.SUCCEEDED, **old), created_at=NOW)
        later = finished(created_at=NOW + timedelta(hours=1), **of_step)
        groups = (
            group("curated", submissions=(wrote,), basis=Basis(), **done),
            group("step1", submissions=(later,), **done),
        )
        found = NewData(spec=spec, snapshot=snapshot(*groups), arrivals=NO_ARRIVALS, now=NOW)
        move = extend_or_redo(found, groups[0])
        assert move is None or (isinstance(move, MoveGroup) and move.state is GroupState.DONE)
        return move and move.reason

    assert told(**old) is None
    assert told(**new) == (
        f"{IGNORES}what w_44 may bring, under which others ran since; `labels` bring it in"
    )


@pytest.mark.parametrize(
    ("step", "before", "after", "stale"),
    [
        ("step1", "", "detector NOT IN (31, 61)", True),
        ("step1", "detector NOT IN (31, 61)", "detector NOT IN (31)", True),
        ("step1", "exposure.day_obs < 20210319", "exposure.day_obs < 20210401 AND visit > 2", False),
        ("step1", "detector > 2 AND band = 'r'", "band IN ('r', 'detector') AND detector  > 2", False),
        ("step1", "exposure = 81 OR detector = 2", "exposure = 82 OR detector = 2", True),
        ("step3", "", "patch < 20", True),
        ("step3", "", "visit < 970000", True),
    ],
)
def test_an_edited_query_makes_stale_what_exposures_do_not_tell(
    step: str, before: str, after: str, *, stale: bool
) -> None:
    def asking(where: str) -> CampaignSpec:
        spec = survey(on_new_data="mark")
        steps = tuple(
            one.model_copy(update={"where": where}) if one.name == step else one for one in spec.steps
        )
        return spec.model_copy(update={"steps": steps})

    found = MiniatureSurvey(asking(before))
    found.arrive(of(18))
    found.settle()
    found.spec, found.revision = asking(after), 2
    found.settle()
    (one,) = (group for group in found.groups.values() if group.step == step)
    assert one.reason.startswith("stale: an edited data query") is stale
    others = {group.state for group in found.groups.values()}
    assert others == {GroupState.DONE}


def test_who_leaves_out_what_fails_goes_on_with_what_is_there() -> None:
    spec = campaign(bps("step1", where="detector <> 2"), on_new_data="redo")
    row = replace(SKY[81], steps=frozenset({"step1"}))
    made = group(
        submissions=(finished(1, generation=1),),
        basis=Basis(exposures=frozenset({81}), terms="another"),
        combines=False,
        gathers=False,
        counts=Counts(succeeded=60, failed=1),
    )

    def becomes(state: GroupState) -> object:
        one = replace(made, state=state)
        found = with_overlaps(spec, snapshot(one), row)
        return extend_or_redo(NewData(spec=spec, snapshot=found, arrivals=NO_ARRIVALS, now=NOW), one)

    assert becomes(GroupState.WAITING) is None
    assert becomes(GroupState.NEEDS_REVIEW) is None
    done = becomes(GroupState.DONE)
    assert isinstance(done, Again)
    assert done.redo


def test_exposures_are_cut_in_order_of_arrival_and_never_again() -> None:
    spec = survey()
    rule = Chunks.model_validate({"kind": "exposure", "ids": {"discover": True, "last": 20210321}, "size": 2})
    steps = (one.model_copy(update={"group_by": rule}) if one.name == "step1" else one for one in spec.steps)
    found = MiniatureSurvey(spec.model_copy(update={"steps": tuple(steps)}))
    found.arrive([SKY[201], SKY[202], SKY[211]])
    found.settle()
    first = {(201, 202), (211,)}
    assert {one.selection.values for one in found.groups.values() if one.step == "step1"} == first
    found.arrive([SKY[81], SKY[91], SKY[241]])  # earlier ids that come later, and a night that is not meant
    found.settle()
    chosen = {one.selection.values for one in found.groups.values() if one.step == "step1"}
    assert chosen == {*first, (81, 91)}
    assert {one.state for one in found.groups.values() if one.step in {"step1", "step3"}} == {GroupState.DONE}
    assert pick(found, "step3/tract1").generation == 2


# -- policies ------------------------------------------------------------------------------------------


def test_marked_it_stays_done_and_says_what_it_lacks() -> None:
    found = after(18, on_new_data="mark")
    before = found.shown["step3", "tract1"]
    found.arrive(of(19))
    found.settle()
    tract = pick(found, "step2b/tract1")
    assert (tract.state, tract.generation) == (GroupState.DONE, 1)
    assert tract.reason == "stale: 1 new exposure; made from 1 of 2 exposures"
    assert found.shown["step3", "tract1"] == before
    assert pick(found, "step2a/night20210319").state is GroupState.DONE
    held = pick(found, "step2d/night20210319")
    why = reasons(found.spec, found._snapshot(), now=NOW)[held.id]
    assert held.state is GroupState.WAITING
    assert "step2b/tract1 (done, but for 1 new exposure" in why


def test_ignored_nothing_of_it_changes() -> None:
    found = after(18, on_new_data="ignore")
    found.arrive(of(19))
    found.settle()
    assert pick(found, "step3/tract1").generation == 1
    assert pick(found, "step2b/tract1").reason == "ignores 1 new exposure; made from 1 of 2 exposures"


@pytest.mark.parametrize(
    ("policy", "when"),
    [
        ({"min_visits": 2}, "once 2 exposures have changed"),
        ({"min_nights": 2}, "once those of 2 nights have changed"),
        ({"min_fraction": 0.6}, "once 60% of all have changed"),
        ({"min_fraction": 0.5}, ""),
        ({"not_before": date(2030, 1, 1)}, "not before 2030-01-01"),
        ({"not_before": date(2020, 1, 1)}, ""),
    ],
)
def test_thresholds_hold_a_redo_back_and_say_until_when(policy: dict[str, object], when: str) -> None:
    found = after(18, on_new_data={"action": "redo", **policy})
    found.arrive(of(19))
    found.settle()
    tract = pick(found, "step2b/tract1")
    assert (tract.generation == 2) is not bool(when)
    assert tract.reason.endswith(f"; made anew {when}" if when else " succeeded")


def test_what_was_withdrawn_of_one_night_is_one_night() -> None:
    found = MiniatureSurvey(survey(on_new_data={"action": "redo", "min_nights": 2}))
    found.arrive([*of(18), sky(82, 18, 1), sky(83, 18, 1), *of(19)])
    found.settle()
    found.withdraw(82)
    found.withdraw(83)
    found.settle()
    tract = pick(found, "step2b/tract1")
    assert (tract.generation, tract.reason) == (
        1,
        "stale: 2 withdrawn exposures; made anew once those of 2 nights have changed",
    )
    found.withdraw(91)
    found.settle()
    assert pick(found, "step2b/tract1").generation == 2


@pytest.mark.parametrize("require", ["within_budget", "complete"])
def test_a_file_that_cannot_be_read_holds_up_nothing_else_unless_all_is_asked_for(require: str) -> None:
    spec = survey()
    gate = {"step": "ingest", "require": require}
    steps = (
        one.model_copy(update={"after": (After.model_validate(gate),)}) if one.name == "step1" else one
        for one in spec.steps
    )
    found = MiniatureSurvey(spec.model_copy(update={"steps": tuple(steps)}), broken={91})
    found.arrive(of(18, 19))
    found.settle()
    assert pick(found, "ingest/all").state is GroupState.NEEDS_REVIEW
    if require == "complete":
        assert pick(found, "step1/night20210318").state is GroupState.BLOCKED
        return
    assert found.used("step3", "tract1") == {81}
    submissions = found.submissions
    found.settle()
    assert found.submissions == submissions  # it is not tried again and again
    found.broken.clear()
    found.arrive(of(24))  # with what is new, what failed is tried again
    found.settle()
    assert states(found) == {GroupState.DONE}
    assert found.used("step3", "tract1") == {81, 91}


# -- complete nights -----------------------------------------------------------------------------------

NIGHT = 20210318


@pytest.mark.parametrize(
    ("rule", "now", "complete"),
    [
        ({"after": "12:00"}, datetime(2021, 3, 19, 11, 59, tzinfo=UTC), False),
        ({"after": "12:00"}, datetime(2021, 3, 19, 12, 0, tzinfo=UTC), True),
        ({"quiet_hours": 2}, NOW + timedelta(hours=1), False),
        ({"quiet_hours": 2}, NOW + timedelta(hours=2), True),
        ({"marker": "/raw/{night}.done"}, NOW, False),
    ],
)
def test_a_night_is_complete_by_the_campaigns_rule(
    rule: dict[str, object], now: datetime, complete: bool
) -> None:
    row = SkyExposure(exposure=1, day_obs=NIGHT, seen_at=NOW)
    given = NightComplete.model_validate(rule)
    assert night_is_complete(given, NIGHT, [row], marked=False, now=now) is complete
    if "marker" in rule:
        assert night_is_complete(given, NIGHT, [row], marked=True, now=now)


def test_raws_that_come_late_of_exposures_that_it_has_begin_the_quiet_hours_anew() -> None:
    row = SkyExposure(exposure=1, day_obs=NIGHT, seen_at=NOW, raws_at=NOW + timedelta(hours=3))
    given = NightComplete.model_validate({"quiet_hours": 2})
    for hours, complete in ((4, False), (5, True)):
        now = NOW + timedelta(hours=hours)
        assert night_is_complete(given, NIGHT, [row], marked=False, now=now) is complete


def test_raws_that_come_late_wait_for_their_night() -> None:
    found = MiniatureSurvey(survey(night_complete={"quiet_hours": 1}))
    found.arrive([replace(SKY[81], raws=1), SKY[91]])
    found.settle()
    found.ticks += 61
    found.settle()
    found.arrive([SKY[81]])
    found.settle()
    assert states(found) == {GroupState.DONE}
    assert pick(found, "step2a/night20210318").generation == 1
    found.ticks += 61
    found.settle()
    assert pick(found, "step2a/night20210318").generation == 2
    assert pick(found, "step2a/night20210319").generation == 1


def test_half_a_night_is_not_reduced() -> None:
    found = MiniatureSurvey(survey(night_complete={"quiet_hours": 1}))
    found.arrive(of(18))
    found.settle()
    assert not [one for one in found.groups.values() if one.step == "step1" and one.submissions]
    found.ticks += 61
    found.settle()
    assert pick(found, "step1/night20210318").state is GroupState.DONE


def test_what_comes_late_waits_for_its_night_and_withdraws_nothing() -> None:
    found = MiniatureSurvey(survey(night_complete={"quiet_hours": 1}))
    found.arrive(of(18, 19))
    found.settle()
    found.ticks += 61
    found.settle()
    assert found.used("step3", "tract1") == {81, 91}
    found.arrive([sky(82, 18, 1)])
    found.settle()
    assert states(found) == {GroupState.DONE}
    assert (pick(found, "step3/tract1").generation, found.used("step3", "tract1")) == (1, {81, 91})
    found.ticks += 61
    found.settle()
    assert (pick(found, "step3/tract1").generation, found.used("step3", "tract1")) == (2, {81, 82, 91})


# -- the equality --------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.sets(st.sampled_from(sorted(SKY)), min_size=1)),
        st.tuples(st.just("ticks"), st.integers(1, 12)),
        st.tuples(st.just("fail"), st.just(1)),
        st.tuples(st.just("withdraw"), st.sampled_from(sorted(SKY))),
        st.tuples(st.just("half"), st.sampled_from(sorted(SKY))),
    ),
    max_size=12,
)


def happen(found: MiniatureSurvey, event: tuple[str, object]) -> None:
    match event:
        case "arrive", exposures:
            found.arrive(SKY[exposure] for exposure in exposures)
        case "half", exposure:
            if exposure not in found.archive:
                found.arrive([replace(SKY[exposure], raws=1)])
        case "ticks", number:
            for _ in range(number):
                found.tick()
        case "fail", _:
            found.failing = 1
        case "withdraw", exposure:
            found.withdraw(exposure)


def assert_nothing_is_shown_done_that_lacks_data(found: MiniatureSurvey) -> None:
    """Of what was seen at the last look: what is done is made from it, or says that it is not."""
    before = dict(found.groups)
    found.tick()  # one pass; what it is done with now, the next one goes on with
    if found.overlaps is None:
        return
    good = {
        row.exposure: row
        for row in found.overlaps.exposures
        if row.tracts is not None and row.exposure not in found.spec.bad_exposures
    }
    for (step, key), one in found.groups.items():
        was = before.get((step, key), one)
        if not step.startswith("step") or {one.state, was.state} != {GroupState.DONE}:
            continue
        if one.published != one.generation or one.reason.startswith((STALE, IGNORES)):
            continue
        by, values = one.selection.dimension, one.selection.values
        wanted = {
            exposure
            for exposure, row in good.items()
            if not by or (row.day_obs in values if by == "day_obs" else set(row.tracts or ()) & set(values))
        }
        assert wanted <= found.used(step, key), (step, key, one.reason)
        if step == "step2d":  # of its tracts too
            overlapping = {tract for exposure in wanted for tract in good[exposure].tracts or ()}
            there = {tract for tract in overlapping if ("step2b", f"tract{tract}") in before}
            assert there <= found.tracts_used(key), (key, one.reason)


POLICIES = st.sampled_from(
    ["redo", "mark", "ignore", {"action": "redo", "min_visits": 2}, {"action": "redo", "min_fraction": 0.6}]
)


@given(EVENTS, POLICIES, st.sampled_from([1, 2]))
@settings(max_examples=15)
def test_nothing_is_shown_done_that_lacks_data_whatever_the_policy(
    events: list[tuple[str, object]], policy: object, least: int
) -> None:
    tracts = {"discover": True, "min_visits": least}
    found = MiniatureSurvey(survey(on_new_data=policy, tracts=tracts))
    for event in [*events, ("arrive", set(SKY))]:
        happen(found, event)
        assert_nothing_is_shown_done_that_lacks_data(found)
    found.retry()
    assert_nothing_is_shown_done_that_lacks_data(found)


@given(EVENTS)
@settings(max_examples=8)
def test_marked_exactly_what_is_stale_differs(events: list[tuple[str, object]]) -> None:
    found = MiniatureSurvey(survey(on_new_data="mark"))
    for event in [*events, ("arrive", set(SKY))]:
        happen(found, event)
    found.retry()
    whole = MiniatureSurvey(survey(bad_exposures=list(found.spec.bad_exposures)))
    whole.arrive(SKY.values())
    whole.settle()
    bad = set(found.spec.bad_exposures)
    for name, one in found.groups.items():
        if name[0].startswith("step") and one.state is GroupState.DONE:
            own = {
                key: value
                for key, value in found.shown[name].items()
                if name[0] not in NIGHTLY or (key[0] if name[0] == "step1" else key) not in bad
            }
            assert (own != whole.shown.get(name, {})) == one.reason.startswith(STALE), (name, one.reason)
    stale = [name for name, one in found.groups.items() if one.reason.startswith(STALE)]
    found.redo(stale)  # all of it at once
    assert {one.state for one in found.groups.values()} <= {GroupState.DONE, GroupState.WAITING}
    assert not [one for one in found.groups.values() if one.reason.startswith(STALE)]


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


@given(EVENTS, st.sampled_from([1, 2]))
@settings(max_examples=25)
def test_whenever_data_come_the_campaign_ends_as_if_all_had_been_there(
    events: list[tuple[str, object]], least: int
) -> None:
    tracts = {"discover": True, "min_visits": least}
    found = MiniatureSurvey(survey(tracts=tracts))
    for event in events:
        happen(found, event)
        assert_nothing_is_shown_done_that_lacks_data(found)
    found.arrive(SKY.values())
    found.retry()
    whole = MiniatureSurvey(survey(bad_exposures=list(found.spec.bad_exposures), tracts=tracts))
    whole.arrive(SKY.values())
    whole.settle()
    good = {row.exposure for row in SKY.values()} - set(found.spec.bad_exposures)
    # What was made of a withdrawn exposure by itself stays; nothing that is made of several has it.
    kept = {
        key: value
        for key, value in found.shown_values().items()
        if key[0] not in NIGHTLY or (key[1][0] if key[0] == "step1" else key[1]) in good
    }
    assert kept == whole.shown_values()


NIGHTLY = {"step1", "step2a", "step2d"}


def test_more_raws_of_exposures_that_it_has_extend_a_night_too() -> None:
    found = MiniatureSurvey(survey())
    found.arrive([replace(SKY[81], raws=60)])
    found.settle()
    found.registry[81] = replace(found.registry[81], raws=62)
    found.revision += 1  # another look
    found.settle()
    assert len(pick(found, "step1/night20210318").submissions) == 2
    assert pick(found, "step3/tract1").generation == 2


def test_more_raws_of_an_exposure_make_anew_what_gathers_its_detectors() -> None:
    found = MiniatureSurvey(survey())
    found.arrive([replace(SKY[81], raws=1), SKY[91]])
    found.settle()
    # Another exposure of the night comes with them: it does not hide them.
    found.arrive([SKY[81], replace(sky(82, 18, 1), raws=2)])
    found.settle()
    assert pick(found, "step1/night20210318").generation == 1
    assert pick(found, "step2a/night20210318").generation == 2
    assert pick(found, "step2a/night20210319").generation == 1
    whole = MiniatureSurvey(survey())
    whole.arrive([SKY[81], replace(sky(82, 18, 1), raws=2), SKY[91]])
    whole.settle()
    assert found.shown_values() == whole.shown_values()


def test_a_night_that_waits_for_its_visits_is_no_night_yet() -> None:
    spec = survey()
    step = spec.step("step1")
    row = replace(SKY[81], steps=frozenset({"step1"}))
    assert nights_of(spec, step, seen(row)) == (20210318,)
    assert nights_of(spec, step, seen(replace(row, visits=(), tracts=None))) == ()
