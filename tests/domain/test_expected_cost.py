"""What the next submission of a group is expected to cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from domain_help import NOW, finished, group

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.resources.block_shape import BlockShape
from merian_campaign.domain.resources.core_hours import Price
from merian_campaign.domain.resources.expected_cost import Expected, expected_cost, likes
from merian_campaign.domain.states import GroupState, SubmissionOutcome


def ran(number: int, *, hours: float, outcome: SubmissionOutcome = SubmissionOutcome.PARTIAL) -> object:
    return finished(number, outcome, created_at=NOW, finished_at=NOW + timedelta(hours=hours))


DONE = [
    group(
        "step3", tract=n, state=GroupState.DONE, counts=Counts(succeeded=100 * n),
        submissions=(ran(1, hours=n), ran(2, hours=0.5)),
    )
    for n in (1, 2, 3)
]  # fmt: skip
COSTS = {f"step3/tract{n}": Price(quanta=100 * n, core_hours=50.0 * n, gb_hours=200.0 * n) for n in (1, 2, 3)}


def test_a_group_without_a_graph_costs_what_its_likes_do() -> None:
    new = group("step3", tract=9, state=GroupState.READY)
    found = expected_cost(new, groups=[*DONE, new], costs=COSTS)
    assert found == Expected(quanta=200, core_hours=100.0, gb_hours=400.0, hours=2.0, estimated=True)
    assert found.in_words() == "some 200 quanta, 100.00 core-hours, 400.00 GB-hours, about 2.0 h"
    assert found.to_json()["estimated"] is True


def test_an_afterburner_costs_what_is_left_and_is_as_long_as_afterburners() -> None:
    some = group("step3", tract=9, counts=Counts(succeeded=94, failed=6), submissions=(ran(1, hours=4.0),))
    found = expected_cost(some, groups=[*DONE, some], costs=COSTS)
    assert found == Expected(quanta=6, core_hours=3.0, gb_hours=12.0, hours=0.5, estimated=False)
    assert found.in_words() == "6 quanta, 3.00 core-hours, 12.00 GB-hours, about 30 min"
    small = BlockShape(nodes=1, max_blocks=1, cores=6, workers=6, mem_mb=9000, shared_mb=7000, share=0.1)
    cut = expected_cost(some, groups=[*DONE, some], costs=COSTS, shape=small)
    assert cut.in_words().endswith("about 30 min, in a block of 6 cores (3.00 core-hours)")
    assert (cut.to_json()["block_cores"], cut.to_json()["block_core_hours"]) == (6, 3.0)
    whole = expected_cost(some, groups=[*DONE, some], costs=COSTS, shape=replace(small, share=1.0))
    assert whole == found
    redo = expected_cost(some, groups=[*DONE, some], costs=COSTS, anew=True)
    assert (redo.quanta, redo.core_hours) == (100, 50.0)


def test_where_nothing_has_run_nothing_is_said() -> None:
    lost = ran(1, hours=9.0, outcome=SubmissionOutcome.LOST)
    new = group("step3", tract=9, state=GroupState.READY, submissions=(lost,))
    found = expected_cost(new, groups=[new], costs={})
    assert found == Expected(quanta=None, core_hours=None, gb_hours=None, hours=None, estimated=False)
    assert found.in_words() == ""


def test_the_latest_groups_that_are_done_tell_it() -> None:
    many = [
        group(
            "step3", tract=n, state=GroupState.DONE, counts=Counts(succeeded=1),
            submissions=(finished(1, id=1000 - n),),
        )
        for n in range(9)
    ]  # fmt: skip
    assert likes([*many, group("step3", tract=99)], steps=["step3", "step3", "step4"]) == [
        f"step3/tract{n}" for n in (4, 3, 2, 1, 0)
    ]
