"""What a driver looks at before a group's first graph, and what becomes of a group that is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from domain_help import action, bps, campaign, finished, group, situation, snapshot

from merian_campaign.domain.campaign.plan import plan_groups
from merian_campaign.domain.execution.runs import PREFLIGHT, RunEnd, RunResult, from_json, outcome_of, to_json
from merian_campaign.domain.preflight.facts import (
    CollectionFacts,
    InputNeed,
    PipelineFacts,
    Present,
    RepositoryFacts,
    Selected,
    TaskFacts,
)
from merian_campaign.domain.preflight.group_check import GroupCheck, group_check, group_findings, refusal
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.states import GroupState, SubmissionOutcome
from merian_campaign.domain.tick.decide import decide
from merian_campaign.domain.tick.decisions import MoveGroup, Submit

NIGHT = Selection(dimension="day_obs", values=(20210318,))
NIGHTS = {"kind": "day_obs", "nights": ["20210318-20210319"]}
PIPELINE = PipelineFacts(
    labels=frozenset({"isr"}),
    inputs=(
        InputNeed(name="raw", dimensions=frozenset({"exposure", "detector"})),
        InputNeed(name="camera", dimensions=frozenset({"instrument"}), prerequisite=True),
    ),
)
COLLECTIONS = {
    "DECam/raw/all": CollectionFacts(kind="RUN", holds=frozenset({"raw"})),
    "DECam/calib": CollectionFacts(kind="CALIBRATION", holds=frozenset({"camera"})),
}


def _spec(**changes: object) -> CampaignSpec:
    select = {"day_obs": "20210101-20220630", "exclude_detectors": [31, 61], "observation_type": "science"}
    given = {"group_by": NIGHTS, "select": select, "inputs": ["DECam/raw/all", "DECam/calib"], **changes}
    return campaign(bps("one", "step1", **given), action())


def _check(**changes: object) -> GroupCheck:
    spec = _spec(**changes)
    step = spec.step("one")
    assert isinstance(step, BpsStep)
    return group_check(spec, step, group="night20210318", selection=NIGHT, number=1)


def _refused(**changes: object) -> str:
    repository = RepositoryFacts(**({"collections": COLLECTIONS} | changes))  # type: ignore[arg-type]
    return refusal(group_findings(_check(), pipeline=PIPELINE, repository=repository))


@pytest.mark.parametrize(
    "grouping",
    [
        NIGHTS,
        {"kind": "exposure", "ids": ["1-5"], "size": 2},
        {"kind": "lists", "dimension": "exposure", "lists": {"good": [1, 2]}},
        "everything",
    ],
)
def test_what_a_driver_looks_at_survives_its_file(grouping: object) -> None:
    resources = {"isr": {"memory": 4096, "walltime": "10:00:00", "memory_multiplier": 1.5}}
    spec = _spec(group_by=grouping, resources=resources, afterburner={"max_attempts": 2}, loss_budget=0.1)
    step = spec.step("one")
    assert isinstance(step, BpsStep)
    for planned in plan_groups(spec).wanted:
        if planned.step == "one":
            made = group_check(spec, step, group=planned.key, selection=planned.selection, number=1)
            assert GroupCheck.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_a_group_is_asked_about_by_itself() -> None:
    check = _check()
    assert "exposure.day_obs = 20210318" in check.look.query
    assert check.run == "runs/night/one/night20210318/001"
    assert check.chains == ("runs/night/one", "runs/night/one/night20210318")


def test_what_would_fail_refuses_the_submission_with_what_to_do() -> None:
    assert _refused() == ""
    without = {name: facts for name, facts in COLLECTIONS.items() if name != "DECam/calib"}
    assert _refused(collections=without) == (
        "the input collection DECam/calib is not in the repository; "
        "correct inputs:, or see what the step that should have made it did (is it in after:?)"
    )
    taken = {**COLLECTIONS, "runs/night/one/night20210318/001": CollectionFacts(kind="RUN")}
    assert "is there already" in _refused(collections=taken)
    both = {**taken, "runs/night/one": CollectionFacts(kind="TAGGED")}
    assert _refused(collections=both).endswith("(and 1 more, see driver.log)")
    empty = {**COLLECTIONS, "DECam/calib": CollectionFacts(kind="CALIBRATION")}
    assert "needs camera" in _refused(collections=empty)


@pytest.mark.parametrize("if_empty", ["done", "needs_review", None])
def test_that_nothing_is_selected_is_for_if_empty_to_judge(if_empty: str | None) -> None:
    check = _check(if_empty=if_empty)
    for repository in (
        RepositoryFacts(collections=COLLECTIONS, selected={check.look.place: Selected()}),
        RepositoryFacts(collections=COLLECTIONS, present={(check.look.place, "raw"): Present()}),
    ):
        found = group_findings(check, pipeline=PIPELINE, repository=repository)
        assert len(found) == 1
        assert refusal(found) == ""


@pytest.mark.parametrize(("if_empty", "refused"), [("done", False), ("needs_review", True), (None, True)])
def test_inputs_that_hold_nothing_for_any_group_are_no_empty_group(
    if_empty: str | None, refused: bool
) -> None:
    check = _check(if_empty=if_empty)
    none = {**COLLECTIONS, "DECam/raw/all": CollectionFacts(kind="RUN")}
    found = group_findings(check, pipeline=PIPELINE, repository=RepositoryFacts(collections=none))
    assert len(found) == 1
    assert ("needs raw, and none of its input collections holds any" in refusal(found)) is refused


def test_a_driver_refuses_what_its_tasks_do_not_allow() -> None:
    frame = frozenset({"instrument", "exposure", "detector"})
    tasks = (
        TaskFacts(label="isr", dimensions=frame, makes=frozenset({"a"})),
        TaskFacts(label="flat", dimensions=frame, reads=frozenset({"a"}), makes=frozenset({"b"})),
        TaskFacts(label="stars", dimensions=frozenset({"skymap", "tract"}), reads=frozenset({"b"})),
    )
    spec = _spec()
    step = spec.step("one")
    assert isinstance(step, BpsStep)
    clusters = {"ends": ("isr", "stars")}
    check = group_check(spec, step, group="night20210318", selection=NIGHT, number=1, clusters=clusters)
    assert GroupCheck.from_json(json.loads(json.dumps(check.to_json()))) == check
    pipeline = replace(PIPELINE, labels=frozenset({"isr", "flat", "stars"}), tasks=tasks)
    repository = RepositoryFacts(collections=COLLECTIONS, tracts=frozenset({9813}))
    found = group_findings(check, pipeline=pipeline, repository=repository)
    assert [finding.fatal for finding in found] == [True, True]
    for finding, words in zip(found, ("cut by day_obs", "ends -> flat -> ends"), strict=True):
        assert words in finding.message


def test_a_refused_submission_has_failed() -> None:
    result = RunResult(
        end=RunEnd.FAILED, reason=f"{PREFLIGHT}no tract; correct it", exit_code=13, needs_person=True
    )
    assert outcome_of(result, all_succeeded=True) is SubmissionOutcome.FAILED
    assert from_json(to_json(result, epoch=1)) == result


def test_a_group_that_is_refused_goes_to_a_person_at_once() -> None:
    spec = _spec()
    reason = f"{PREFLIGHT}no tract; correct it"
    refused = group(
        "one",
        "night20210318",
        submissions=(finished(1, SubmissionOutcome.FAILED, reason=reason, needs_person=True),),
    )
    (moved,) = decide(spec, snapshot(refused), situation(steps=("one",)))
    assert isinstance(moved, MoveGroup)
    assert (moved.state, moved.reason) == (GroupState.NEEDS_REVIEW, reason)
    # After a person's retry it is submitted again.
    again = group(
        "one",
        "night20210318",
        state=GroupState.READY,
        attempts_from=1,
        submissions=(finished(1, SubmissionOutcome.FAILED, reason=reason, needs_person=True),),
    )
    (submit,) = decide(spec, snapshot(again), situation(steps=("one",)))
    assert isinstance(submit, Submit)
    assert submit.number == 2
