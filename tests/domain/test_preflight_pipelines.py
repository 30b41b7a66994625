"""What a preflight finds in the pipelines alone: how steps may be cut, their order, clusters of BPS."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from domain_help import action, bps, campaign

from merian_campaign.domain.preflight.clusters import cluster_findings
from merian_campaign.domain.preflight.facts import (
    CollectionFacts,
    Finding,
    InputNeed,
    PipelineFacts,
    TaskFacts,
)
from merian_campaign.domain.preflight.order import order_findings
from merian_campaign.domain.preflight.queries import looks, presences
from merian_campaign.domain.preflight.scope import scope_findings, scope_of, wants_skymap
from merian_campaign.domain.spec import BpsStep
from merian_campaign.domain.spec.steps import SCOPES_OPEN

NIGHTS = {"kind": "day_obs", "nights": ["20210318-20210319"]}
VISIT = ("instrument", "visit", "day_obs", "physical_filter", "band")
TRACT = ("instrument", "skymap", "tract")


def _task(label: str, *dimensions: str, **changes: Any) -> TaskFacts:
    return TaskFacts(label=label, dimensions=frozenset(dimensions), **changes)


def _pipeline(*tasks: TaskFacts, **changes: Any) -> PipelineFacts:
    return PipelineFacts(labels=frozenset(task.label for task in tasks), tasks=tasks, **changes)


SUMMARY = _task("consolidateVisitSummary", *VISIT)
STARS = _task("isolatedStarAssociation", *TRACT)
ISR = _task("isr", "instrument", "exposure", "detector", "day_obs", "physical_filter", "band")
WARP = _task("makeWarp", *TRACT, "patch", *VISIT)
TABLE = _task("makeVisitTable", "instrument")
FLAT = _task("cpFlatCombine", "instrument", "detector", "physical_filter", calibration=True)


def _scope(
    pipeline: PipelineFacts, subset: str = "step2a", *, skymap: str | None = "rings", **step: Any
) -> Any:
    spec = campaign(bps("one", subset, **step), skymap=skymap, tracts=[9813])
    found = spec.step("one")
    assert isinstance(found, BpsStep)
    return scope_findings(looks(spec)[0], found, pipeline, skymap=skymap)


# -- scope -------------------------------------------------------------------------------------------------


def test_a_night_is_no_group_for_a_task_by_tract() -> None:
    (finding,) = _scope(_pipeline(SUMMARY, STARS), group_by=NIGHTS)
    assert finding.fatal
    assert finding.message == (
        "cut by day_obs, every group would make its own part of what isolatedStarAssociation (instrument, "
        "skymap, tract) makes of all"
    )
    assert finding.fix == (
        "run isolatedStarAssociation in a step of its own (scope: tract, group_by: tract), or the whole step "
        "at once (scope: global, no group_by, no select); partial: [isolatedStarAssociation] says that parts "
        "are meant"
    )


@pytest.mark.parametrize(
    ("tasks", "step"),
    [
        ((SUMMARY, STARS), {"scope": "global"}),
        ((SUMMARY, STARS), {"group_by": NIGHTS, "partial": ["isolatedStarAssociation"]}),
        ((SUMMARY, WARP), {"group_by": NIGHTS}),
        ((SUMMARY,), {"group_by": {"kind": "visit", "ids": [1, 2], "size": 1}}),
        ((STARS, WARP), {"scope": "tract", "group_by": "tract"}),
        # Flats of a night are flats.
        ((FLAT,), {"scope": "exposure", "group_by": NIGHTS}),
    ],
)
def test_quanta_that_lie_within_a_group(tasks: tuple[TaskFacts, ...], step: dict[str, Any]) -> None:
    assert _scope(_pipeline(*tasks), **step) == []


@pytest.mark.parametrize(
    ("tasks", "step", "words"),
    [
        ((SUMMARY, TABLE), {"group_by": NIGHTS}, "its own part of what makeVisitTable (instrument) makes"),
        # The name of a subset, or a scope, does not make it right.
        ((STARS,), {"scope": "visit", "group_by": NIGHTS}, "what isolatedStarAssociation ("),
        ((STARS, SUMMARY), {"scope": "tract", "group_by": "tract"}, "would run on partial visits"),
        ((STARS, SUMMARY), {"scope": "tract", "where": "tract = 9813"}, "would run on partial visits"),
        ((STARS, TABLE), {"scope": "tract", "group_by": "tract"}, "its own part of what makeVisitTable"),
        ((FLAT,), {"scope": "tract", "group_by": "tract"}, "its own part of what cpFlatCombine"),
        (
            (_task("nightly", "instrument", "day_obs"),),
            {"group_by": {"kind": "visit", "ids": [1, 2], "size": 1}},
            "cut by visit, every group would make its own part of what nightly",
        ),
    ],
)
def test_quanta_that_a_group_would_split(
    tasks: tuple[TaskFacts, ...], step: dict[str, Any], words: str
) -> None:
    (finding,) = _scope(_pipeline(*tasks), **step)
    assert finding.fatal
    assert words in finding.message


def test_a_pipeline_that_declares_its_steps_is_believed() -> None:
    declared = frozenset({"instrument", "visit"})
    assert _scope(_pipeline(SUMMARY, TABLE, declared=declared), group_by=NIGHTS) == []
    (finding,) = _scope(_pipeline(SUMMARY, declared=frozenset()), group_by=NIGHTS)
    assert (
        "pipe.yaml#step2a declares that it may be cut by nothing, and it is cut by day_obs" in finding.message
    )
    (finding,) = _scope(_pipeline(WARP, declared=declared), scope="tract", group_by="tract")
    assert "may be cut by visit, and it is cut by tract" in finding.message


def test_pixels_that_no_data_query_joins_are_no_groups() -> None:
    pixels = {"kind": "dimension", "dimension": "healpix3", "ids": [425]}
    fit = _task("gbdesHealpix3AstrometricFit", "instrument", "healpix3", "physical_filter")
    summary = InputNeed(name="preliminary_visit_summary", dimensions=frozenset(VISIT))
    declared = frozenset({"healpix3"})
    (finding,) = _scope(_pipeline(fit, inputs=(summary,), declared=declared), scope="global", group_by=pixels)
    assert "no data query joins healpix3 with visit" in finding.message
    tiles = InputNeed(name="deep_coadd_hips8", dimensions=frozenset({"healpix8"}))
    assert _scope(_pipeline(fit, inputs=(tiles,)), scope="global", group_by=pixels) == []


def test_what_is_by_pixel_and_visit_is_for_the_graph_to_find() -> None:
    spec = campaign(bps("one", "step2d", group_by=NIGHTS, scope="visit"))
    look = replace(looks(spec)[0], inputs=("DECam/defaults",))
    fit = InputNeed(name="skyWcsCatalog", dimensions=frozenset({"visit", "healpix3"}))
    summary = InputNeed(name="visitSummary", dimensions=frozenset({"visit"}))
    there = {"DECam/defaults": CollectionFacts(kind="RUN", holds=frozenset({fit.name, summary.name}))}
    asked = presences(look, _pipeline(SUMMARY, inputs=(fit, summary)), collections=there)
    assert [presence.need for presence in asked] == [summary]


def test_the_sky_map_is_named_wherever_a_task_has_it() -> None:
    source = _pipeline(_task("writeRecalibratedSourceTable", "skymap", *VISIT))
    for subset, scope in (("step2d", "visit"), ("step3", "visit"), ("step1", "global")):
        assert _scope(source, subset, scope=scope) == []
    for scope, where in (("exposure", ""), ("exposure", "skymap = 'rings'"), ("instrument", "")):
        assert _scope(source, scope=scope, where=where) == []
        spec = campaign(bps("one", "step2c" if scope == "instrument" else "step1", scope=scope, where=where))
        assert wants_skymap(looks(spec)[0], source) is not bool(where)
    (finding,) = _scope(source, skymap=None)
    assert finding.fatal
    assert finding.message.endswith("would run for every sky map there is: the campaign names none")
    assert finding.fix == "write skymap: NAME in the campaign"


@pytest.mark.parametrize(
    ("tasks", "step", "scope"),
    [
        ((SUMMARY,), {}, "visit"),
        ((ISR, SUMMARY), {}, "exposure"),
        ((STARS, WARP), {}, "tract"),
        ((WARP,), {"group_by": NIGHTS}, "visit"),
        ((SUMMARY, STARS), {}, "global"),
        ((SUMMARY, STARS), {"partial": ["isolatedStarAssociation"], "group_by": NIGHTS}, "visit"),
        ((TABLE,), {}, "global"),
        ((replace(ISR, calibration=True), FLAT), {}, "exposure"),
        # With a scope over visits, the sky map is in the data query.
        ((ISR, _task("writeRecalibratedSourceTable", "skymap", *VISIT)), {}, "visit"),
    ],
)
def test_a_scope_is_that_of_the_tasks(tasks: tuple[TaskFacts, ...], step: dict[str, Any], scope: str) -> None:
    document = bps("one", "step2a", scope=None, **step)
    found = BpsStep.model_validate(document, context=SCOPES_OPEN)
    assert scope_of(found, _pipeline(*tasks)) == scope


def test_a_declared_step_has_the_scope_that_it_declares() -> None:
    step = BpsStep.model_validate(bps("one", scope=None), context=SCOPES_OPEN)
    for declared, scope in (
        ((), "global"),
        (("visit",), "visit"),
        (("tract",), "tract"),
        (("healpix3",), "global"),
    ):
        assert scope_of(step, _pipeline(SUMMARY, TABLE, declared=frozenset(declared))) == scope
    detectors = frozenset({"visit", "detector"})
    assert scope_of(step, _pipeline(ISR, SUMMARY, declared=detectors)) == "exposure"


# -- order -------------------------------------------------------------------------------------------------

MAKES = PipelineFacts(outputs=frozenset({"preSourceTable"}))
NEEDS = PipelineFacts(inputs=(InputNeed(name="preSourceTable", dimensions=frozenset({"visit"})),))


def _order(
    *steps: dict[str, Any],
    needs: PipelineFacts = NEEDS,
    collections: dict[str, CollectionFacts] | None = None,
    **changes: Any,
) -> list[Finding]:
    spec = campaign(*steps, **changes)
    pipelines = {"make": MAKES, "need": needs}
    return order_findings(spec, pipelines, collections=collections or {})


def test_a_step_that_needs_what_another_makes_comes_after_it() -> None:
    make, need = bps("make", "step1"), bps("need", "step2a")
    (finding,) = _order(make, need)
    assert (finding.place, finding.fatal) == ("need", True)
    assert finding.text == (
        "it needs preSourceTable, which make makes, and is neither after it nor reads its output; "
        "write after: [make] in need"
    )
    assert _order(make, need | {"after": ["make"]}) == []
    # Through a step between them.
    between = bps("between", "step2a", after=["make"])
    assert _order(make, between, need | {"after": ["between"]}) == []


def test_a_step_reads_what_it_needs() -> None:
    make = bps("make", "step1", output="u/make")
    need = bps("need", "step2a", after=["make"], inputs=["DECam/defaults"])
    (finding,) = _order(make, need)
    assert finding.message.endswith("which make makes, and does not read its output u/make")
    assert finding.fix == "add make to its inputs:"
    assert _order(make, need | {"inputs": ["u/make"]}) == []
    (finding,) = _order(make, need | {"after": [], "inputs": ["u/make"]})
    assert finding.message.endswith("and is not after make")
    (finding,) = _order(bps("need", "step2a"), make | {"after": ["need"]})
    assert finding.message.endswith("and make comes after it")


def test_a_chain_that_a_step_defines_is_read_through() -> None:
    make = bps("make", "step1", output="u/make")
    chain = action("chain", after=["make"], arguments={"parent": "u/all", "children": ["u/make"]})
    need = bps("need", "step2a", after=["chain"], inputs=["u/all"])
    assert _order(make, chain, need) == []
    # The chain of the repository has been opened down to RUNs by then.
    there = {
        "u/make": CollectionFacts(
            kind="CHAINED", children=("u/make/all/001",), holds=frozenset({"preSourceTable"})
        ),
        "u/make/all/001": CollectionFacts(kind="RUN", holds=frozenset({"preSourceTable"})),
    }
    assert _order(make, chain, need, collections=there) == []
    (finding,) = _order(make, chain, need | {"after": []}, collections=there)
    assert finding.message.endswith("and is not after make")


def test_a_certified_calibration_comes_through_the_certify_step() -> None:
    need = PipelineFacts(
        inputs=(
            InputNeed(name="preSourceTable", dimensions=frozenset(), prerequisite=True, calibration=True),
        )
    )
    make = bps("make", "step1", output="u/flat")
    arguments = {
        "input": "u/flat", "output": "u/calib", "dataset_type": "preSourceTable",
        "begin": "2021-01-01T00:00:00", "end": "2022-01-01T00:00:00",
    }  # fmt: skip
    certify = {"name": "certify", "action": "certify-calibrations", "after": ["make"], "arguments": arguments}
    user = bps("need", "step2a", after=["certify"], inputs=["u/calib"])
    assert _order(make, certify, user, needs=need) == []
    (finding,) = _order(make, certify, user | {"after": ["make"]}, needs=need)
    assert finding.message.endswith("and is not after make")


def test_what_was_there_before_the_campaign_needs_no_step() -> None:
    there = {"u/old": CollectionFacts(kind="RUN", holds=frozenset({"preSourceTable"}))}
    need = bps("need", "step2a", inputs=["u/old"])
    assert _order(bps("make", "step1"), need, collections=there) == []
    bring = {"name": "bring", "action": "transfer-datasets"}
    arguments = {"source": "/other", "collections": ["u/old"], "dataset_types": ["preSourceTable"]}
    assert _order(bring | {"arguments": arguments}, bps("make", "step1"), need) == []
    assert (
        len(_order(bring | {"arguments": arguments | {"dataset_types": []}}, bps("make", "step1"), need)) == 1
    )


def test_what_can_be_done_without_is_a_note() -> None:
    need = PipelineFacts(
        inputs=(InputNeed(name="preSourceTable", dimensions=frozenset({"visit"}), optional=True),)
    )
    (finding,) = _order(bps("make", "step1"), bps("need", "step2a"), needs=need)
    assert not finding.fatal
    assert finding.message.startswith("it can use preSourceTable")


# -- clusters ----------------------------------------------------------------------------------------------

ABC = _pipeline(
    _task("taskA", makes=frozenset({"caseA"})),
    _task("taskB", reads=frozenset({"caseA"}), makes=frozenset({"caseB"})),
    _task("taskC", reads=frozenset({"caseB"})),
)


def test_clusters_in_a_circle_are_named_with_tasks_and_datasets() -> None:
    (finding,) = cluster_findings("one", ABC, {"ac": ("taskA", "taskC")})
    assert finding.fatal
    assert "with ac (taskA, taskC): taskB reads caseA of taskA, taskC reads caseB of taskB" in finding.message
    assert finding.fix.startswith("put taskB into ac too, or take one of taskA, taskC out of it")
    (finding,) = cluster_findings("one", ABC, {"ac": ("taskA", "taskC"), "b": ("taskB", "other")})
    assert "ac (taskA, taskC)" in finding.message
    assert "b (taskB)" in finding.message
    assert finding.fix.startswith("put them into one cluster")
    (finding,) = cluster_findings("one", ABC, {"ab": ("taskA", "taskB"), "bc": ("taskB", "taskC")})
    assert finding.message == "cluster: taskB is in ab and in bc"


@pytest.mark.parametrize(
    "clusters", [{}, {"ab": ("taskA", "taskB")}, {"abc": ("taskA", "taskB", "taskC")}, {"x": ("taskA", "no")}]
)
def test_clusters_that_have_an_order(clusters: dict[str, tuple[str, ...]]) -> None:
    assert cluster_findings("one", ABC, clusters) == []
