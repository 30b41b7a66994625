"""What a tick does, from what is known."""

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
    open_quanta,
    situation,
    snapshot,
    submission,
)

from merian_campaign.domain.clock_skew import LEASE
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.execution.liveness import Liveness
from merian_campaign.domain.execution.quanta import OpenQuanta
from merian_campaign.domain.failures.backoff import next_try, successions
from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.readiness.unseen_terms import digest_of_arguments
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.snapshot import GroupView, Remedy, SubmissionView
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.states import (
    CampaignState,
    GroupState,
    QuantumState,
    SubmissionOutcome,
    SubmissionState,
    Verdict,
)
from merian_campaign.domain.tick.decide import MAX_EPOCHS, decide
from merian_campaign.domain.tick.decisions import (
    LAUNCH_GRACE,
    Follow,
    GiveUp,
    Harvest,
    Launch,
    MoveGroup,
    Publish,
    Submit,
)
from merian_campaign.domain.tick.group_outcome import group_outcome

SPEC = campaign(bps("step1"), bps("step2a", after=["step1"]), limits={"submissions": 1})
TRACTS = campaign(by_tract(), tracts=["1-5"], limits={"submissions": 2})
NO_QUANTA = Counts()
Outcome = SubmissionOutcome
RUNNING = SubmissionState.RUNNING


def only(decisions: tuple[object, ...]) -> object:
    assert len(decisions) == 1
    return decisions[0]


def ready(step: str = "step1", **changes: object) -> GroupView:
    return group(step, state=GroupState.READY, **changes)


# -- what may start ------------------------------------------------------------------------------------


def test_nothing_to_do() -> None:
    everything = snapshot(group("step1", state=GroupState.DONE), group("step2a", state=GroupState.DONE))
    assert decide(SPEC, everything, situation()) == ()


def test_a_released_group_becomes_ready_and_then_is_submitted() -> None:
    waiting = group("step1", state=GroupState.WAITING)
    move = only(decide(SPEC, snapshot(waiting), situation()))
    assert move == MoveGroup(group=waiting, state=GroupState.READY, reason="all it needs is done")
    now_ready = ready()
    submit = only(decide(SPEC, snapshot(now_ready), situation()))
    assert submit == Submit(group=now_ready, number=1, remedy=Remedy(), reason="all it needs is done")


def test_a_group_whose_needs_are_gone_waits_again() -> None:
    before = group("step1", state=GroupState.READY, submissions=(finished(),))
    after = ready("step2a")
    decisions = decide(SPEC, snapshot(before, after), situation())
    assert [(d.group.step, d.state) for d in decisions if isinstance(d, MoveGroup)] == [
        ("step2a", GroupState.WAITING)
    ]


def test_a_ready_group_behind_a_stuck_one_waits_first() -> None:
    # From READY there is no move to BLOCKED; the next pass blocks it.
    before = group("step1", state=GroupState.NEEDS_REVIEW)
    move = only(decide(SPEC, snapshot(before, ready("step2a")), situation()))
    assert isinstance(move, MoveGroup)
    assert move.state is GroupState.WAITING
    waiting = group("step2a", state=GroupState.WAITING)
    move = only(decide(SPEC, snapshot(before, waiting), situation()))
    assert isinstance(move, MoveGroup)
    assert move.state is GroupState.BLOCKED
    blocked = group("step2a", state=GroupState.BLOCKED)
    assert decide(SPEC, snapshot(before, blocked), situation()) == ()


@pytest.mark.parametrize(("live", "room"), [(0, 2), (1, 1), (2, 0), (3, 0)])
def test_no_more_submissions_at_once_than_the_campaign_allows(live: int, room: int) -> None:
    running = [
        group("step3", tract=t, submissions=(submission(id=t, state=RUNNING),)) for t in range(1, live + 1)
    ]
    others = [group("step3", tract=t, state=GroupState.READY) for t in range(live + 1, 6)]
    drivers = dict.fromkeys(range(1, live + 1), Liveness.ALIVE)
    decisions = decide(TRACTS, snapshot(*running, *others), situation(drivers))
    assert [d.group.tract for d in decisions if isinstance(d, Submit)] == [g.tract for g in others[:room]]
    assert sum(isinstance(d, Follow) for d in decisions) == live
    assert all(isinstance(d, Follow) for d in decisions[:live])


