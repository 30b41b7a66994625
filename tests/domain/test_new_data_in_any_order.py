"""Whatever comes in whatever order: nothing is shown done that lacks data, and the end is the same."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from new_data_help import SKY, MiniatureSurvey, survey

from merian_campaign.domain.record.board_row import IGNORES, STALE
from merian_campaign.domain.states import GroupState

NIGHTLY = {"step1", "step2a", "step2d"}

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
