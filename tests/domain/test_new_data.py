"""A group is done for the data that it was made from: what comes later is added, makes it stale, or anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from domain_help import NOW, action, bps, campaign, finished, group, seen, sky, snapshot, with_overlaps
from new_data_help import SKY, MiniatureSurvey, after, of, pick, states, survey

from merian_campaign.domain.campaign.plan import reasons
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.readiness import overlap_refresh
from merian_campaign.domain.readiness.complete_nights import NO_ARRIVALS
from merian_campaign.domain.readiness.data_change import Change, Freshness
from merian_campaign.domain.readiness.new_data import NewData
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.board_row import IGNORES, STALE
from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.spec.grouping import Chunks
from merian_campaign.domain.spec.steps import After
from merian_campaign.domain.states import GroupState, SubmissionOutcome
from merian_campaign.domain.tick.decisions import Again, MoveGroup
from merian_campaign.domain.tick.extend_or_redo import extend_or_redo

CERTIFY = {
    "input": "DECam/calib/bias",
    "output": "DECam/calib/night",
    "dataset_type": "bias",
    "begin": "2021-01-01T00:00:00",
    "end": "2022-01-01T00:00:00",
}


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
