"""Scopes that a campaign file leaves out: those of its pipelines, or a complaint that asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from survey_help import Survey, make_survey

from merian_campaign.domain.errors import BadFileError
from merian_campaign.domain.preflight.facts import PipelineFacts, TaskFacts
from merian_campaign.domain.preflight.queries import StepQuery
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.files.campaign_file import CampaignFile, load_campaign

VISITS = PipelineFacts(tasks=(TaskFacts(label="isr", dimensions=frozenset({"exposure", "detector"})),))
TRACTS = PipelineFacts(tasks=(TaskFacts(label="coadd", dimensions=frozenset({"skymap", "tract"})),))


@pytest.fixture
def survey(tmp_path: Path) -> Survey:
    """A file without any scope."""
    survey = make_survey(tmp_path)
    survey.edit("    scope: exposure\n", "")
    survey.edit("    scope: tract\n", "")
    return survey


def load(survey: Survey, **facts: PipelineFacts) -> CampaignFile:
    def read(spec: CampaignSpec, asked: tuple[StepQuery, ...]) -> Mapping[str, PipelineFacts]:
        assert spec.environment == {}
        assert [look.pipeline.partition("#")[2] for look in asked] == ["step1", "step3"]
        return facts

    return load_campaign(str(survey.file), environment={}, pipelines=read)


def test_a_scope_is_read_from_the_pipeline_and_on_record(survey: Survey) -> None:
    loaded = load(survey, step1=VISITS, step3=TRACTS)
    steps = [step for step in loaded.spec.steps if isinstance(step, BpsStep)]
    assert [step.scope for step in steps] == ["exposure", "tract"]
    assert [step["scope"] for step in loaded.resolved["steps"]] == ["exposure", "tract"]


def test_a_pipeline_that_cannot_be_read_asks_for_a_scope(survey: Survey) -> None:
    with pytest.raises(BadFileError) as caught:
        load(survey, step1=PipelineFacts(problem="pipe.yaml: no subset 'step1'"), step3=TRACTS)
    (problem,) = caught.value.problems
    assert (problem.field, problem.line) == ("steps[step1].scope", 14)
    assert problem.message == (
        "missing, and not to be read from the pipeline: pipe.yaml: no subset 'step1'; write scope: exposure, "
        "visit, global, tract or instrument, by what its tasks work on (step1 was exposure in "
        "DRP-Merian of 2022; that of other pipelines may differ)"
    )


def test_an_override_that_keeps_a_scope_from_being_read_is_named(survey: Survey) -> None:
    survey.edit("pipe.yaml#step1\n", "pipe.yaml#step1\n    config: ['isr:nope=3']\n")
    wrong = PipelineFacts(problem="pipe.yaml#step1: no attribute nope", labels=frozenset({"isr"}))
    with pytest.raises(
        BadFileError, match=r"no attribute nope \(correct config: or config_files:\); write scope"
    ):
        load(survey, step1=wrong, step3=TRACTS)


def test_a_grouping_that_the_tasks_do_not_allow_is_refused(survey: Survey) -> None:
    with pytest.raises(BadFileError) as caught:
        load(survey, step1=VISITS, step3=VISITS)
    (problem,) = caught.value.problems
    assert problem.field == "steps[step3].group_by"
    assert "must not be constrained by tract" in problem.message
    assert "(the scope is that of its tasks' dimensions; write scope: for another one)" in problem.message
