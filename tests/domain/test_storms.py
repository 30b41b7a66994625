"""The storm guard, the canary, and what the infrastructure did: no attempt is used up, and pauses grow."""

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
    open_quanta,
    situation,
    snapshot,
)

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.failures.backoff import due
from merian_campaign.domain.record.snapshot import GroupView, Snapshot
from merian_campaign.domain.resources.core_hours import (
    CoreHours,
    Price,
    RunTime,
    TaskCost,
    core_hours,
    prices,
)
from merian_campaign.domain.states import GroupState, SubmissionOutcome, Verdict
from merian_campaign.domain.tick.decide import decide
from merian_campaign.domain.tick.decisions import MoveGroup, PauseCampaign, Submit, Wait
from merian_campaign.domain.tick.group_outcome import group_outcome
from merian_campaign.domain.tick.storms import FEWEST, stopped, storm

TRACTS = campaign(by_tract(), tracts=["1-40"], limits={"submissions": 40})
AGO = NOW - timedelta(minutes=10)
Outcome = SubmissionOutcome


def failed(number: int, reason: str, **changes: object) -> GroupView:
    ended = finished(outcome=Outcome.FAILED, reason=reason, finished_at=AGO)
    return group("step3", tract=number, state=GroupState.READY, submissions=(ended,), **changes)


def seen(*groups: GroupView) -> Snapshot:
    fresh = [group("step3", tract=number, state=GroupState.READY) for number in range(20, 25)]
    return snapshot(*groups, *fresh)


def test_one_failure_everywhere_pauses_the_campaign_with_its_evidence() -> None:
    groups = [
        failed(n, f"RuntimeError: /scratch/{n}/x: no key 'a{n}' at 0x7f{n}") for n in range(1, FEWEST + 1)
    ]
    decisions = decide(TRACTS, seen(*groups), situation())
    assert not [entry for entry in decisions if isinstance(entry, Submit)]
    (pause,) = [entry for entry in decisions if isinstance(entry, PauseCampaign)]
    assert pause.reason.startswith(
        "storm: 5 of 5 groups that ended since 14:50 UTC failed alike (step3/tract1, "
    )
    assert "RuntimeError: /scratch/1/x: no key 'a1'" in pause.reason


@pytest.mark.parametrize(
    "groups",
    [
        [failed(n, "RuntimeError: no") for n in range(1, FEWEST)],
        [failed(n, f"{'abcdefg'[n]}Error: of its own") for n in range(1, 7)],
        [
            *(failed(n, "RuntimeError: no") for n in range(1, 6)),
            *(
                group("step3", tract=n, state=GroupState.DONE, submissions=(
                    finished(outcome=Outcome.SUCCEEDED, finished_at=AGO),))
                for n in range(6, 9)
            ),
        ],
    ],
    ids=["few", "different", "others succeed"],
)  # fmt: skip
def test_no_storm(groups: list[GroupView]) -> None:
    assert storm(seen(*groups), now=NOW) == ""


def test_what_was_before_a_person_let_it_go_on_counts_no_more() -> None:
    before = seen(*(failed(n, "RuntimeError: no") for n in range(1, 7)))
    assert storm(before, now=NOW)
    assert storm(before, now=NOW + timedelta(hours=3)) == "", "long ago"
    resumed = replace(before, campaign=replace(before.campaign, resumed_at=NOW - timedelta(minutes=1)))
    assert storm(resumed, now=NOW) == ""


def test_what_a_storm_has_left_to_a_person_is_known_when_it_goes_on() -> None:
    given_up = [
        replace(failed(n, f"RuntimeError: no key 'a{n}'"), state=GroupState.NEEDS_REVIEW) for n in range(1, 5)
    ]
    own = replace(failed(9, "ValueError: of its own"), state=GroupState.NEEDS_REVIEW)
    found = seen(*given_up, failed(5, "RuntimeError: no key 'b'"), own)
    assert stopped(found) == ("step3/tract1", "step3/tract2", "step3/tract3", "step3/tract4")
    assert stopped(seen(*given_up, own)) == (), "so few are no storm"
    resumed = replace(found, campaign=replace(found.campaign, resumed_at=NOW))
    assert stopped(resumed) == (), "a person has let it go on since"


def test_what_the_machine_is_short_of_is_tried_by_one_group_at_a_time() -> None:
    full = [failed(n, "OSError: Read-only file system") for n in range(1, 7)]
    later = replace(situation(), now=NOW + timedelta(minutes=1))
    decisions = decide(TRACTS, seen(*full), later)
    assert sum(isinstance(entry, Submit) for entry in decisions) == 1
    (words,) = {entry.reason for entry in decisions if isinstance(entry, Wait)}
    assert words == "6 groups could not run: OSError: Read-only file system; one at a time tries again"
    assert storm(seen(*full), now=NOW) == "", "no person is needed for that"


def test_drivers_that_a_reboot_ends_are_no_storm() -> None:
    gone = [
        group("step3", tract=n, submissions=(finished(outcome=Outcome.LOST, reason="died", finished_at=AGO),))
        for n in range(1, 10)
    ]
    assert storm(seen(*gone), now=NOW) == ""


