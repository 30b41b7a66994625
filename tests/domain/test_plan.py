"""Groups of a file against groups that exist, and what each waits for."""

import pytest
from domain_help import action, bps, by_tract, campaign, finished, group, readiness, snapshot

from merian_campaign.domain.campaign.plan import plan_groups
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.states import GroupState

SPEC = campaign(
    bps("step1"),
    bps("step2a", after=["step1"]),
    by_tract("step2b", "step2b", after=["step2a"]),
    bps("step2d", after=["step2b"]),
    by_tract("step3", "step3", after=["step2d", "step2b"]),
)
TAIL = campaign(by_tract("step2b", "step2b"), by_tract("step3", "step3", after=["step2b"]), skymap="rings")
DONE, REVIEW = GroupState.DONE, GroupState.NEEDS_REVIEW


def test_groups_come_in_the_order_of_the_steps() -> None:
    wanted = plan_groups(SPEC).wanted
    assert [(entry.ordinal, entry.step, entry.key) for entry in wanted] == [
        (0, "step1", "all"),
        (1, "step2a", "all"),
        (2, "step2b", "tract9813"),
        (2, "step2b", "tract9814"),
        (3, "step2d", "all"),
        (4, "step3", "tract9813"),
        (4, "step3", "tract9814"),
    ]


def test_an_action_is_one_group() -> None:
    assert [entry.key for entry in plan_groups(campaign(action())).wanted] == ["all"]


def test_groups_that_a_file_no_longer_has_are_dropped_unless_they_ran() -> None:
    ran = group("step3", tract=1, submissions=(finished(),))
    never = group("step3", tract=2)
    kept = group("step3", tract=9813, submissions=(finished(),))
    step_gone = group("step9", "all", submissions=(finished(),))
    plan = plan_groups(TAIL, existing=(ran, never, kept, step_gone))
    assert plan.dropped == (never,)
    assert plan.orphaned == (ran, step_gone)
    assert ("step3", "tract9813") in {(entry.step, entry.key) for entry in plan.wanted}


@pytest.mark.parametrize(
    ("state", "expected", "words"),
    [
        (GroupState.WAITING, GroupState.WAITING, "waits for step1/all (waiting)"),
        (GroupState.READY, GroupState.WAITING, "waits for step1/all (ready)"),
        (GroupState.RUNNING, GroupState.WAITING, "waits for step1/all (running)"),
        (GroupState.DONE, GroupState.READY, "all it needs is done"),
        (GroupState.NEEDS_REVIEW, GroupState.BLOCKED, "needs step1/all (needs_review)"),
        (GroupState.BLOCKED, GroupState.BLOCKED, "needs step1/all (blocked)"),
        (GroupState.CANCELLED, GroupState.BLOCKED, "needs step1/all (cancelled)"),
    ],
)
def test_a_group_waits_for_the_one_before_it(state: GroupState, expected: GroupState, words: str) -> None:
    after = group("step2a", state=GroupState.WAITING)
    found = readiness(SPEC, snapshot(group("step1", state=state), after), after)
    assert (found.state, found.reason) == (expected, words)


def test_a_step_without_gates_is_ready() -> None:
    first = group("step1", state=GroupState.WAITING)
    assert readiness(SPEC, snapshot(first), first).state is GroupState.READY


def test_each_tract_waits_for_its_own_tract() -> None:
    fine = group("step2b", tract=9813, state=DONE)
    stuck = group("step2b", tract=9814, state=REVIEW)
    first = group("step3", tract=9813, state=GroupState.WAITING)
    second = group("step3", tract=9814, state=GroupState.WAITING)
    everything = snapshot(fine, stuck, first, second)
    assert readiness(TAIL, everything, first).state is GroupState.READY
    found = readiness(TAIL, everything, second)
    assert (found.state, found.reason) == (GroupState.BLOCKED, "needs step2b/tract9814 (needs_review)")


