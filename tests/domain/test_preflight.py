"""Findings of a preflight: what is fatal, what is only worth knowing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from domain_help import action, bps, campaign

from merian_campaign.domain.preflight import Answers, Finding, findings, questions
from merian_campaign.domain.spec import CampaignSpec


def _spec(**changes: Any) -> CampaignSpec:
    return campaign(
        action(
            name="chain",
            action="collection-chain",
            arguments={"parent": "DECam/defaults/x", "children": ["DECam/raw/all"]},
        ),
        bps("one", "step1", after=["chain"], inputs=["DECam/defaults/x"], if_empty="needs_review"),
        bps("three", "step3", after=["one"], group_by="tract", inputs=["one", "skymaps"]),
        **{"tracts": [9813, 9814], **changes},
    )


FINE = Answers(
    exposures={"one/all": 4},
    tracts=frozenset({9813, 9814}),
    collections={"skymaps": "RUN"},
    free_gb={"/repo": 1000.0},
)


def _found(answers: Answers) -> list[Finding]:
    return list(findings(_spec(), answers))


def test_nothing_is_found_where_all_is_well() -> None:
    assert _found(FINE) == []


def test_exposures_are_asked_for_by_group_of_steps_that_take_them() -> None:
    asked = questions(_spec())
    assert set(asked.exposures) == {"one/all"}
    assert set(asked.pipelines) == {"one", "three"}


def test_an_empty_selection_shows_its_query() -> None:
    (finding,) = _found(replace(FINE, exposures={"one/all": 0}))
    assert finding.place == "one/all"
    assert finding.fatal
    assert "no exposure is selected by: instrument = " in finding.message


def test_a_refused_query_and_a_broken_pipeline_say_why() -> None:
    found = _found(replace(FINE, exposures={"one/all": "no such column"}, pipelines={"three": "bad yaml"}))
    assert [(finding.place, finding.fatal) for finding in found] == [("one/all", True), ("three", True)]
    assert "no such column" in found[0].message
    assert "bad yaml" in found[1].message


def test_tracts_that_the_sky_map_lacks_are_named() -> None:
    (finding,) = _found(replace(FINE, tracts=frozenset({9813})))
    assert finding.place == "three"
    assert "1 tracts are not in" in finding.message
    assert "9814" in finding.message
    (finding,) = _found(replace(FINE, tracts=None))
    assert "is not registered" in finding.message


def test_inputs_must_be_there_unless_a_step_makes_them() -> None:
    (finding,) = _found(replace(FINE, collections={}))
    assert finding.place == "three"
    assert "skymaps is not in the repository" in finding.message


def test_an_output_must_be_free_to_become_a_chain() -> None:
    output = _spec().output_of(_spec().steps[1])  # type: ignore[arg-type]
    (finding,) = _found(replace(FINE, collections={"skymaps": "RUN", output: "RUN"}))
    assert finding.place == "one"
    assert "must be a chain" in finding.message


def test_little_disk_and_a_missing_repository_are_notes() -> None:
    (finding,) = _found(replace(FINE, free_gb={"/repo": 1.5}))
    assert not finding.fatal
    assert "only 1.5 GB are free" in finding.message
    (finding,) = _found(replace(FINE, repository=False, exposures={}, tracts=None))
    assert not finding.fatal
    assert "not there yet" in finding.message