def test_quanta_that_all_fail_alike_are_a_storm_and_a_group_with_some_good_ones_is_none() -> None:
    bad = open_quanta(
        Verdict.CONFIGURATION, number=9, exception_type="FieldValidationError", exception_message="no field"
    )

    def ran(number: int, succeeded: int) -> GroupView:
        last = finished(finished_at=AGO)
        counts = Counts(failed=9, succeeded=succeeded)
        return group("step3", tract=number, submissions=(last,), counts=counts, open_quanta=(bad,))

    assert "calibrate: FieldValidationError: no field" in storm(
        seen(*(ran(n, 0) for n in range(1, 6))), now=NOW
    )
    assert storm(seen(*(ran(n, 1) for n in range(1, 6))), now=NOW) == ""


def test_a_canary_runs_before_the_others() -> None:
    spec = campaign(by_tract(), tracts=["1-9"], limits={"submissions": 9, "canary": 2})
    ready = [group("step3", tract=number, state=GroupState.READY) for number in range(1, 10)]
    decisions = decide(spec, snapshot(*ready), situation())
    assert [type(entry) for entry in decisions] == [Submit] * 2 + [Wait] * 7
    proven = replace(ready[0], state=GroupState.DONE, submissions=(finished(outcome=Outcome.SUCCEEDED),))
    assert all(isinstance(entry, Submit) for entry in decide(spec, snapshot(proven, *ready[1:]), situation()))


def test_a_canary_runs_again_under_another_release() -> None:
    spec = campaign(by_tract(), tracts=["1-9"], limits={"submissions": 9, "canary": 1})
    old = [
        group("step3", tract=n, state=GroupState.DONE, counts=Counts(succeeded=3),
              submissions=(finished(outcome=Outcome.SUCCEEDED, versions_sha="old"),))
        for n in (1, 2)
    ]  # fmt: skip
    ready = [group("step3", tract=number, state=GroupState.READY) for number in range(3, 10)]

    def started(*before: GroupView, release: str) -> int:
        decisions = decide(spec, snapshot(*before, *ready), replace(situation(), release=release))
        return sum(isinstance(entry, Submit) for entry in decisions)

    assert started(*old, release="old") == started(*old, release="") == 7
    assert started(*old, release="new") == 1
    for outcome, counts, number in (
        (Outcome.FAILED, Counts(), 1),
        (Outcome.PARTIAL, Counts(failed=2), 1),
        (Outcome.PARTIAL, Counts(succeeded=1, failed=1), 7),
    ):
        tried = group(
            "step3", tract=1, state=GroupState.NEEDS_REVIEW, counts=counts,
            submissions=(finished(outcome=outcome, versions_sha="new", created_at=NOW),),
        )  # fmt: skip
        # Where only drivers can say, what the newest of them found is believed.
        assert started(tried, old[1], release="new") == started(tried, old[1], release="") == number


# -- the infrastructure ------------------------------------------------------------------------------


def test_lost_drivers_use_up_no_attempt_and_are_waited_for_longer_each_time() -> None:
    spec = campaign(bps(), afterburner={"max_submissions": 2})
    lost = [finished(n, Outcome.LOST, reason="its driver died", finished_at=NOW) for n in range(1, 9)]
    pauses = []
    for number in range(1, 9):
        entry = group(submissions=tuple(lost[:number]))
        found = group_outcome(spec, entry, situation())
        assert found.state is GroupState.READY
        moment = due(spec, entry)
        pauses.append(0 if moment is None else (moment - NOW).total_seconds())
        assert moment is None or "next try at" in found.reason
    assert pauses == sorted(pauses)
    assert pauses[:3] == [0, 30, 120]
    assert pauses[-1] == 3600


@pytest.mark.parametrize(
    "reason",
    ["bps submit was killed by SIGKILL while it built the graph", "OperationalError: database is locked"],
)
def test_what_passes_by_itself_is_no_failed_start(reason: str) -> None:
    entries = tuple(
        finished(n, Outcome.FAILED, reason=reason, finished_at=NOW - timedelta(hours=2)) for n in range(1, 6)
    )
    found = group_outcome(campaign(bps()), group(submissions=entries), situation())
    assert (found.state, "try again" in found.reason) == (GroupState.READY, True)
    action_spec = campaign(action(max_submissions=2))
    assert (
        group_outcome(action_spec, group("defaults", submissions=entries), situation()).state
        is GroupState.READY
    )


# -- hours and budgets -------------------------------------------------------------------------------


def waits(limits: dict[str, object], *groups: GroupView, hour: float = 0) -> list[str]:
    spec = campaign(by_tract(), tracts=["1-9"], limits={"submissions": 9} | limits)
    now = NOW + timedelta(hours=hour)
    decisions = decide(spec, snapshot(*groups), replace(situation(), now=now))
    return [entry.reason for entry in decisions if isinstance(entry, Wait)]


NIGHT = {"window": {"begins": "20:00", "ends": "06:00", "days": ["sun"]}}


