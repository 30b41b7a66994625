"""What a lost database's submissions left, and in which order it is put on record again."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from domain_help import NOW, bps, by_tract, campaign, submission

from merian_campaign.domain.execution.runs import RunEnd, RunResult
from merian_campaign.domain.rebuild_plan import GONE, RebuildPlan, plan_rebuild
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.remains import Remains, WhenMade, made_from_json, made_of
from merian_campaign.domain.rendering.naming import submission_directory
from merian_campaign.domain.safe_text.json_values import WrongValueError
from merian_campaign.domain.selection import Selection

SPEC = campaign(bps("step1"), by_tract(after=["step1"]), tracts=["1-2"])
KNOWN = frozenset({("step1", "all"), ("step3", "tract1"), ("step3", "tract2")})
RAN = RunResult(end=RunEnd.RAN, reason="")
RUN = SPEC.output_of(SPEC.step("step3"))  # type: ignore[arg-type]


def left(number: int = 1, group: str = "tract1", **changes: Any) -> Remains:
    at = NOW + timedelta(hours=number)
    made = WhenMade(
        id=10 + number, at=at, generation=1, remedy=Remedy(workers=number), reason=f"reason {number}",
        basis=Basis(raws=number), selection=Selection(dimension="tract", values=(1,)),
    )  # fmt: skip
    where = submission_directory(
        root="/submissions", campaign=SPEC.campaign, step="step3", group=group, number=number
    )
    known: dict[str, Any] = {
        "step": "step3", "group": group, "number": number, "directory": where, "at": at, "campaign": "u",
        "made": made, "started": 1, "result": RAN, "epoch": 1, "ended_at": at + timedelta(minutes=30),
        "harvested": True,
    }  # fmt: skip
    return Remains(**(known | changes))


def planned(*remains: Remains, runs: tuple[str, ...] = (), **changes: Any) -> RebuildPlan:
    return plan_rebuild(SPEC, remains, runs=runs, **({"known": KNOWN, "root": "/submissions"} | changes))


def test_how_a_submission_came_to_be_is_written_and_read() -> None:
    one = submission(remedy=Remedy(memory_mb=(("isr", 9),), walltime=(("isr", 60),), blocks=2))
    selection, basis = Selection(dimension="tract", values=(9813,)), Basis(exposures=frozenset({3, 1}))
    value = json.loads(json.dumps(made_of(one, selection=selection, basis=basis)))
    found = made_from_json(value)
    assert found == WhenMade(
        id=one.id, at=one.created_at, generation=1, remedy=one.remedy, reason=one.reason, basis=basis,
        selection=selection,
    )  # fmt: skip
    assert made_from_json(value | {"basis": None}).basis is None
    for key, wrong in (
        ("at", "x"),
        ("generation", 0),
        ("values", ["1"]),
        ("memory_mb", {"isr": "1"}),
        ("id", ""),
    ):
        with pytest.raises(WrongValueError):
            made_from_json(value | {key: wrong})
    with pytest.raises(WrongValueError):
        made_from_json([])


def test_submissions_come_in_the_order_in_which_they_were_made() -> None:
    found = planned(left(2), left(1), left(1, "tract2"))
    assert [[(entry.group, entry.number) for entry in entries] for entries in found.rounds] == [
        [("tract1", 1), ("tract2", 1)], [("tract1", 2)],
    ]  # fmt: skip
    (first, _), (second,) = found.rounds
    assert (first.remedy, first.reason, first.basis) == (Remedy(workers=1), "reason 1", Basis(raws=1))
    assert (first.run, second.run) == (f"{RUN}/tract1/001", f"{RUN}/tract1/002")
    assert first.at < first.ended_at <= second.at
    assert (found.highest, found.notes, first.salvage, first.drivers) == (12, (), False, 1)


def test_a_directory_that_was_deleted_is_made_up_for_from_the_butler() -> None:
    found = planned(
        left(3), runs=(f"{RUN}/tract1/001", f"{RUN}/tract1.g2/002", f"{RUN}/tract1/003", "raw/all")
    )
    ((first,), (second,), (third,)) = found.rounds
    assert (first.result, first.salvage, first.generation) == (
        RunResult(end=RunEnd.FAILED, reason=GONE), True, 1,
    )  # fmt: skip
    assert first.directory == "/submissions/night/step3/tract1/001".replace("night", SPEC.campaign)
    assert (second.generation, second.run) == (2, f"{RUN}/tract1.g2/002")
    assert (third.result, third.salvage) == (RAN, False)
    assert ["the directory of submission" in words for words in found.notes] == [True, True]


def test_what_ran_and_has_no_quanta_written_down_is_salvaged() -> None:
    ((one,),) = planned(left(harvested=False)).rounds
    assert one.salvage
    ((one,),) = planned(left(harvested=False, result=RunResult(end=RunEnd.EMPTY, reason=""))).rounds
    assert not one.salvage
    ((one,),) = planned(left(harvested=False, started=None)).rounds
    assert not one.salvage


def test_the_last_one_goes_on_and_what_it_follows_is_over() -> None:
    gone_on = {"result": None, "epoch": 0, "ended_at": None}
    (first,), (second,), (third,) = planned(
        left(1, started=2, **gone_on), left(2, started=None, **gone_on), left(3, started=1, **gone_on)
    ).rounds
    assert first.result is not None
    assert (first.result.end, first.drivers, first.salvage) == (RunEnd.LOST, 2, True)
    assert second.result is not None
    assert (second.result.end, second.salvage) == (RunEnd.FAILED, False)
    assert (third.result, third.drivers) == (None, 1)


def test_what_cannot_be_known_is_said() -> None:
    damaged = left(made=None, trouble="identity.json: cut")
    found = planned(damaged)
    assert found.rounds[0][0].remedy == Remedy()
    assert found.rounds[0][0].at == damaged.at
    assert [words.partition(": ")[2][:12] for words in found.notes] == ["cut", "does not say"]
    strange = replace(left(), step="gone")
    older = left(2, campaign="another", at=datetime(2020, 1, 1, tzinfo=UTC))
    found = planned(left(), strange, older)
    assert [len(entries) for entries in found.rounds] == [1]
    assert [words.partition("; ")[2] for words in found.notes] == ["left out", "left out"]


def test_the_identity_is_that_of_the_latest_life() -> None:
    assert planned().identity == ""
    assert planned(left(campaign="")).identity == ""
    assert planned(left(1, campaign="old"), left(2, campaign="new")).identity == "new"


def test_groups_that_the_file_does_not_name_select_what_they_did() -> None:
    found = planned(left(), known=frozenset())
    assert found.selections == {("step3", "tract1"): Selection(dimension="tract", values=(1,))}
    assert len(found.rounds) == 1
    nothing = planned(left(made=None), known=frozenset())
    assert nothing.rounds == ()
    assert "nothing says what it selects" in nothing.notes[-1]
