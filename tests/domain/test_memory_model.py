"""Requests that are learned from what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
from domain_help import bps, campaign, finished, group, open_quanta, situation, snapshot
from hypothesis import given
from hypothesis import strategies as st

from merian_campaign.domain.failures.remedy import ClusterRequest, RequestTable, next_remedy, with_asked
from merian_campaign.domain.record.snapshot import GroupView, Remedy
from merian_campaign.domain.resources.input_requests import request_of, requests_from, requests_text
from merian_campaign.domain.resources.memory_model import (
    FEWEST_TO_LOWER,
    FEWEST_TO_RAISE,
    MOST_OVER,
    MemoryBin,
    MemoryForecast,
    forecast,
    forecasts,
    with_learned,
)
from merian_campaign.domain.spec import BpsStep
from merian_campaign.domain.spec.resources import Afterburner
from merian_campaign.domain.states import GroupState, Verdict
from merian_campaign.domain.tick.decide import decide
from merian_campaign.domain.tick.decisions import Submit

MANY = FEWEST_TO_LOWER


def used(
    peak: int, number: int = MANY, *, more: bool = False, inputs: int = 0, datasets: int = 0
) -> MemoryBin:
    return MemoryBin(
        peak_mb=peak,
        number=number,
        seconds=number * 60.0,
        needed_more=more,
        inputs=inputs,
        datasets=datasets,
    )


def learned(
    *bins: MemoryBin, base: int = 4096, limit: int = 100_000, may_lower: bool = True
) -> MemoryForecast:
    return forecast("isr", bins, base_mb=base, limit_mb=limit, multiplier=2.0, may_lower=may_lower)


def test_many_that_use_less_get_less_with_headroom() -> None:
    found = learned(used(1000))
    assert (found.request_mb, found.measured, found.fits, found.learned) == (1100, MANY, 1.0, True)
    assert found.wasted == pytest.approx(1.63, abs=0.01)


def test_few_get_what_the_files_say() -> None:
    found = learned(used(1000, MANY - 1))
    assert (found.request_mb, found.learned) == (4096, False)


def test_what_a_person_asked_for_is_only_raised() -> None:
    assert learned(used(1000), may_lower=False).request_mb == 4096
    assert learned(used(8000), may_lower=False).request_mb == 8800


def test_more_than_three_in_ten_that_needed_more_raise_it_for_all() -> None:
    def of(more: int) -> int:
        return learned(used(3000, FEWEST_TO_RAISE - more), used(4096, more, more=True)).request_mb

    assert [of(more) for more in (0, 3)] == [4096, 4096]
    assert of(4) == int(4096 * 1.25 * 1.1)
    assert learned(used(3000, 5), used(4096, 4, more=True)).request_mb == 4096


def test_a_few_large_ones_are_left_to_a_second_attempt_when_that_is_cheaper() -> None:
    found = learned(used(1000, 980), used(20_000, 20))
    assert (found.request_mb, found.fits) == (1100, 0.98)
    assert found.retries == pytest.approx(2)
    assert learned(used(1000, 790), used(20_000, 210)).request_mb == 22_000
    assert learned(used(10_000, 900), used(12_000, 100)).request_mb == 13_200


def test_one_that_ran_out_and_succeeded_since_is_counted_once() -> None:
    assert learned(used(1000), used(5000, 5), used(4096, 5, more=True)).measured == MANY + 5
    assert learned(used(1000), used(4096, 5, more=True)).measured == MANY + 5


def test_nothing_is_asked_for_that_no_node_has() -> None:
    assert learned(used(90_000), limit=64_000).request_mb == 64_000


def test_where_exposures_explain_the_spread_a_group_asks_by_its_own() -> None:
    found = learned(used(1000, inputs=16), used(4000, inputs=64), used(16_000, inputs=256))
    assert found.by_exposures == ((16, 1100), (64, 4400), (256, 17_600))
    asked = [found.request_for(exposures) for exposures in (1, 16, 63, 64, 300, 511, 1024, 100_000, 0)]
    assert asked == [1100, 1100, 1100, 4400, 17_600, 17_600, 35_200, 100_000, 17_600]
    assert found.fits == 1.0
    assert found.wasted < learned(used(1000), used(4000), used(16_000)).wasted


def test_where_a_quantums_own_inputs_explain_more_it_asks_by_those() -> None:
    bins = (
        used(1000, inputs=16, datasets=4),
        used(4000, inputs=16, datasets=8),
        used(9000, inputs=64, datasets=32),
    )
    found = learned(*bins)
    assert (found.by_exposures, found.by_inputs) == ((), ((4, 1100), (8, 4400), (32, 9900)))
    assert (found.request_for(16), found.request_for(0), found.fits) == (9900, 9900, 1.0)
    alike = forecast("isr", bins, base_mb=4096, limit_mb=99_999, multiplier=2.0, by_inputs=False)
    assert (alike.by_exposures, alike.by_inputs) == (((16, 4400), (64, 9900)), ())
    assert found.wasted < alike.wasted

    first = with_learned(Remedy(), [found], group=group("step3"), requests=RequestTable())
    assert first == Remedy(memory_mb=(("isr", 9900),), by_inputs=(("isr", found.by_inputs),))
    asked = with_asked(first, Remedy(memory_mb=(("isr", 2000),)))
    assert (asked.memory_mb, asked.by_inputs) == ((("isr", 9900),), ())


def test_a_quantum_that_ran_out_of_its_own_request_is_given_more_than_that() -> None:
    own = (("isr", ((1, 1000), (8, 9900))), ("warp", ((1, 8),)))
    asked = Remedy(memory_mb=(("isr", 9900), ("warp", 800)), by_inputs=own)
    (step,) = campaign(bps("step1")).steps
    assert isinstance(step, BpsStep)

    def isr(requested: int) -> Remedy:
        ran_out = open_quanta(Verdict.OUT_OF_MEMORY, task="isr", requested_mb=requested, memory=1)
        again = group(submissions=(finished(remedy=asked),), open_quanta=(ran_out,))
        return next_remedy(again, step=step, policy=Afterburner(), requests=RequestTable(), workers=8)

    assert dict(isr(1000).memory_mb) == {"isr": 9900, "warp": 800}, "others of the task need as much"
    assert dict(isr(9900).memory_mb) == {"isr": 19_800, "warp": 800}
    assert isr(1000).by_inputs == own[1:]


def test_requests_by_inputs_as_the_configuration_has_them() -> None:
    given = (("isr", ((1, 1000), (8, 9900))), ("a:b", ((4, 7),)))
    text = requests_text(given)
    assert (text, dict(requests_from(text))) == ("isr=1:1000,8:9900 a:b=4:7", dict(given))
    assert [request_of(given[0][1], inputs=inputs) for inputs in (0, 1, 7, 8, 999)] == [1000] * 3 + [9900] * 2
    for bad in ("isr", "isr=", "isr=1", "isr=1:x", "isr=-1:4", "=1:4"):
        with pytest.raises(ValueError, match="campaignMemory"):
            requests_from(bad)


def test_where_they_explain_nothing_all_ask_alike() -> None:
    assert learned(used(1000, inputs=16), used(1050, inputs=64)).by_exposures == ()
    assert learned(used(1000, inputs=16), used(9000)).by_exposures == ()


def test_classes_of_few_go_with_their_neighbours() -> None:
    bins = [used(1000, inputs=1), used(1000, 99, inputs=2), used(9000, 99, inputs=4), used(9000, 9, inputs=8)]
    assert learned(*bins).by_exposures == ((1, 1100), (2, 9900))
    assert learned(used(1000, inputs=1), used(9000, 99, inputs=64)).by_exposures == ()


BINS = st.lists(
    st.builds(
        MemoryBin,
        peak_mb=st.integers(1, 500_000),
        number=st.integers(1, 500),
        seconds=st.floats(0, 1e6),
        inputs=st.sampled_from([0, 1, 2, 4, 64]),
        needed_more=st.booleans(),
    ),
    min_size=1,
    max_size=20,
)


@given(bins=BINS, base=st.integers(1, 500_000), limit=st.integers(1, 500_000), may_lower=st.booleans())
def test_whatever_was_measured(bins: list[MemoryBin], base: int, limit: int, may_lower: bool) -> None:
    found = learned(*bins, base=base, limit=limit, may_lower=may_lower)
    assert 1 <= found.request_mb <= max(limit, min(base, 256))
    assert may_lower or found.request_mb >= min(base, limit)
    assert found.measured <= sum(entry.number for entry in bins)
    assert 0 <= found.fits <= 1
    assert found.wasted >= 0
    if found.measured >= MANY and found.request_for(0) < limit:
        assert found.fits >= 1 - MOST_OVER


STEP = bps("step1", resources={"isr": {"memory": 3000}, "calibrate": {"memory_max": 9000}})


def test_the_requests_of_a_step() -> None:
    step = campaign(STEP).steps[0]
    assert isinstance(step, BpsStep)
    table = RequestTable(
        by_task={"isr": 3000}, maximum_mb={"calibrate": 9000}, site_mb=64_000, multipliers={"fixed": 1.0},
        clusters=(ClusterRequest(label="c", tasks=("warp",), memory_mb=5000),),
    )  # fmt: skip
    measured = {task: [used(10_000)] for task in ("calibrate", "fixed", "warp")} | {
        "isr": [used(500)],
        "none": [],
    }
    found = {entry.task: entry for entry in forecasts(step, measured, policy=Afterburner(), requests=table)}
    requests = {task: entry.request_mb for task, entry in found.items()}
    assert requests == {"isr": 3000, "calibrate": 9000, "warp": 11_000}
    lower = forecasts(step, {"other": [used(500)]}, policy=Afterburner(), requests=table, only_raise=True)
    assert [entry.request_mb for entry in lower] == [2048]


def entry(request: int, task: str = "calibrate") -> MemoryForecast:
    return MemoryForecast(task=task, request_mb=request, measured=MANY, fits=1.0, wasted=0.0, learned=True)


def test_a_first_submission_may_ask_for_less_and_a_later_one_never_does() -> None:
    table, first, later = RequestTable(default_mb=2048), group(), group(submissions=(finished(1),))

    def asked(request: int, view: GroupView) -> dict[str, int]:
        return dict(with_learned(Remedy(), [entry(request)], group=view, requests=table).memory_mb)

    assert asked(600, first) == {"calibrate": 600}
    assert asked(600, later) == {}
    assert asked(5000, later) == {"calibrate": 5000}
    raised = Remedy(memory_mb=(("calibrate", 8000),), workers=2)
    assert with_learned(raised, [entry(5000)], group=later, requests=table) == raised


def test_a_tick_submits_with_what_was_learned_and_goes_on_from_there() -> None:
    spec = campaign(bps("step1"))
    given_ = replace(situation(), learned={"step1": (entry(600), entry(700, "isr"))})
    (submit,) = decide(spec, snapshot(group(state=GroupState.READY)), given_)
    assert isinstance(submit, Submit)
    assert submit.remedy.memory_mb == (("calibrate", 600), ("isr", 700))
    assert submit.reason.endswith("2 tasks ask for what was measured")
    failed = open_quanta(Verdict.OUT_OF_MEMORY, memory=1, requested_mb=600)
    view = group(
        state=GroupState.READY, submissions=(finished(1, remedy=submit.remedy),), open_quanta=(failed,)
    )
    (again,) = decide(spec, snapshot(view), given_)
    assert isinstance(again, Submit)
    assert again.remedy.memory_mb == (("calibrate", 1200), ("isr", 700))
    given_ = replace(given_, learned={"step1": (entry(1500), entry(500, "isr"))})
    (again,) = decide(spec, snapshot(view), given_)
    assert isinstance(again, Submit)
    assert again.remedy.memory_mb == (("calibrate", 1500), ("isr", 700))