@pytest.mark.parametrize("state", [CampaignState.PAUSED, CampaignState.CANCELLED])
def test_nothing_starts_in_a_paused_or_cancelled_campaign(state: CampaignState) -> None:
    assert decide(SPEC, snapshot(ready(), state=state), situation()) == ()


def test_a_paused_campaign_still_follows_judges_and_releases() -> None:
    live = group("step3", tract=1, submissions=(submission(id=1, state=RUNNING),))
    over = group("step3", tract=2, submissions=(finished(),), counts=Counts(succeeded=2))
    waiting = group("step3", tract=3, state=GroupState.WAITING)
    found = decide(
        TRACTS,
        snapshot(live, over, waiting, state=CampaignState.PAUSED),
        situation({1: Liveness.ALIVE}),
    )
    assert [type(d) for d in found] == [Follow, MoveGroup, MoveGroup]
    assert [d.state for d in found if isinstance(d, MoveGroup)] == [GroupState.DONE, GroupState.READY]


def test_a_cancelled_campaign_only_finishes_what_ran() -> None:
    live = group("step3", tract=1, submissions=(submission(id=1, state=RUNNING),))
    over = group("step3", tract=2, submissions=(finished(outcome=Outcome.CANCELLED),))
    waiting = group("step3", tract=3, state=GroupState.WAITING)
    found = decide(
        TRACTS,
        snapshot(live, over, waiting, state=CampaignState.CANCELLED),
        situation({1: Liveness.ENDED}),
    )
    assert [type(d) for d in found] == [Harvest, MoveGroup]
    assert [d.state for d in found if isinstance(d, MoveGroup)] == [GroupState.CANCELLED]


def test_an_afterburner_carries_its_remedy_and_says_so() -> None:
    entry = open_quanta(Verdict.OUT_OF_MEMORY, memory=1)
    again = ready(
        submissions=(finished(1),),
        open_quanta=(entry,),
        counts=Counts(succeeded=3, failed=1),
        reason="afterburner: calibrate: out of memory x1",
    )
    found = only(decide(SPEC, snapshot(again), situation()))
    assert found == Submit(
        group=again,
        number=2,
        remedy=Remedy(memory_mb=(("calibrate", 4096),), workers=4),
        reason="afterburner: calibrate: out of memory x1; calibrate gets 4096 MB, 4 workers a node",
    )


def test_an_action_is_submitted_again_without_a_remedy() -> None:
    spec = campaign(action("chain"))
    again = group("chain", state=GroupState.READY, submissions=(finished(2),), reason="try again: x")
    found = only(decide(spec, snapshot(again), situation()))
    basis = Basis(terms=digest_of_arguments(spec.step("chain")))
    assert found == Submit(group=again, number=3, remedy=Remedy(), reason="try again: x", basis=basis)


@pytest.mark.parametrize("state", list(GroupState))
def test_groups_of_a_step_that_the_file_no_longer_has_are_left_alone(state: GroupState) -> None:
    gone = group("step9", state=state, submissions=(finished(),))
    assert decide(SPEC, snapshot(gone), situation()) == ()


# -- drivers -------------------------------------------------------------------------------------------


def live(entry: SubmissionView, liveness: Liveness) -> tuple[object, ...]:
    return decide(SPEC, snapshot(group("step1", submissions=(entry,))), situation({entry.id: liveness}))


