"""Which collections a campaign has, what is said of each, and how that looks on terminals."""

from __future__ import annotations

from dataclasses import replace

import pytest
from domain_help import NOW, action, bps, by_tract, campaign, finished, group, snapshot, submission
from rich.console import Console

from merian_campaign.domain.states import SubmissionOutcome
from merian_campaign.housekeeping.cleaning import REMOVED, CleaningPlan, KeptRun, Removal, RunFacts, RunKind
from merian_campaign.housekeeping.collections_report import (
    cleaning_view,
    collections_json,
    collections_view,
    size_words,
)
from merian_campaign.housekeeping.inventory import CollectionRow, CollectionSummary, Origin, listing, origins

CERTIFY = {
    "input": "runs/night/step1", "output": "DECam/calib", "dataset_type": "bias",
    "begin": "2021-01-01T00:00:00", "end": "2022-01-01T00:00:00",
}  # fmt: skip
SPEC = campaign(
    bps("step1"),
    action("certify", after=["step1"], action="certify-calibrations", arguments=CERTIFY),
    action("defaults", after=["certify"]),
    by_tract("step3", after=["step1"]),
)
CHAIN = "runs/night/step1/all"
SUBMISSIONS = (
    finished(1, finished_at=NOW),
    finished(2, SubmissionOutcome.SUCCEEDED, finished_at=NOW),
    submission(3),
)
STATE = snapshot(group(submissions=SUBMISSIONS))


def facts(name: str, kind: str = "RUN", **changes: object) -> CollectionSummary:
    return CollectionSummary(name=name, kind=kind, **changes)  # type: ignore[arg-type]


def test_inputs_come_first_and_every_collection_says_what_made_it() -> None:
    found = {origin.name: (origin.made_by, origin.outcome) for origin in origins(SPEC, STATE)}
    assert found == {
        "runs/night/step1": ("chain of step1", ""),
        CHAIN: ("chain of step1/all", ""),
        f"{CHAIN}/001": ("step1/all 1", "partial"),
        f"{CHAIN}/002": ("step1/all 2", "succeeded"),
        f"{CHAIN}/003": ("step1/all 3", "prepared"),
        "DECam/calib": ("certified by certify", ""),
        "DECam/defaults": ("chain by defaults", ""),
        "runs/night/step3": ("chain of step3", ""),
    }
    alone = campaign(bps("step1"))
    assert origins(alone, STATE)[0] == Origin(name="DECam/defaults", made_by="input")


def test_generations_come_one_after_the_other_each_with_its_runs() -> None:
    runs = (f"{CHAIN}/001", f"{CHAIN}.g2/002", f"{CHAIN}.g2/003")
    made = tuple(
        finished(number, run_collection=run, generation=1 + (number > 1))
        for number, run in enumerate(runs, start=1)
    )
    found = origins(SPEC, snapshot(group(submissions=made, generation=2)))
    names = [origin.name for origin in found if origin.name.startswith(CHAIN)]
    assert names == [CHAIN, runs[0], f"{CHAIN}.g2", *runs[1:]]
    assert "chain of step1/all, generation 2" in {origin.made_by for origin in found}


def test_runs_of_a_step_that_the_file_has_no_more_are_listed() -> None:
    old = group("old", submissions=(finished(run_collection="runs/night/old/all/001"),))
    assert "runs/night/old/all/001" in {origin.name for origin in origins(SPEC, snapshot(old))}


def rows() -> tuple[CollectionRow, ...]:
    there = {
        "runs/night/step1": facts("runs/night/step1", "CHAINED", children=(f"{CHAIN}/002",)),
        CHAIN: facts(CHAIN, "CHAINED", children=(f"{CHAIN}/002", "DECam/defaults")),
        f"{CHAIN}/002": facts(f"{CHAIN}/002", datasets=12_345, size=2_500_000),
        f"{CHAIN}/003": facts(f"{CHAIN}/003", "", size=10),
        "DECam/calib": facts("DECam/calib", "CALIBRATION", datasets=4),
    }
    kept = KeptRun(step="step1", group="all", number=2, run=f"{CHAIN}/002", reason="ana holds datasets of it")
    plan = CleaningPlan(removals=(), kept=(kept,))
    return listing(origins(SPEC, STATE), there, snapshot=STATE, plan=plan, cleaning={101: REMOVED})


def test_what_is_gone_unknown_or_kept_is_said() -> None:
    notes = {row.facts.name: row.origin.note for row in rows()}
    assert notes == {
        "runs/night/step1": "",
        CHAIN: "",
        f"{CHAIN}/001": "removed",
        f"{CHAIN}/002": "stays: ana holds datasets of it",
        f"{CHAIN}/003": "not registered",
        "DECam/calib": "",
    }


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_sums_what_is_the_campaigns_own(width: int) -> None:
    console = Console(width=width, record=True, file=None)
    with console.capture() as capture:
        console.print(collections_view(rows(), width=width))
    text = capture.get()
    assert max(map(len, text.splitlines())) <= width
    for piece in (
        "    002",
        "1 child",
        "12,345",
        "2.5 MB",
        "calib",
        "(removed)",
        "stays: ana holds datasets",
    ):
        assert piece in text
    assert ("2026-11-22" in text) == (width == 120)


def test_machines_get_numbers() -> None:
    found = {entry["name"]: entry for entry in collections_json("night", rows())["collections"]}
    assert found[f"{CHAIN}/002"]["bytes"] == 2_500_000
    assert found["DECam/calib"]["bytes"] is None
    assert found[f"{CHAIN}/001"]["type"] is None
    assert found[CHAIN]["children"] == [f"{CHAIN}/002", "DECam/defaults"]


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_of_what_may_go_fits(width: int) -> None:
    run = RunFacts(run=f"{CHAIN}/001", kind="RUN", datasets=7, size=123_456, strays=1, stray_size=20)
    removal = Removal(
        kind=RunKind.SUPERSEDED, reason="it holds no datasets", submission_id=101, step="step1", group="all",
        number=1, facts=run,
    )  # fmt: skip
    plan = CleaningPlan(removals=(removal, replace(removal, kind=RunKind.STRAY_FILES)))
    console = Console(width=width)
    with console.capture() as capture:
        console.print(cleaning_view(plan))
    text = capture.get()
    assert max(map(len, text.splitlines())) <= width
    for piece in ("7 datasets", "1 file ", "123.5 kB", "20 B", "2 collections"):
        assert piece in text


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (None, ""),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (2_340_000, "2.3 MB"),
        (5 * 10**18, "5000.0 PB"),
    ],
)
def test_sizes_are_in_powers_of_a_thousand(size: int | None, words: str) -> None:
    assert size_words(size) == words
