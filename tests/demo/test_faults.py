"""Faults strike the quanta they are configured for, really, and leave no trace once overcome."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from demo_chain import DEFAULTS, DRP_STEPS, OUTPUT, Step, Survey, fault, in_child
from demo_compare import compare_collections
from demo_count import QuantumCount, count_quanta
from lsst.daf.butler import Butler
from lsst.pipe.base import RepeatableQuantumError

from merian_campaign.demo.faults import Fault, InjectedAlgorithmError, TransientError, parse_data_id
from merian_campaign.demo.tasks.calibration import IsrConfig

STEPS = {step.name: step for step in DRP_STEPS}
ONE_ISR = replace(STEPS["step1"], pipeline="DRP-Merian.yaml#isr", where="exposure = 970612 AND detector = 2")


def _run_isr(survey: Survey, output: str, *options: str, more_megabytes: int | None = None) -> int:
    """Run a single quantum in a child, so that a fault may do to its process what it likes."""
    step = replace(ONE_ISR, output=output)
    run = partial(survey.run, step, *options, name=output.replace("/", "-"))
    return in_child(run, more_megabytes=more_megabytes)


def _isr_succeeded(survey: Survey, output: str) -> bool:
    with Butler.from_config(str(survey.repository)) as butler:
        return bool(butler.query_datasets("isr_metadata", collections=output, explain=False))


def test_a_memory_fault_needs_the_memory(survey: Survey) -> None:
    options = fault("isr", Kind="memory", DataId="exposure:970612,detector:2", Megabytes=900)
    assert _run_isr(survey, "u/memory", *options, more_megabytes=500) == 1
    assert not _isr_succeeded(survey, "u/memory")
    assert _run_isr(survey, "u/memory", *options, more_megabytes=1800) == 0
    assert _isr_succeeded(survey, "u/memory")


def test_a_signal_fault_kills_the_process_once(survey: Survey, ledger: Path) -> None:
    options = fault("isr", Kind="signal", DataId="exposure:970612,detector:2", Ledger=ledger)
    assert _run_isr(survey, "u/signal", *options) == -9
    assert not _isr_succeeded(survey, "u/signal")
    assert _run_isr(survey, "u/signal", *options) == 0
    assert _isr_succeeded(survey, "u/signal")


def test_a_fault_leaves_other_quanta_alone(survey: Survey) -> None:
    options = fault("isr", Kind="algorithm", DataId="exposure:970612,detector:1")
    assert _run_isr(survey, "u/other", *options) == 0


def test_an_algorithm_error_blocks_its_dependants_only(survey: Survey) -> None:
    step = replace(STEPS["step3_9814"], inputs=(OUTPUT, DEFAULTS), output="u/algorithm")
    options = fault("deblend", Kind="algorithm", DataId="tract:9814,patch:1")
    assert survey.run(step, *options, name="algorithm").exit_code != 0
    counts = count_quanta(repository=survey.repository, graphs=[survey.graphs["algorithm"]])
    missing = {label: n.expected - n.succeeded for label, n in counts.items() if n.expected != n.succeeded}
    assert missing == {
        "deblend": 1,
        "measure": 1,
        "mergeMeasurements": 1,
        "forcedPhotCoadd": 1,
        "transformObjectTable": 1,
        "consolidateObjectTable": 1,
    }
    assert counts["deblend"] == QuantumCount(expected=2, succeeded=1)


def test_a_reduction_that_overcame_faults_ends_with_the_same_values(survey: Survey, ledger: Path) -> None:
    output = "DECam/runs/merian/faults"
    faulty = [replace(step, output=output) for step in DRP_STEPS]
    options = fault("characterizeImage", Kind="once", DataId="visit:971020,detector:2", Ledger=ledger)
    assert _fails_then_works(survey, faulty[0], options) == 3
    for step in faulty[1:]:
        survey.run_or_fail(step, name=f"faulty-{step.name}")
    assert compare_collections(repository=survey.repository, first=OUTPUT, second=output) == []


def _fails_then_works(survey: Survey, step: Step, options: list[str]) -> int:
    """Run a step twice, and return how many quanta the first run left for the second."""
    assert survey.run(step, *options, name="first").exit_code != 0
    survey.run_or_fail(step, *options, "--skip-existing-in", step.output, name="second")
    counts = count_quanta(repository=survey.repository, graphs=[survey.graphs["second"]])
    return sum(count.succeeded for count in counts.values())


def test_a_transient_error_comes_once_a_quantum(ledger: Path) -> None:
    once = Fault(kind="once", data_id="visit=1", megabytes=0, ledger=str(ledger))
    with pytest.raises(TransientError):
        once.strike(label="isr", data_id={"visit": 1, "detector": 2})
    once.strike(label="isr", data_id={"visit": 1, "detector": 2})
    with pytest.raises(TransientError):
        once.strike(label="isr", data_id={"visit": 1, "detector": 3})


def test_an_algorithm_error_comes_every_time() -> None:
    always = Fault(kind="algorithm", data_id="visit=1", megabytes=0, ledger="")
    for _ in range(2):
        with pytest.raises(InjectedAlgorithmError) as caught:
            always.strike(label="isr", data_id={"visit": 1})
    assert isinstance(caught.value, RepeatableQuantumError)
    assert caught.value.metadata == {"usable_sources": 0}


@pytest.mark.parametrize("text", ["visit:1,detector:2", "visit=1,detector=2", " visit : 1 , detector=2 "])
def test_data_ids_are_read(text: str) -> None:
    assert parse_data_id(text) == {"visit": "1", "detector": "2"}


@pytest.mark.parametrize("text", ["visit", "visit=", "=1", "visit=1,visit=2", "visit 1"])
def test_bad_data_ids_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Cannot read"):
        parse_data_id(text)


def test_an_empty_data_id_matches_nothing() -> None:
    assert not Fault(kind="algorithm", data_id="", megabytes=0, ledger="").matches({"visit": 1})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"faultKind": "once", "faultDataId": "visit:1"}, "faultLedger"),
        ({"faultKind": "memory", "faultDataId": "visit:1"}, "faultMegabytes"),
        ({"faultKind": "algorithm", "faultDataId": "visit"}, "Cannot read"),
    ],
)
def test_a_fault_that_cannot_work_is_refused(fields: dict[str, str], message: str) -> None:
    config = IsrConfig()
    config.update(**fields)
    with pytest.raises(ValueError, match=message):
        config.validate()
