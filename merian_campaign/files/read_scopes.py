"""Scopes that a campaign file does not write: read from pipelines, or asked for in a complaint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from merian_campaign.domain.errors import BadFileError, Problem
from merian_campaign.domain.preflight.facts import PipelineFacts
from merian_campaign.domain.preflight.queries import StepQuery, pipeline_look
from merian_campaign.domain.preflight.scope import scope_of
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.steps import missing_scope
from merian_campaign.files.complaints import dotted
from merian_campaign.files.yaml_lines import Document

type PipelineReader = Callable[[CampaignSpec, tuple[StepQuery, ...]], Mapping[str, PipelineFacts]]
"""Reads the pipelines of steps, with the campaign's environment; what is wrong with one is its problem."""


def without_scope(spec: CampaignSpec) -> dict[int, BpsStep]:
    """Return the steps for which the file has no scope, by their places."""
    return {
        index: step
        for index, step in enumerate(spec.steps)
        if isinstance(step, BpsStep) and step.scope is None
    }


def with_scopes(
    spec: CampaignSpec, *, document: Document, resolved: Mapping[str, Any], read: PipelineReader | None
) -> dict[str, Any]:
    """Return a document with the scopes that its pipelines give.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign, of which some steps have no scope.
    document : `Document`
        The file as written.
    resolved : `~collections.abc.Mapping`
        The document as resolved.
    read : `PipelineReader` or `None`
        Reads pipelines.

    Raises
    ------
    BadFileError
        Raised with the steps whose pipelines cannot be read.
    """
    asked = without_scope(spec)
    facts = {} if read is None else read(spec, tuple(map(pipeline_look, asked.values())))
    problems: list[Problem] = []
    steps = list(resolved["steps"])
    for index, step in asked.items():
        pipeline = facts.get(step.name)
        if pipeline is not None and not pipeline.problem:
            steps[index] = {**steps[index], "scope": scope_of(step, pipeline)}
            continue
        place = ("steps", index)
        message = missing_scope(step, why="" if pipeline is None else _why(step, pipeline))
        problems.append(
            Problem(
                file=document.file,
                line=document.line_of((*place, "pipeline")),
                field=dotted((*place, "scope"), document.data),
                message=message.removeprefix("scope: "),
            )
        )
    if problems:
        raise BadFileError(tuple(problems))
    return {**resolved, "steps": steps}


def _why(step: BpsStep, pipeline: PipelineFacts) -> str:
    """Return why a pipeline cannot be used; one whose labels are known was there itself."""
    overridden = pipeline.labels and (step.config or step.config_files)
    return f"{pipeline.problem} (correct config: or config_files:)" if overridden else pipeline.problem