def test_a_tract_that_the_file_no_longer_has_is_taken_out_of_its_chain_and_not_waited_for() -> None:
    spec = campaign(
        by_tract("step2b", "step2b"),
        bps("step2d", after=["step2b"]),
        tracts=[9813],
        limits={"submissions": 1},
    )
    done = group("step2b", tract=9813, state=GroupState.DONE)
    gone = group("step2b", tract=9814, state=GroupState.NEEDS_REVIEW, submissions=(finished(),))
    waiting = group("step2d", state=GroupState.WAITING)
    publish, decision = decide(spec, snapshot(done, gone, waiting), situation())
    assert publish == Publish(group=gone, none=True)
    assert isinstance(decision, MoveGroup)
    assert (decision.group.step, decision.state) == ("step2d", GroupState.READY)
    shown = replace(gone, published=0)
    assert only(decide(spec, snapshot(done, shown, waiting), situation())) == decision
    stopped = decide(spec, snapshot(done, gone, waiting, state=CampaignState.PAUSED), situation())
    assert stopped == (decision,)


def test_a_driver_that_ended_is_harvested() -> None:
    for state in (RUNNING, SubmissionState.PREPARED):
        assert isinstance(only(live(submission(state=state, epoch=MAX_EPOCHS), Liveness.ENDED)), Harvest)


def test_a_living_driver_is_followed() -> None:
    assert isinstance(only(live(submission(state=RUNNING, epoch=MAX_EPOCHS), Liveness.ALIVE)), Follow)


@pytest.mark.parametrize(
    ("launched", "starts"),
    [
        (None, True),
        (timedelta(0), False),
        (LAUNCH_GRACE - timedelta(seconds=1), False),
        (LAUNCH_GRACE, True),
        (timedelta(hours=1), True),
    ],
)
def test_an_unclaimed_submission_gets_a_driver_after_a_while(
    launched: timedelta | None, starts: bool
) -> None:
    entry = submission(launched_at=None if launched is None else NOW - launched)
    found = live(entry, Liveness.UNCLAIMED)
    assert [type(d) for d in found] == ([Launch] if starts else [])


def test_a_dead_driver_is_succeeded_at_once() -> None:
    entry = submission(state=RUNNING, epoch=1)
    found = only(live(entry, Liveness.DEAD))
    assert isinstance(found, Launch)
    assert found.reason == "its driver died; another one takes over"


@pytest.mark.parametrize(("launched", "starts"), [(timedelta(0), False), (LAUNCH_GRACE, True)])
def test_one_successor_is_started_not_one_a_pass(launched: timedelta, *, starts: bool) -> None:
    entry = submission(state=RUNNING, epoch=1, launched_at=NOW - launched)
    assert [type(d) for d in live(entry, Liveness.DEAD)] == ([Launch] if starts else [])


def test_of_what_has_no_driver_it_is_said_when_the_next_one_comes() -> None:
    # The third died just now: the next one half a minute later.
    entry = submission(state=RUNNING, epoch=3, lease_expires_at=NOW + LEASE)
    assert live(entry, Liveness.DEAD) == ()
    waiting = group("step1", submissions=(entry,))
    whole = snapshot(waiting)
    words = f"3 drivers died on it; the next one at {NOW + timedelta(seconds=30):%H:%M} UTC"
    assert successions(whole, decided=(), now=NOW) == {waiting.id: words}
    assert successions(whole, decided=(waiting.id,), now=NOW) == {}, "what has a living one is followed"
    assert successions(whole, decided=(), now=NOW + timedelta(minutes=1)) == {}


@pytest.mark.parametrize("state", [RUNNING, SubmissionState.PREPARED])
def test_a_submission_that_uses_up_its_drivers_is_given_up(state: SubmissionState) -> None:
    before = submission(state=state, epoch=MAX_EPOCHS - 1)
    assert isinstance(only(live(before, Liveness.DEAD)), Launch)
    found = only(live(submission(state=state, epoch=MAX_EPOCHS), Liveness.DEAD))
    assert isinstance(found, GiveUp)
    assert found.reason == "9 drivers died on it"


def test_a_group_with_a_live_submission_is_not_judged() -> None:
    entry = group(
        submissions=(finished(1), submission(2, state=RUNNING)),
        counts=Counts(succeeded=4),
    )
    assert isinstance(only(decide(SPEC, snapshot(entry), situation({102: Liveness.ALIVE}))), Follow)


