"""What a tick makes of what failure rules have done: every remedy acts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from domain_help import NOW, REQUESTS, bps, campaign, finished, group, open_quanta, situation, snapshot

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.execution.quanta import OpenQuanta
from merian_campaign.domain.failures.remedy import describe_remedy, is_retryable
from merian_campaign.domain.failures.rules import RETURNED
from merian_campaign.domain.record.snapshot import GroupView, Remedy, Snapshot
from merian_campaign.domain.spec.resources import Afterburner
from merian_campaign.domain.states import GroupState, QuantumState, Verdict
from merian_campaign.domain.tick.decide import decide
from merian_campaign.domain.tick.decisions import Decision, MoveGroup, PauseCampaign, Submit
from merian_campaign.domain.tick.due_notices import notices_of
from merian_campaign.domain.tick.notices import Activity, NoticeKind, NoticeOptions

SPEC = campaign(bps("step1"))
OOM, WALLTIME, ALGORITHM = Verdict.OUT_OF_MEMORY, Verdict.WALLTIME, Verdict.ALGORITHM


def ruled(remedy: str, verdict: Verdict = Verdict.INFRASTRUCTURE, **changes: object) -> OpenQuanta:
    return open_quanta(verdict, remedy=remedy, rule="night rule", **changes)


def after(*entries: OpenQuanta, before: Remedy | None = None, succeeded: int = 90) -> GroupView:
    failed = sum(entry.number for entry in entries if entry.state is QuantumState.FAILED)
    blocked = sum(entry.number for entry in entries if entry.state is QuantumState.BLOCKED)
    return group(
        submissions=(finished(1, remedy=before or Remedy(), finished_at=NOW),),
        open_quanta=entries,
        counts=Counts(failed=failed, blocked=blocked, succeeded=succeeded),
    )


def only(view: GroupView, **changes: object) -> Decision:
    (found,) = decide(SPEC, replace(snapshot(view), **changes), situation())  # type: ignore[arg-type]
    return found


def outcome(*entries: OpenQuanta) -> MoveGroup:
    found = only(after(*entries))
    assert isinstance(found, MoveGroup)
    return found


def remedy(*entries: OpenQuanta, before: Remedy | None = None) -> Remedy:
    found = only(replace(after(*entries, before=before), state=GroupState.READY))
    assert isinstance(found, Submit)
    return found.remedy


def test_same_again_runs_again_what_its_verdict_would_not() -> None:
    assert outcome(open_quanta(ALGORITHM)).state is GroupState.NEEDS_REVIEW
    assert outcome(ruled("same_again", ALGORITHM)).state is GroupState.READY
    assert remedy(ruled("same_again", ALGORITHM)) == Remedy()
    assert outcome(ruled("same_again", ALGORITHM, charged=3)).state is GroupState.NEEDS_REVIEW


def test_same_again_raises_no_memory_and_is_counted_like_any_other_try() -> None:
    assert remedy(ruled("same_again", OOM, charged=1, memory=1)) == Remedy()
    assert outcome(ruled("same_again", OOM, charged=3, memory=3)).state is GroupState.NEEDS_REVIEW
    assert outcome(open_quanta(OOM, charged=3, memory=3)).state is GroupState.READY


def test_more_memory_is_what_memory_failures_get() -> None:
    assert remedy(ruled("more_memory", OOM, memory=1)) == remedy(open_quanta(OOM, memory=1))


@pytest.mark.parametrize(("seconds", "minutes"), [(600.0, 20), (601.0, 21), (None, None)])
def test_longer_is_twice_the_time(seconds: float | None, minutes: int | None) -> None:
    found = remedy(ruled("longer", WALLTIME, seconds=seconds))
    assert found.walltime == (() if minutes is None else (("calibrate", minutes),))


def test_time_that_was_given_once_stays() -> None:
    before = Remedy(walltime=(("calibrate", 90), ("isr", 5)))
    assert remedy(ruled("longer", WALLTIME, seconds=60.0), before=before).walltime == before.walltime


@pytest.mark.parametrize(("had", "workers"), [(None, 4), (4, 2), (1, 1)])
def test_fewer_workers_are_half(had: int | None, workers: int) -> None:
    assert remedy(ruled("fewer_workers"), before=Remedy(workers=had)).workers == workers


def test_a_node_is_left_out_from_then_on_by_the_name_that_slurm_has() -> None:
    found = remedy(ruled("leave_out_node", hosts=("n7.cluster", "n8")), before=Remedy(exclude=("n1",)))
    assert found.exclude == ("n1", "n7", "n8")
    assert "not on n1, n7, n8" in describe_remedy(found)


@pytest.mark.parametrize(
    ("up_to", "number", "state"),
    [
        ("0.01", 1, GroupState.DONE),
        ("0.01", 2, GroupState.NEEDS_REVIEW),
        ("2", 2, GroupState.DONE),
        ("0", 1, GroupState.NEEDS_REVIEW),
    ],
)
def test_accept_goes_on_without_so_many(up_to: str, number: int, state: GroupState) -> None:
    found = outcome(ruled(f"accept {up_to}", ALGORITHM, number=number, of=100))
    assert found.state is state
    assert ("accepted by rule night rule" in found.reason) is (state is GroupState.DONE)


def test_the_budget_of_a_rule_is_of_all_that_it_matches() -> None:
    entries = [ruled("accept 2", ALGORITHM, number=1, of=100, charged=charged) for charged in (1, 2, 3)]
    assert outcome(*entries[:2]).state is GroupState.DONE
    assert outcome(*entries).state is GroupState.NEEDS_REVIEW


def test_what_is_behind_the_accepted_goes_with_it_and_what_may_be_cured_is_cured_first() -> None:
    accepted = ruled("accept 1", ALGORITHM, of=100)
    behind = open_quanta(task="measure", state=QuantumState.BLOCKED, number=4)
    assert "with 4 behind them" in outcome(accepted, behind).reason
    assert outcome(accepted, open_quanta(Verdict.INFRASTRUCTURE, task="isr")).state is GroupState.READY
    found = outcome(accepted, open_quanta(ALGORITHM, task="isr"))
    assert (found.state, found.reason) == (GroupState.NEEDS_REVIEW, "isr: algorithm x1")


def test_block_is_never_tried_again() -> None:
    assert outcome(ruled("block")).state is GroupState.NEEDS_REVIEW
    assert outcome(ruled("block", Verdict.NODE_LOST)).state is GroupState.NEEDS_REVIEW


def test_a_rule_pauses_the_campaign_until_a_person_lets_it_go_on() -> None:
    entry = ruled("pause_campaign", exception_type="InternalError", exception_message="Remote I/O error")
    view = replace(after(entry), state=GroupState.NEEDS_REVIEW)
    found = only(view)
    assert isinstance(found, PauseCampaign)
    assert found.reason == "storm: rule night rule: step1/all: calibrate: InternalError: Remote I/O error"
    resumed = replace(snapshot(view).campaign, resumed_at=NOW + timedelta(minutes=1))
    assert decide(SPEC, replace(snapshot(view), campaign=resumed), situation()) == ()


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_remedy_of_a_later_release_is_none(attempts: int) -> None:
    entry = ruled("shrug 3", charged=attempts)
    assert is_retryable(entry, policy=Afterburner(), requests=REQUESTS) is (attempts < 3)


def told(view: Snapshot) -> list[tuple[NoticeKind, str]]:
    found = notices_of(view, activity=Activity(moved_at=NOW), options=NoticeOptions(), now=NOW)
    return [(notice.kind, notice.key) for notice in found]


def test_a_failure_that_was_solved_and_is_back_is_told_once_a_release() -> None:
    entry = open_quanta(rule="photocal" + RETURNED)
    first, second = (group(key=key, open_quanta=(entry,), submissions=(finished(1),)) for key in "ab")
    (found,) = told(snapshot(first, second))
    assert found[0] is NoticeKind.RETURNED
    newer = replace(first, submissions=(finished(2, versions_sha="f00"),))
    assert told(snapshot(newer)) not in ([], [found])
    assert told(snapshot(group(open_quanta=(open_quanta(rule="photocal"),)))) == []
