"""Whose turn it is, and how much of the queue is left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from domain_help import (
    NOW,
    REQUESTS,
    action,
    bps,
    by_tract,
    campaign,
    group,
    open_quanta,
    snapshot,
    submission,
)

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.execution.liveness import Liveness
from merian_campaign.domain.record.snapshot import GroupView, Remedy
from merian_campaign.domain.resources.cluster import Blocks
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.resources.throttle import Allotment, Headroom, in_turn, nice_of
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.site import DriverOptions, Larger
from merian_campaign.domain.states import GroupState, SubmissionOutcome, SubmissionState, Verdict
from merian_campaign.domain.tick.decide import decide
from merian_campaign.domain.tick.decisions import Decision, Launch, MoveGroup, Situation, Submit, Wait

READY = GroupState.READY
PROCESSES = SiteProfile(
    name="x", file="/site/x.yaml", workers=8, workers_key="cores_per_node",
    blocks=Blocks(walltime="01:00:00", shared_mb=8192, max_blocks=4),
)  # fmt: skip
JOBS = replace(PROCESSES, driver=DriverOptions())


def tracts(**limits: int) -> CampaignSpec:
    return campaign(by_tract(), action(), tracts=["1-9"], limits={"submissions": 60, **limits})


def ready(*numbers: int, **changes: Any) -> list[GroupView]:
    return [group("step3", tract=number, state=READY, **changes) for number in numbers]


def running(number: int, **changes: Any) -> GroupView:
    entry = submission(id=number, state=SubmissionState.RUNNING, **changes)
    return group("step3", tract=number, submissions=(entry,))


def decided(
    spec: CampaignSpec, *groups: GroupView, site: SiteProfile = PROCESSES, others: int | None = None
) -> tuple[Decision, ...]:
    live = [entry.live for entry in groups if entry.live is not None]
    known = Situation(
        drivers={entry.id: Liveness.ALIVE for entry in live},
        requests=dict.fromkeys(["step1", "step2b", "step3"], REQUESTS),
        workers=8, now=NOW, site=site, others=others,
    )  # fmt: skip
    return decide(spec, snapshot(*groups), known)


def given(decisions: tuple[Decision, ...]) -> list[int | None]:
    return [entry.remedy.blocks for entry in decisions if isinstance(entry, Submit)]


def waiting(decisions: tuple[Decision, ...]) -> set[str]:
    return {entry.reason.partition(":")[0] for entry in decisions if isinstance(entry, Wait)}


# -- whose turn it is ----------------------------------------------------------------------------------


def test_tracts_are_finished_before_more_are_begun_and_priorities_come_before_that() -> None:
    steps = [
        bps("step1"),
        by_tract("step2b", "step2b", after=["step1"]),
        by_tract(after=["step2b"]),
        bps("aside", "step1", priority=1),
        bps("other", "step1"),
    ]
    spec = campaign(*steps)
    groups = [
        group("step1", state=READY), group("step2b", tract=2, state=READY),
        group("step3", tract=1, state=READY), group("step3", tract=2, state=READY),
        group("aside", state=READY), group("other", state=READY),
    ]  # fmt: skip
    assert [(entry.step, entry.tract) for entry in in_turn(spec, groups)] == [
        ("aside", None), ("step3", 1), ("step3", 2), ("step2b", 2), ("step1", None), ("other", None),
    ]  # fmt: skip
    only = campaign(*steps, limits={"submissions": 1})
    first, *others = decided(only, *groups)
    assert (type(first), first.group.step) == (Submit, "aside")
    assert waiting(tuple(others)) == {"limits.submissions"}


@pytest.mark.parametrize(
    ("limits", "own", "nice"),
    [
        ({}, {}, None),
        ({"nice": 50}, {}, 50),
        ({}, {"priority": 7}, 3),
        ({}, {"priority": 10}, None),
        ({"nice": 50}, {"priority": 7}, 53),
        ({"nice": 50}, {"priority": 7, "nice": 0}, 0),
    ],
)
def test_blocks_of_a_higher_priority_stand_before_those_of_a_lower_one(
    limits: dict[str, int], own: dict[str, int], nice: int | None
) -> None:
    highest = {"priority": 10} if "priority" in own else {}
    # Actions have no blocks that could stand before anything.
    spec = campaign(bps("step1", **own), bps("step2a", **highest), action(priority=99), limits=limits)
    step = spec.step("step1")
    assert isinstance(step, BpsStep)
    assert nice_of(spec, step) == nice


# -- how much is left ----------------------------------------------------------------------------------


def test_without_limits_blocks_are_the_sites_affair() -> None:
    assert given(decided(tracts(), *ready(1, 2))) == [None, None]


def test_blocks_of_all_submissions_together_are_shared_out() -> None:
    found = decided(tracts(blocks=10), *ready(1, 2, 3, 4), group("defaults", state=READY))
    assert given(found) == [4, 4, 2, None]  # an action has none, and need not wait for any
    assert [entry.group.tract for entry in found if isinstance(entry, Submit)] == [1, 2, 3, None]
    assert waiting(found) == {"limits.blocks"}
    assert [entry.reason for entry in found if isinstance(entry, Submit)][2].endswith("; 2 of 4 blocks")


def test_what_runs_keeps_its_share_until_it_has_finished() -> None:
    held = running(1, remedy=Remedy(blocks=2))
    unlimited = running(2)  # begun before there was a limit
    assert given(decided(tracts(blocks=7), held, unlimited, *ready(3, 4))) == [1]
    over = replace(held, submissions=(replace(held.submissions[0], state=SubmissionState.FINISHED,
                                              outcome=SubmissionOutcome.PARTIAL),))  # fmt: skip
    over = replace(
        over, counts=Counts(failed=1), open_quanta=(open_quanta(Verdict.INFRASTRUCTURE),), state=READY
    )
    # An afterburner gets a share anew.
    assert given(decided(tracts(blocks=7), over, unlimited)) == [3]


def test_jobs_of_the_user_count_whatever_they_are() -> None:
    assert given(decided(tracts(jobs=12), *ready(1, 2, 3), site=JOBS, others=0)) == [4, 4, 1]
    assert given(decided(tracts(jobs=12), *ready(1, 2, 3), site=JOBS, others=6)) == [4]
    found = decided(tracts(jobs=12), *ready(1), group("defaults", state=READY), site=JOBS, others=11)
    # Room for a driver, not for a block beside it.
    assert given(found) == [None]
    assert waiting(found) == {"limits.jobs"}
    assert given(decided(tracts(jobs=12), *ready(1, 2), running(3, driver_job="d"), site=JOBS, others=0)) == [
        4,
        1,
    ]


def test_nobody_is_held_back_by_a_queue_that_nobody_could_look_at() -> None:
    # Then either nothing of it is in Slurm, or Slurm is silent, which is told apart elsewhere.
    assert given(decided(tracts(jobs=3), *ready(1), others=None)) == [4]


def test_a_limit_with_no_room_for_a_single_submission_needs_a_person() -> None:
    (found,) = decided(tracts(jobs=1), *ready(1), site=JOBS, others=0)
    assert isinstance(found, MoveGroup)
    assert found.state is GroupState.NEEDS_REVIEW
    assert "limits.jobs of the campaign is 1" in found.reason
    assert given(decided(tracts(jobs=1), *ready(1), others=0)) == [1]


def test_larger_blocks_and_the_stock_service_have_limits_of_their_own() -> None:
    site = replace(PROCESSES, larger=(Larger(mem_per_node=64, max_blocks=2),))
    grown = ready(
        1,
        submissions=(submission(state=SubmissionState.FINISHED, outcome=SubmissionOutcome.PARTIAL),),
        open_quanta=(open_quanta(Verdict.OUT_OF_MEMORY, memory=1, requested_mb=8000),),
        counts=Counts(failed=1),
    )
    spec = tracts(blocks=9)
    heavy = dict.fromkeys(["step3"], replace(REQUESTS, default_mb=8000))
    known = Situation(drivers={}, requests=heavy, workers=8, now=NOW, site=site)
    assert given(decide(spec, snapshot(*grown), known)) == [2]
    stock = campaign(by_tract(), tracts=["1-9"], wms="stock", limits={"submissions": 9, "blocks": 2})
    assert given(decided(stock, *ready(1, 2, 3))) == [1, 1]


def test_a_driver_that_slurm_takes_no_job_of_for_now_waits_with_all_others() -> None:
    prepared = group("step3", tract=1, submissions=(submission(id=1, driver_job="d"),))
    known = Situation(
        drivers={1: Liveness.UNCLAIMED}, requests={}, workers=8, now=NOW, site=JOBS, no_jobs="full"
    )
    (found,) = decide(tracts(), snapshot(prepared, *ready(2)), known)
    assert found == Wait(group=ready(2)[0], reason="full")
    (found, _) = decide(
        tracts(), snapshot(prepared, *ready(2)), replace(known, no_jobs="", requests={"step3": REQUESTS})
    )
    assert isinstance(found, Launch)


@pytest.mark.parametrize(
    ("room", "wanted", "share"),
    [
        (Headroom(submissions=1), Allotment(blocks=4, jobs=5), Allotment(blocks=4, jobs=5)),
        (Headroom(submissions=0), Allotment(), None),
        (Headroom(submissions=1, blocks=0), Allotment(blocks=4, jobs=4), None),
        (Headroom(submissions=1, blocks=-3), Allotment(jobs=1), Allotment(jobs=1)),
        (Headroom(submissions=1, blocks=2, jobs=9), Allotment(blocks=4, jobs=5), Allotment(blocks=2, jobs=3)),
        (Headroom(submissions=1, blocks=9, jobs=3), Allotment(blocks=4, jobs=5), Allotment(blocks=2, jobs=3)),
        (Headroom(submissions=1, jobs=0), Allotment(jobs=1), None),
        (Headroom(submissions=1, jobs=-2), Allotment(), Allotment()),
    ],
)
def test_a_share_is_what_there_is_room_for(
    room: Headroom, wanted: Allotment, share: Allotment | None
) -> None:
    assert room.share(wanted) == share