# -- judging a finished submission ---------------------------------------------------------------------


def verdict(
    *submissions: SubmissionView,
    counts: Counts = NO_QUANTA,
    open_quanta: tuple[OpenQuanta, ...] = (),
    spec: CampaignSpec = SPEC,
    step: str = "step1",
    attempts_from: int = 0,
) -> tuple[GroupState, str]:
    entry = group(
        step, submissions=submissions, counts=counts, open_quanta=open_quanta, attempts_from=attempts_from
    )
    move = group_outcome(spec, entry, situation())
    assert only(decide(spec, snapshot(entry), situation())) == move
    return move.state, move.reason


def test_all_succeeded() -> None:
    found = verdict(finished(outcome=Outcome.SUCCEEDED), counts=Counts(succeeded=7))
    assert found == (GroupState.DONE, "all 7 quanta succeeded")


def test_cancelled() -> None:
    found = verdict(finished(outcome=Outcome.CANCELLED), counts=Counts(succeeded=7))
    assert found == (GroupState.CANCELLED, "its submission was cancelled")


@pytest.mark.parametrize(
    ("if_empty", "state"),
    [("done", GroupState.DONE), ("needs_review", GroupState.NEEDS_REVIEW), (None, GroupState.DONE)],
)
def test_the_very_first_graph_is_empty(if_empty: str | None, state: GroupState) -> None:
    spec = campaign(bps("step1", if_empty=if_empty))
    found = verdict(finished(outcome=Outcome.EMPTY, reason="the graph is empty"), spec=spec)
    assert found == (state, "nothing to do: the graph is empty")


def test_an_afterburners_graph_is_empty_because_everything_is_done() -> None:
    found = verdict(finished(1), finished(2, Outcome.EMPTY), counts=Counts(succeeded=7))
    assert found == (GroupState.DONE, "all 7 quanta succeeded")


def test_an_afterburners_graph_is_empty_and_something_is_open() -> None:
    # Whatever the verdicts say: another submission would have an empty graph again.
    found = verdict(
        finished(1),
        finished(2, Outcome.EMPTY),
        counts=Counts(succeeded=6, failed=1),
        open_quanta=(open_quanta(Verdict.INFRASTRUCTURE),),
    )
    assert found == (GroupState.NEEDS_REVIEW, "calibrate: infrastructure x1")


def test_a_failed_start_is_tried_again_once() -> None:
    first = finished(1, Outcome.FAILED, reason="no such collection")
    assert verdict(first) == (GroupState.READY, "could not run, try again: no such collection")
    second = finished(2, Outcome.FAILED, reason="no such collection")
    assert verdict(first, second) == (
        GroupState.NEEDS_REVIEW,
        "could not run 2 times: no such collection",
    )


def test_only_failed_starts_one_after_the_other_count() -> None:
    entries = (finished(1, Outcome.FAILED), finished(2), finished(3, Outcome.FAILED))
    assert verdict(*entries)[0] is GroupState.READY


def test_a_person_may_ask_for_another_start() -> None:
    entries = (finished(1, Outcome.FAILED), finished(2, Outcome.FAILED), finished(3, Outcome.FAILED))
    assert verdict(*entries, attempts_from=2)[0] is GroupState.READY


PARTIAL = Counts(succeeded=8, failed=2)


@pytest.mark.parametrize("outcome", [Outcome.PARTIAL, Outcome.LOST])
def test_what_may_be_cured_gets_an_afterburner(outcome: SubmissionOutcome) -> None:
    entries = (open_quanta(Verdict.INFRASTRUCTURE), open_quanta(Verdict.ALGORITHM, task="deblend"))
    found = verdict(finished(outcome=outcome), counts=PARTIAL, open_quanta=entries)
    assert found == (GroupState.READY, "afterburner: calibrate: infrastructure x1")


def test_a_lost_driver_is_followed_by_another_submission_even_before_any_quantum_is_known() -> None:
    found = verdict(finished(outcome=Outcome.LOST, reason="its driver died"))
    assert found == (GroupState.READY, "afterburner: its driver died")


