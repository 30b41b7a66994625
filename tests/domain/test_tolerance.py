"""Losses that a step takes without asking a person."""

from __future__ import annotations

from typing import Any

import pytest
from domain_help import bps, campaign, finished, group, open_quanta, situation
from pydantic import ValidationError

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.execution.quanta import OpenQuanta
from merian_campaign.domain.spec.tolerance import Tolerance, named
from merian_campaign.domain.states import GroupState, QuantumState, Verdict
from merian_campaign.domain.tick.decisions import MoveGroup
from merian_campaign.domain.tick.group_outcome import group_outcome

ALGORITHM = Verdict.ALGORITHM


def failed(number: int, *, task: str = "deblend", tolerated: bool = False) -> OpenQuanta:
    return open_quanta(ALGORITHM, task=task, number=number, tolerated=tolerated)


def behind(number: int, *, task: str = "deblend", tolerated: bool = False) -> OpenQuanta:
    return open_quanta(
        task="measure", state=QuantumState.BLOCKED, number=number, tolerated=tolerated,
        behind_task=task, behind_verdict=ALGORITHM,
    )  # fmt: skip


def outcome(*entries: OpenQuanta, tolerate: list[dict[str, Any]], **step: object) -> MoveGroup:
    spec = campaign(bps("step1", tolerate=tolerate, **step))
    lost = {state: sum(e.number for e in entries if e.state == state) for state in ("failed", "blocked")}
    here = group(counts=Counts(succeeded=100 - sum(lost.values()), **lost), open_quanta=entries,
                 submissions=(finished(),))  # fmt: skip
    return group_outcome(spec, here, situation())


@pytest.mark.parametrize(
    ("entries", "tolerate", "state"),
    [
        ([failed(3), behind(5)], {"task": "deblend", "verdict": "algorithm", "count": 3}, "done"),
        ([failed(3), behind(5)], {"task": "deblend", "count": 2}, "needs_review"),
        ([failed(3)], {"verdict": "algorithm", "fraction": 0.03}, "done"),
        ([failed(3)], {"verdict": "algorithm", "fraction": 0.02}, "needs_review"),
        ([failed(3)], {"verdict": "configuration", "count": 9}, "needs_review"),
        ([failed(3), failed(1, task="isr")], {"task": "deblend", "count": 3}, "needs_review"),
        ([failed(3), behind(2, task="isr")], {"task": "deblend", "count": 3}, "needs_review"),
        ([failed(3, tolerated=True), behind(1, tolerated=True)], {"where": {"detector": 31}}, "done"),
        ([failed(3, tolerated=True), failed(1)], {"where": {"detector": 31}}, "needs_review"),
    ],
)
def test_what_a_step_tolerates_asks_nobody(
    entries: list[OpenQuanta], tolerate: dict[str, Any], state: str
) -> None:
    assert outcome(*entries, tolerate=[tolerate]).state is GroupState(state)


def test_it_says_what_was_lost_and_by_what_leave() -> None:
    found = outcome(
        failed(2), failed(1, task="isr", tolerated=True),
        tolerate=[{"task": "deblend", "count": 3}, {"where": {"detector": [1]}}],
    )  # fmt: skip
    assert found.reason == (
        "3 of 100 lost, 3 of them tolerated: 1 named in advance, 2 of deblend tolerated up to 3"
    )


def test_what_is_tolerated_uses_up_no_loss_budget() -> None:
    both = (failed(3), failed(1, task="isr"))
    assert outcome(*both, tolerate=[{"task": "deblend", "count": 3}], loss_budget=0.01).state == "done"
    # More than it allows, and none of them is: then all count.
    assert outcome(failed(4), tolerate=[{"task": "deblend", "count": 3}], loss_budget=0.03).state != "done"


def test_what_may_be_cured_is_tried_again_first() -> None:
    found = outcome(
        open_quanta(Verdict.INFRASTRUCTURE, number=2), tolerate=[{"task": "calibrate", "count": 5}]
    )
    assert found.state is GroupState.READY


def test_data_ids_are_named_by_ranges_lists_or_one_value() -> None:
    leave = Tolerance.model_validate({"where": {"detector": [31, "60-62"], "band": "N540"}, "task": "isr"})
    assert leave.where == {"detector": (31, 60, 61, 62), "band": ("N540",)}
    assert Tolerance.model_validate(leave.model_dump(mode="json")) == leave
    told = {"task": "isr", "verdict": "algorithm"}
    assert named([leave], dimensions={"detector": 61, "band": "N540", "visit": 4}, **told)
    assert not named([leave], dimensions={"detector": 63, "band": "N540"}, **told)
    assert not named([leave], dimensions={"detector": 61}, **told)
    assert not named([leave], dimensions={"detector": 61, "band": "N540"}, task="fit", verdict="algorithm")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"count": 3}, "say of which quanta"),
        ({"task": "isr"}, "say how many"),
        ({"task": "isr", "count": 3, "fraction": 0.1}, "say how many"),
        ({"where": {"detector": 3}, "count": 3}, "leave count and fraction out"),
        ({"where": {"colour": "red"}}, "it may name instrument"),
        ({"where": {"detector": []}}, "detector: give 1"),
        ({"task": "isr", "verdict": "bad luck", "count": 1}, "verdict"),
        ({"task": "isr", "fraction": 1.5}, "fraction"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Tolerance.model_validate(wrong)