def test_a_gate_on_all_groups_waits_for_every_tract() -> None:
    spec = campaign(
        by_tract("step2b", "step2b"), by_tract("step3", after=[{"step": "step2b", "match": "all"}])
    )
    fine = group("step2b", tract=9813, state=DONE)
    going = group("step2b", tract=9814, state=GroupState.RUNNING)
    first = group("step3", tract=9813, state=GroupState.WAITING)
    assert readiness(spec, snapshot(fine, going, first), first).state is GroupState.WAITING


def test_a_step_over_everything_waits_for_every_tract() -> None:
    fine = group("step2b", tract=9813, state=DONE)
    stuck = group("step2b", tract=9814, state=REVIEW)
    after = group("step2d", state=GroupState.WAITING)
    assert readiness(SPEC, snapshot(fine, stuck, after), after).state is GroupState.BLOCKED


def test_a_tract_that_the_step_before_does_not_have_waits_for_all_of_it() -> None:
    spec = campaign(
        bps("step2b", group_by={"kind": "tract", "tracts": [9813]}), by_tract("step3", after=["step2b"])
    )
    other = group("step2b", tract=9813, state=GroupState.RUNNING)
    lonely = group("step3", tract=9814, state=GroupState.WAITING)
    assert readiness(spec, snapshot(other, lonely), lonely).state is GroupState.WAITING


def test_lists_of_tracts_wait_for_the_tracts_they_share() -> None:
    lists = {"kind": "lists", "dimension": "tract", "lists": {"south": [9813], "north": [9814]}}
    spec = campaign(by_tract("step2b", "step2b"), bps("step3", group_by=lists, after=["step2b"]))
    (south, north) = (entry for entry in plan_groups(spec).wanted if entry.step == "step3")
    before = (group("step2b", tract=9813, state=DONE), group("step2b", tract=9814, state=GroupState.RUNNING))
    waiting = [group("step3", entry.key, selection=entry.selection) for entry in (south, north)]
    found = [readiness(spec, snapshot(*before, *waiting), entry).state for entry in waiting]
    assert found == [GroupState.READY, GroupState.WAITING]


@pytest.mark.parametrize(
    ("counts", "accepted", "require", "expected"),
    [
        (Counts(succeeded=10), False, "complete", GroupState.READY),
        (Counts(succeeded=9, failed=1), False, "within_budget", GroupState.READY),
        (Counts(succeeded=9, failed=1), False, "complete", GroupState.BLOCKED),
        (Counts(succeeded=9, failed=1), True, "complete", GroupState.READY),
        (Counts(), False, "complete", GroupState.READY),
    ],
)
def test_a_gate_may_ask_for_every_quantum(
    counts: Counts, accepted: bool, require: str, expected: GroupState
) -> None:
    spec = campaign(bps("step1"), bps("step2a", after=[{"step": "step1", "require": require}]))
    before = group("step1", state=DONE, counts=counts, accepted=accepted)
    after = group("step2a", state=GroupState.WAITING)
    found = readiness(spec, snapshot(before, after), after)
    assert found.state is expected
    if expected is GroupState.BLOCKED:
        assert found.reason == "needs step1/all is done with 1 quanta lost, and the gate asks for all"


def test_long_lists_of_groups_are_shortened() -> None:
    tracts = [group("step2b", tract=tract, state=GroupState.RUNNING) for tract in range(9813, 9819)]
    after = group("step2d", state=GroupState.WAITING)
    found = readiness(SPEC, snapshot(*tracts, after), after)
    assert found.reason.startswith("waits for step2b/tract9813 (running), ")
    assert found.reason.endswith(" and 3 more")


def test_blocked_beats_waiting() -> None:
    before = (
        group("step2b", tract=9813, state=GroupState.RUNNING),
        group("step2b", tract=9814, state=REVIEW),
    )
    after = group("step2d", state=GroupState.WAITING)
    assert readiness(SPEC, snapshot(*before, after), after).state is GroupState.BLOCKED


def test_a_group_of_a_step_that_the_file_no_longer_has_waits_for_nothing() -> None:
    gone = group("step9", state=GroupState.WAITING)
    assert readiness(SPEC, snapshot(gone), gone).state is GroupState.READY