def test_a_lost_driver_is_no_reason_to_retry_what_cannot_be_cured() -> None:
    entries = (open_quanta(Verdict.ALGORITHM, number=2),)
    found = verdict(finished(outcome=Outcome.LOST), counts=PARTIAL, open_quanta=entries)
    assert found == (GroupState.NEEDS_REVIEW, "calibrate: algorithm x2")


def test_what_cannot_be_cured_is_for_a_person_with_what_waits_behind_it() -> None:
    entries = (
        open_quanta(Verdict.ALGORITHM, task="deblend"),
        open_quanta(state=QuantumState.BLOCKED, task="measure", number=3),
    )
    found = verdict(finished(), counts=Counts(succeeded=6, failed=1, blocked=3), open_quanta=entries)
    assert found == (GroupState.NEEDS_REVIEW, "deblend: algorithm x1; 3 blocked behind them")


def test_a_used_up_budget_is_for_a_person() -> None:
    found = verdict(finished(), counts=PARTIAL, open_quanta=(open_quanta(charged=3, number=2),))
    assert found == (GroupState.NEEDS_REVIEW, "calibrate: infrastructure x2")


def test_submissions_are_capped() -> None:
    spec = campaign(bps("step1", afterburner={"max_submissions": 2}))
    entries = (open_quanta(Verdict.NODE_LOST, charged=0, number=2),)
    first = verdict(finished(1), counts=PARTIAL, open_quanta=entries, spec=spec)
    assert first[0] is GroupState.READY
    second = verdict(finished(1), finished(2), counts=PARTIAL, open_quanta=entries, spec=spec)
    assert second == (GroupState.NEEDS_REVIEW, "calibrate: node lost x2 after 2 submissions")
    lost = verdict(finished(1), finished(2, Outcome.LOST), counts=PARTIAL, open_quanta=entries, spec=spec)
    assert lost[0] is GroupState.READY, "a lost driver uses up nothing"
    again = verdict(
        finished(1), finished(2), finished(3), counts=PARTIAL, open_quanta=entries, spec=spec, attempts_from=2
    )
    assert again[0] is GroupState.READY


@pytest.mark.parametrize(
    ("budget", "state"),
    [(0.0, GroupState.NEEDS_REVIEW), (0.19, GroupState.NEEDS_REVIEW), (0.2, GroupState.DONE)],
)
def test_losses_within_the_budget_are_taken(budget: float, state: GroupState) -> None:
    spec = campaign(bps("step1", loss_budget=budget))
    entries = (open_quanta(Verdict.ALGORITHM, number=2),)
    found = verdict(finished(), counts=PARTIAL, open_quanta=entries, spec=spec)
    assert found[0] is state
    if state is GroupState.DONE:
        assert found[1] == "2 of 10 lost, within the loss budget 0.2"


def test_the_loss_budget_is_used_only_when_nothing_can_be_cured() -> None:
    spec = campaign(bps("step1", loss_budget=0.5))
    found = verdict(finished(), counts=PARTIAL, open_quanta=(open_quanta(number=2),), spec=spec)
    assert found[0] is GroupState.READY


def test_blocked_alone_is_run_again() -> None:
    entries = (open_quanta(state=QuantumState.BLOCKED, number=2),)
    found = verdict(finished(), counts=Counts(succeeded=8, blocked=2), open_quanta=entries)
    assert found == (GroupState.READY, "afterburner: calibrate: blocked x2")


def test_a_run_without_any_quantum_is_for_a_person() -> None:
    found = verdict(finished(outcome=Outcome.SUCCEEDED, reason="no quanta"))
    assert found == (GroupState.NEEDS_REVIEW, "no quanta")


def test_memory_that_cannot_grow_is_for_a_person() -> None:
    spec = campaign(bps("step1"), afterburner={"memory_max": 2048})
    entries = (open_quanta(Verdict.OUT_OF_MEMORY, memory=1, requested_mb=2048),)
    found = verdict(finished(), counts=PARTIAL, open_quanta=entries, spec=spec)
    assert found == (GroupState.NEEDS_REVIEW, "calibrate: out of memory x1")


