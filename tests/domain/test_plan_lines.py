"""The plan of many groups on a terminal: what is done with all of them in the lines of a few."""

from __future__ import annotations

from domain_help import group, over, snapshot

from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.domain.states import GroupState
from merian_campaign.domain.tick.decisions import MoveGroup
from merian_campaign.reports.plan import plan_json, plan_lines
from merian_campaign.services.tick_report import Plan


def made(number: int) -> Plan:
    """A plan in which as many groups of a step become ready, and as many of the next one wait."""
    first = [_group("step3", tract) for tract in range(9000, 9000 + number)]
    then = [_group("step4", tract) for tract in range(9000, 9000 + number)]
    moves = tuple(MoveGroup(group=one, state=GroupState.READY, reason="all is there") for one in first)
    return Plan(decisions=moves, snapshot=snapshot(*first, *then), reasons={}, looks=False)


def _group(step: str, tract: int) -> GroupView:
    return group(
        step,
        f"tract{tract}",
        selection=over("tract", tract),
        state=GroupState.WAITING,
        reason="waits for its like",
    )


def test_where_all_fit_each_has_its_line() -> None:
    assert len(plan_lines(made(40))) == 80


def test_of_many_with_the_same_to_do_the_first_are_named_and_the_others_counted() -> None:
    assert plan_lines(made(40), each=2) == [
        "step3/tract9000: becomes ready (all is there)",
        "step3/tract9001: becomes ready (all is there)",
        "step3: 38 more groups: becomes ready",
        "step4/tract9000: stays waiting (waits for its like)",
        "step4/tract9001: stays waiting (waits for its like)",
        "step4: 38 more groups: stays waiting",
    ]
    # One that is left would take no less room.
    assert plan_lines(made(3), each=2) == plan_lines(made(3))
    assert len(plan_json(made(40))["actions"]) == 40
