"""Cleaning a real butler repository by what a real tracking database says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from house_help import INSTRUMENT, NOW, VISITS, House, chain, put
from lsst.daf.butler import Butler, CollectionType, Timespan

from merian_campaign.domain.errors import BusyError, UnavailableError
from merian_campaign.domain.states import SubmissionOutcome as Outcome
from merian_campaign.housekeeping.cleaning import REMOVING, ForbiddenError, RunKind
from merian_campaign.store.server import locks

OTHER = "runs/readers/all"


def fill(house: House) -> None:
    """Three submissions: the second did all of the first again; the third died before anything was ingested.

    The chain of a later step's group has them too, as a graph builder leaves it, and stray files lie about.
    """
    first, second = house.run(1), house.run(2)
    house.submit(Outcome.PARTIAL)
    house.submit(Outcome.SUCCEEDED)
    house.submit(Outcome.LOST)
    with house.butler() as butler:
        put(butler, first, *VISITS[:2])
        put(butler, second, *VISITS)
        chain(butler, house.step, second, first)
        chain(butler, f"{house.step}/all", second, first, "DECam/raw/all")
        chain(butler, OTHER, second, first, "DECam/raw/all")
    dead = house.repository / house.run(3) / "calexp" / "1.json"
    dead.parent.mkdir(parents=True)
    dead.write_text("x" * 100)
    (house.repository / second / "calexp_summary" / "half.tmp").write_text("half")


def raws(butler: Butler) -> int:
    return len(butler.query_datasets("raw", collections="DECam/raw/all", explain=False))


def read_all(butler: Butler, run: str) -> list[Any]:
    refs = butler.query_datasets("calexp_summary", collections=run, explain=False)
    return [butler.get(ref)["run"] for ref in refs]


def test_the_list_is_shown_then_removed_with_a_yes_and_nothing_else_is_touched(house: House) -> None:
    fill(house)
    before = house.collections()
    refused = house.program("clean", house.name)
    assert refused.returncode == 2, refused.stderr
    assert "--yes" in refused.stderr
    for word in (
        "superseded: no chain shows any",
        "dead folder: nothing of it was ingested, and it ended as lost (over)",
        "stray files",
    ):
        assert word in " ".join(refused.stdout.split()), refused.stdout
    assert (house.collections(), house.events()) == (before, [])

    done = house.program("clean", house.name, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [(entry["submission"], entry["kind"]) for entry in said["removals"]] == [
        (1, "superseded"), (2, "stray files"), (3, "dead folder"),
    ]  # fmt: skip
    assert said["removed"]
    assert house.collections() == before - {house.run(1)}
    assert not (house.repository / house.run(1)).exists()
    assert not (house.repository / house.run(3)).exists()
    assert not [name for name in house.files(house.run(2)) if name.endswith(".tmp")]
    with house.butler() as butler:
        assert butler.collections.get_info(house.step).children == (house.run(2),)
        assert butler.collections.get_info(OTHER).children == (house.run(2), "DECam/raw/all")
        assert read_all(butler, house.step) == [house.run(2)] * len(VISITS)
        assert raws(butler) == 24
    assert house.events() == [
        (1, "removing"), (1, "removed"), (2, "tidying"), (2, "tidied"), (3, "removing"), (3, "removed"),
    ]  # fmt: skip

    assert not house.housekeeping().plan(house.name).removals
    rows = house.housekeeping().listing(house.name, sizes=False)
    notes = {row.facts.name: row.origin.note for row in rows}
    assert (notes[house.run(1)], notes[house.run(2)], notes[house.run(3)]) == ("removed", "", "removed")


def _certified(house: House, butler: Butler) -> None:
    refs = butler.query_datasets("bias_like", collections=house.run(1), explain=False)
    butler.collections.register("DECam/calib/kept", CollectionType.CALIBRATION)
    butler.registry.certify("DECam/calib/kept", refs, Timespan(None, None))


def _tagged(house: House, butler: Butler) -> None:
    refs = butler.query_datasets("calexp_summary", collections=house.run(1), explain=False)
    butler.collections.register("people/ana", CollectionType.TAGGED)
    butler.registry.associate("people/ana", refs[:1])


def _shown_elsewhere(house: House, butler: Butler) -> None:
    chain(butler, "people/bob", house.run(1))


def _one_more(house: House, butler: Butler) -> None:
    """Leave one dataset that only the first submission has: the log of something that ran once."""
    put(butler, house.run(1), VISITS[0], name="isr_report")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (_certified, "DECam/calib/kept holds datasets of it"),
        (_tagged, "people/ana holds datasets of it"),
        (_shown_elsewhere, ""),
        (_one_more, ""),
    ],
)
def test_what_somebody_holds_or_sees_stays(
    house: House, change: Callable[[House, Butler], None], word: str
) -> None:
    fill(house)
    with house.butler() as butler:
        from lsst.daf.butler import DatasetType  # noqa: PLC0415

        dimensions = ("instrument", "detector")
        kind = DatasetType("bias_like", dimensions, "StructuredDataDict", universe=butler.dimensions,
                           isCalibration=True)  # fmt: skip
        butler.registry.registerDatasetType(kind)
        for number in (1, 2):
            data_id = {"instrument": INSTRUMENT, "detector": 1}
            butler.put({"a": 1}, kind, data_id, run=house.run(number))
        change(house, butler)
    plan = house.housekeeping().plan(house.name)
    assert house.run(1) not in {removal.facts.run for removal in plan.removals}
    assert [entry.reason for entry in plan.kept if entry.run == house.run(1)] == ([word] if word else [])


def test_nothing_superseded_goes_while_a_graph_may_read_it(house: House) -> None:
    fill(house)
    shown = house.housekeeping().plan(house.name)
    assert RunKind.SUPERSEDED in {removal.kind for removal in shown.removals}
    house.submit(None)
    with pytest.raises(ForbiddenError, match="changed since it was shown"):
        house.housekeeping().clean(house.name, shown=shown)
    assert house.run(1) in house.collections()
    assert house.events() == []
    assert not house.housekeeping().plan(house.name).removals


def test_a_tick_and_a_clean_do_not_meet(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "ORDER_SECONDS", 0.1)  # how long the clean waits for its turn
    fill(house)
    service = house.housekeeping()
    shown = service.plan(house.name)
    with house.store.campaign_lock(house.name), pytest.raises(BusyError, match="is being worked on by"):
        service.clean(house.name, shown=shown)
    assert house.run(1) in house.collections()


def _unchained(house: House, butler: Butler) -> None:
    for parent in (house.step, f"{house.step}/all", OTHER):
        butler.collections.remove_from_chain(parent, house.run(1))


def _in_the_trash(house: House, butler: Butler) -> None:
    """Stop where the registry has forgotten the datasets and the files are still there."""
    _unchained(house, butler)
    refs = butler.query_all_datasets([house.run(1)], find_first=False, limit=None)
    with butler.transaction():
        butler._datastore.trash(refs)
        butler._registry.removeDatasets(refs)
    assert house.files(house.run(1))


def _files_left(house: House, butler: Butler) -> None:
    _unchained(house, butler)
    butler.removeRuns([house.run(1)])
    left = house.repository / house.run(1) / "left.tmp"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text("left")


def _nothing_left(house: House, butler: Butler) -> None:
    _unchained(house, butler)
    butler.removeRuns([house.run(1)])


@pytest.mark.parametrize("stopped", [_unchained, _in_the_trash, _files_left, _nothing_left])
def test_a_removal_that_stopped_anywhere_is_finished(
    house: House, stopped: Callable[[House, Butler], None]
) -> None:
    fill(house)
    first = house.store.snapshot(house.name).groups[0].submissions[0]
    house.store.record_cleaning(submission_id=first.id, state=REMOVING, reason="begun", actor="ana", now=NOW)
    with house.butler() as butler:
        stopped(house, butler)
    service = house.housekeeping()
    shown = service.plan(house.name)
    assert shown.removals[0].kind is RunKind.UNFINISHED
    service.clean(house.name, shown=shown)
    assert house.run(1) not in house.collections()
    assert not (house.repository / house.run(1)).exists()
    assert house.events()[:3] == [(1, "removing"), (1, "removing"), (1, "removed")]
    assert not service.plan(house.name).removals
    with house.butler() as butler:
        assert read_all(butler, house.step) == [house.run(2)] * len(VISITS)


def test_a_clean_that_is_killed_is_finished_by_the_next(house: House) -> None:
    fill(house)
    process = house.start("clean", house.name, "--yes")
    deadline = time.monotonic() + 120
    while not house.events() and time.monotonic() < deadline:
        time.sleep(0.01)  # between two looks at a condition, not in place of one
    process.kill()
    process.wait()
    assert house.events()
    service = house.housekeeping()
    service.clean(house.name, shown=service.plan(house.name))
    assert house.run(1) not in house.collections()
    assert not (house.repository / house.run(1)).exists()
    assert not (house.repository / house.run(3)).exists()
    assert house.events()[-1] == (3, "removed")


def test_links_out_of_the_repository_are_not_followed(house: House, tmp_path: Path) -> None:
    house.submit(Outcome.FAILED)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    place = house.repository / house.run(1)
    place.parent.mkdir(parents=True)
    place.symlink_to(outside)
    assert not house.housekeeping().plan(house.name).removals
    place.unlink()
    place.mkdir()
    (place / "link").symlink_to(outside)
    service = house.housekeeping()
    service.clean(house.name, shown=service.plan(house.name))
    assert (outside / "precious").read_text() == "mine"


def test_a_repository_that_cannot_be_opened_is_said_so(house: House) -> None:
    house.submit(Outcome.FAILED)
    (house.repository / "butler.yaml").unlink()
    with pytest.raises(UnavailableError, match=f"{house.repository}: the repository cannot be opened"):
        house.housekeeping().plan(house.name)