ACTION = campaign(action("chain", max_submissions=2))


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([finished(1, Outcome.SUCCEEDED, reason="chained")], (GroupState.DONE, "chained")),
        ([finished(1, Outcome.FAILED, reason="no")], (GroupState.READY, "try again: no")),
        ([finished(1, Outcome.LOST, reason="died")], (GroupState.READY, "try again: died")),
        (
            [finished(1, Outcome.LOST), finished(2, Outcome.FAILED, reason="no")],
            (GroupState.NEEDS_REVIEW, "no"),
        ),
        ([finished(1, Outcome.CANCELLED)], (GroupState.CANCELLED, "its submission was cancelled")),
    ],
)
def test_actions(entries: list[SubmissionView], expected: tuple[GroupState, str]) -> None:
    assert verdict(*entries, spec=ACTION, step="chain") == expected


NO = "no"


def _failed(number: int, *, minutes: float = 0.0, **changes: object) -> SubmissionView:
    ended = NOW - timedelta(minutes=minutes)
    return finished(number, Outcome.FAILED, reason=NO, finished_at=ended, **changes)


def test_what_only_a_person_can_mend_is_not_tried_again() -> None:
    assert verdict(_failed(1, needs_person=True), spec=ACTION, step="chain") == (GroupState.NEEDS_REVIEW, NO)
    assert verdict(_failed(1, needs_person=True)) == (GroupState.NEEDS_REVIEW, NO)


def test_actions_are_tried_again_after_growing_pauses() -> None:
    spec = campaign(action("chain", max_submissions=4))
    entries = (_failed(1, minutes=30), _failed(2))
    found = verdict(*entries, spec=spec, step="chain")
    assert found == (GroupState.READY, "try again: no; next try at 15:02 UTC")
    waiting = group("chain", state=GroupState.READY, submissions=entries)
    assert decide(spec, snapshot(waiting), situation()) == ()
    assert next_try(spec, snapshot(waiting), now=NOW) == NOW + timedelta(minutes=2)
    later = replace(situation(), now=NOW + timedelta(minutes=2))
    (again,) = decide(spec, snapshot(waiting), later)
    assert isinstance(again, Submit)
    assert again.number == 3
    assert next_try(spec, snapshot(waiting), now=later.now) is None


def test_nothing_waits_for_its_next_try_that_a_person_has_sent_on_or_stopped() -> None:
    entries = (_failed(1),)
    sent = group("chain", state=GroupState.READY, submissions=entries, attempts_from=1)
    (at_once,) = decide(ACTION, snapshot(sent), situation())
    assert isinstance(at_once, Submit)
    assert next_try(ACTION, snapshot(sent), now=NOW) is None
    waiting = group("chain", state=GroupState.READY, submissions=entries)
    assert next_try(ACTION, snapshot(waiting, state=CampaignState.PAUSED), now=NOW) is None
    # Only actions pause.
    other = group("step1", state=GroupState.READY, submissions=entries)
    assert next_try(campaign(bps("step1")), snapshot(other), now=NOW) is None


def test_deciding_again_from_the_same_facts_gives_the_same() -> None:
    entries = (open_quanta(Verdict.OUT_OF_MEMORY, memory=1),)
    groups = (
        group("step3", tract=1, submissions=(submission(id=1, state=RUNNING),)),
        group("step3", tract=2, submissions=(finished(),), counts=PARTIAL, open_quanta=entries),
        group("step3", tract=3, state=GroupState.READY),
        group("step3", tract=4, state=GroupState.WAITING),
    )
    seen = situation({1: Liveness.ALIVE}, requests=RequestTable())
    assert decide(TRACTS, snapshot(*groups), seen) == decide(TRACTS, snapshot(*groups), seen)
    assert [d.group.tract for d in decide(TRACTS, snapshot(*groups), seen)] == [1, 2, 4, 3]