@pytest.mark.parametrize(
    ("hour", "is_open"),
    [(0, False), (5, True), (14.9, True), (15, False), (29, False), (24 * 7 + 5, True)],
    ids=["Sunday 15:00", "Sunday 20:00", "Monday 05:54", "Monday 06:00", "Monday 20:00", "next Sunday"],
)
def test_submissions_start_within_the_window(hour: float, *, is_open: bool) -> None:
    one = group("step3", tract=1, state=GroupState.READY)
    words = "limits.window: submissions start 20:00-06:00 sun (UTC)"
    assert waits(NIGHT, one, hour=hour) == ([] if is_open else [words])


def test_a_window_has_a_time_zone_of_its_own() -> None:
    there = {"window": {"begins": "16:00", "ends": "17:00", "timezone": "Europe/Berlin"}}
    one = group("step3", tract=1, state=GroupState.READY)
    assert waits(there, one) == []
    assert waits(there, one, hour=1) != []


def test_budgets() -> None:
    ready = [group("step3", tract=number, state=GroupState.READY) for number in range(1, 5)]
    ran = [
        group("step3", tract=9, state=GroupState.DONE, submissions=(
            finished(outcome=Outcome.SUCCEEDED, created_at=NOW - timedelta(hours=2)),)),
        group("step3", tract=8, state=GroupState.DONE, submissions=(
            finished(outcome=Outcome.SUCCEEDED, created_at=NOW - timedelta(hours=5)),)),
    ]  # fmt: skip
    # One of them was after noon.
    assert len(waits({"per_night": 3}, *ready, *ran)) == 2
    assert waits({"total": 2}, *ready, *ran) == ["limits.total: the campaign has had its 2 submissions"] * 4
    assert waits({"per_night": 3}, *ready, *ran, hour=24) == [
        "limits.per_night: this night has had its 3 submissions"
    ]


def test_what_a_redo_costs_is_counted_with_the_cores_that_tasks_ask_for() -> None:
    spec = campaign(bps("step3", scope="visit", resources={"fit": {"cpus": 3}}))
    costs = [
        TaskCost(step="step3", group=key, task=task, quanta=20, hours=0.25)
        for key in ("tract1", "tract2")
        for task in ("fit", "assemble")
    ]
    one = Price(quanta=40, core_hours=1.0)
    assert prices(spec, costs) == {"step3/tract1": one, "step3/tract2": one}
    assert (one + one).in_words() == "80 quanta, 2.00 core-hours and 0.00 GB-hours, as before"


def test_core_hours_are_counted_with_the_cores_that_tasks_ask_for() -> None:
    spec = campaign(
        bps(resources={"isr": {"cpus": 4}}), limits={"core_hours": 50, "core_hours_per_night": 20.5}
    )
    times = [
        RunTime(step="step1", task="isr", total=10, tonight=5),
        RunTime(step="step1", task="calibrate", total=2, tonight=0.5),
        RunTime(step="gone", task="isr", total=7, tonight=0),
    ]
    used = core_hours(spec, times)
    assert used == CoreHours(total=49, tonight=20.5)
    ready = group("step1", state=GroupState.READY)

    def said(hours: CoreHours | None) -> list[str]:
        decisions = decide(spec, snapshot(ready), replace(situation(), core_hours=hours))
        return [entry.reason for entry in decisions if isinstance(entry, Wait)]

    assert said(None) == said(CoreHours(total=49, tonight=20.4)) == []
    assert said(used) == ["limits.core_hours_per_night: this night has had 20.5 of its 20.5 core-hours"]
    assert said(CoreHours(total=51)) == ["limits.core_hours: the campaign has had 51.0 of its 50 core-hours"]


def test_what_a_person_wants_first_starts_first() -> None:
    spec = campaign(
        by_tract(), tracts=["1-9"], limits={"submissions": 2, "first": ["tract7", "step3/tract[56]"]}
    )
    ready = [group("step3", tract=number, state=GroupState.READY) for number in range(1, 10)]
    started = [
        entry.group.key for entry in decide(spec, snapshot(*ready), situation()) if isinstance(entry, Submit)
    ]
    assert started == ["tract7", "tract5"]


def test_a_step_may_be_wanted_first() -> None:
    spec = campaign(bps("step1"), by_tract(), tracts=["1-9"], limits={"submissions": 1, "first": ["step3"]})
    ready = [group("step1", state=GroupState.READY), group("step3", tract=1, state=GroupState.READY)]
    (first, *_) = [one for one in decide(spec, snapshot(*ready), situation()) if isinstance(one, Submit)]
    assert first.group.step == "step3"


def test_a_held_group_starts_nothing_and_is_judged_all_the_same() -> None:
    held = group("step3", tract=1, state=GroupState.READY, hold="later")
    assert decide(TRACTS, snapshot(held), situation()) == ()
    ended = group("step3", tract=2, hold="later", submissions=(finished(outcome=Outcome.SUCCEEDED),),
                  counts=Counts(succeeded=3))  # fmt: skip
    (found,) = decide(TRACTS, snapshot(ended), situation())
    assert isinstance(found, MoveGroup)
    assert found.state is GroupState.DONE
