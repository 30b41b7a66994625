"""What fills no node waits for its like, in time and never for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from domain_help import (
    NOW,
    REQUESTS,
    bps,
    by_tract,
    campaign,
    finished,
    group,
    open_quanta,
    sky,
    snapshot,
    submission,
    with_overlaps,
)
from hypothesis import given
from hypothesis import strategies as st
from test_block_shape import TIGER

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.execution.liveness import Liveness
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.states import GroupState, SubmissionState, Verdict
from merian_campaign.domain.tick.decide import decide
from merian_campaign.domain.tick.decisions import Decision, MoveGroup, Situation, Submit, Wait

SPEC = campaign(by_tract(), tracts=["1-50"], limits={"submissions": 40})
EARLY = "afterburner: calibrate: infrastructure x3"


def straggler(tract: int, *, quanta: int = 3, minutes: float = 10, **changes: Any) -> GroupView:
    """A group of which a few quanta are left, some time after its last submission."""
    values: dict[str, Any] = {
        "state": GroupState.READY,
        "reason": EARLY,
        "submissions": (finished(1, finished_at=NOW - timedelta(minutes=minutes)),),
        "counts": Counts(succeeded=90, failed=quanta),
        "open_quanta": (open_quanta(number=quanta),),
    }
    return group("step3", tract=tract, **(values | changes))


def running(tract: int, **changes: Any) -> GroupView:
    entry = submission(id=tract, state=SubmissionState.RUNNING, **changes)
    return group(
        "step3",
        tract=tract,
        submissions=(entry,),
        counts=Counts(succeeded=1, running=2),
        open_quanta=(open_quanta(number=2),),
    )


def decided(
    *groups: GroupView, spec: CampaignSpec = SPEC, site: SiteProfile | None = TIGER, now: datetime = NOW
) -> tuple[Decision, ...]:
    live = {entry.live.id: Liveness.ALIVE for entry in groups if entry.live is not None}
    requests = {step.name: REQUESTS for step in spec.steps}
    known = Situation(drivers=live, requests=requests, workers=112, now=now, site=site)
    return decide(spec, snapshot(*groups), known)


def started(*groups: GroupView, **given: Any) -> list[int | None]:
    return [entry.group.tract for entry in decided(*groups, **given) if isinstance(entry, Submit)]


def test_it_waits_while_others_run_and_says_for_how_long() -> None:
    waits = [
        entry
        for entry in decided(straggler(1), straggler(2, quanta=1), running(3))
        if isinstance(entry, Wait)
    ]
    assert [entry.group.tract for entry in waits] == [1, 2]
    words = (
        "afterburner.collect_hours: 4 quanta of 2 groups of step3 for 4% of a node; more are waited for, "
        "until 2026-11-22 15:50 UTC at the latest"
    )
    assert {entry.reason for entry in waits} == {words}


def test_all_start_when_together_they_fill_a_node() -> None:
    some = [straggler(tract, quanta=40) for tract in (1, 2)]
    assert started(*some, running(9)) == []
    assert started(*some, straggler(3, quanta=40), running(9)) == [1, 2, 3]
    # By their memory too: each asks for half of a node's.
    big = (open_quanta(number=1, task="big", requested_mb=400_000),)
    heavy = replace(REQUESTS, by_task={"big": 400_000})
    known = Situation(
        drivers={9: Liveness.ALIVE}, requests={"step3": heavy}, workers=112, now=NOW, site=TIGER
    )
    groups = [straggler(tract, quanta=1, open_quanta=big) for tract in (1, 2, 3)]
    found = decide(SPEC, snapshot(*groups, running(9)), known)
    assert sum(isinstance(entry, Submit) for entry in found) == 3


def test_all_start_when_the_first_has_waited_long_enough() -> None:
    both = straggler(1, minutes=59), straggler(2, minutes=1)
    assert started(*both, running(9)) == []
    assert started(*both, running(9), now=NOW + timedelta(minutes=1)) == [1, 2]
    longer = campaign(by_tract(afterburner={"collect_hours": 2}), tracts=["1-50"], limits={"submissions": 40})
    assert started(*both, running(9), spec=longer, now=NOW + timedelta(minutes=1)) == []
    # What was written down by a clock that is ahead is not waited for.
    assert started(straggler(1, minutes=-1), running(9)) == [1]


def test_all_start_when_no_more_can_come() -> None:
    both = straggler(1), straggler(2)
    assert started(*both) == [1, 2]
    over = [group("step3", tract=9, state=state) for state in (GroupState.DONE, GroupState.NEEDS_REVIEW)]
    for other in over:
        assert started(*both, other) == [1, 2]
    held = group("step3", tract=9, state=GroupState.READY, hold="a person holds it")
    assert started(*both, held) == [1, 2]
    # One that starts now may have something left soon, and so may one behind a step that runs.
    assert started(*both, group("step3", tract=9, state=GroupState.READY)) == [9]
    spec = campaign(
        by_tract("step2b", "step2b"), by_tract(after=["step2b"]), tracts=["1-50"], limits={"submissions": 40}
    )
    before = [group("step2b", tract=tract, state=GroupState.DONE) for tract in (1, 2)]
    behind = group("step3", tract=9, state=GroupState.WAITING)
    first = group("step2b", tract=9, submissions=(submission(id=7, state=SubmissionState.RUNNING),))
    assert started(*before, *both, first, behind, spec=spec) == []
    stuck = group("step2b", tract=9, state=GroupState.READY, hold="a person holds it")
    assert started(*before, *both, stuck, behind, spec=spec) == [1, 2]


def test_it_starts_where_there_is_room_beside_others_that_run() -> None:
    beside = running(9, reason=EARLY)
    assert started(straggler(1), straggler(2), beside) == [1, 2]
    assert started(straggler(1, quanta=100), straggler(2, quanta=50), beside, straggler(3, quanta=9)) == [
        1,
        2,
        3,
    ]
    assert started(straggler(2, quanta=50), straggler(3, quanta=50), running(9, reason="a first one")) == []


@pytest.mark.parametrize(
    "site",
    [None, replace(TIGER, blocks=None), *(
        replace(TIGER, blocks=replace(TIGER.blocks, **changes)) if TIGER.blocks else None
        for changes in ({"exclusive": False}, {"exact": False}, {"mem_mb": None})
    )],
)  # fmt: skip
def test_on_other_sites_nothing_waits(site: SiteProfile | None) -> None:
    assert started(straggler(1), running(9), site=site) == [1]


@pytest.mark.parametrize(
    "changes",
    [
        {"afterburner": {"collect_hours": 0}},
        {"wms": "stock"},
        {"limits": {"submissions": 40, "first": ["step3/tract1"]}},
        {"limits": {"submissions": 1}},  # no other could start with it
        {"limits": {"submissions": 40, "blocks": 1}},
        {"limits": {"submissions": 40, "canary": 1}},  # it may be what shows that the step works
    ],
)
def test_nothing_waits_where_it_is_switched_off_or_of_no_use(changes: dict[str, Any]) -> None:
    spec = campaign(by_tract(), **({"tracts": ["1-50"], "limits": {"submissions": 40}} | changes))
    limits = spec.limits
    others = [running(9)] if limits.submissions > 1 and limits.canary is None and not limits.blocks else []
    more = [] if others else [group("step3", tract=8, state=GroupState.READY)]
    assert 1 in started(straggler(1, counts=Counts(failed=3)), *more, *others, spec=spec)


@pytest.mark.parametrize(
    "changes",
    [{"reason": "ana: retry: it was mended"}, {"quanta": 112}, {"reason": "could not run, try again: x"}],
)
def test_what_a_person_wants_or_fills_a_node_starts_at_once(changes: dict[str, Any]) -> None:
    assert started(straggler(1, **changes), running(9)) == [1]


def test_the_group_says_so_as_soon_as_it_is_judged() -> None:
    over = straggler(1, state=GroupState.RUNNING, minutes=0)
    (move, _) = decided(over, running(9))
    assert isinstance(move, MoveGroup)
    assert move.reason == (
        "afterburner: calibrate: infrastructure x3; may wait until 16:00 UTC for others to share a node with"
    )
    begun = decided(replace(over, state=GroupState.READY, reason=move.reason), now=NOW + timedelta(hours=2))
    assert [entry.reason for entry in begun if isinstance(entry, Submit)] == [EARLY]
    (move, _) = decided(over, running(9), site=replace(TIGER, blocks=None))
    assert isinstance(move, MoveGroup)
    assert move.reason == EARLY


@given(
    st.lists(st.tuples(st.integers(1, 130), st.integers(-200, 200), st.booleans()), min_size=1, max_size=9),
    st.integers(1, 6), st.sampled_from([0, 0.5, 1, 24]), st.sampled_from(list(Verdict)),
)  # fmt: skip
def test_whatever_is_left_starts_in_the_end(
    left: list[tuple[int, int, bool]], at_once: int, hours: float, verdict: Verdict
) -> None:
    spec = campaign(
        by_tract(), tracts=["1-50"], limits={"submissions": at_once}, afterburner={"collect_hours": hours}
    )
    waiting = {
        tract: straggler(
            tract, quanta=quanta, minutes=minutes, reason=EARLY if early else "a person said so",
            open_quanta=(open_quanta(verdict, number=quanta, memory=1),),
        )
        for tract, (quanta, minutes, early) in enumerate(left, start=1)
    }  # fmt: skip
    # With one that runs for ever, so that more may always come.
    others = [running(40)] if at_once > 1 else []
    now = NOW
    while waiting:
        begun = started(*waiting.values(), *others, spec=spec, now=now)
        for tract in begun:
            del waiting[tract or 0]
        now += timedelta(minutes=10)
        assert now <= NOW + timedelta(hours=hours + 24), "it waits for ever"


def test_what_takes_in_new_data_too_is_no_straggler() -> None:
    spec = campaign(
        bps("step2a"), by_tract(after=["step2a"]), tracts="discover", limits={"submissions": 40},
        on_new_data="ignore",
    )  # fmt: skip
    rows = [
        replace(sky(number, 1, tract), steps=frozenset({"step2a", "step3"}), raws=1)
        for number, tract in ((1, 1), (2, 1), (3, 2))
    ]

    def found(*made_from: int) -> Decision:
        one = straggler(1, basis=Basis(exposures=frozenset(made_from)))
        groups = (group("step2a", state=GroupState.DONE), one, running(2))
        known = Situation(
            drivers={2: Liveness.ALIVE}, requests=dict.fromkeys(("step2a", "step3"), REQUESTS), workers=112,
            now=NOW, site=TIGER,
        )  # fmt: skip
        return decide(spec, with_overlaps(spec, snapshot(*groups), *rows), known)[-1]

    assert isinstance(found(1, 2), Wait)
    submit = found(1)
    assert isinstance(submit, Submit)
    # So that its blocks are those of the site: nobody knows how much there is to run.
    assert submit.reason.startswith("1 new exposure; ")
