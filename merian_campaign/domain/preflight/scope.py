"""Whether the tasks of a step allow the way it is cut into groups: a quantum must lie within one group.

Rules from the dimensions of the tasks, as the pipeline graph gives them. Where a pipeline declares the
dimensions by which a step may be cut (``steps:``), that is believed. Names of subsets say nothing.
"""

from __future__ import annotations

from merian_campaign.domain.preflight.facts import Finding, PipelineFacts, TaskFacts
from merian_campaign.domain.preflight.inputs import few, short
from merian_campaign.domain.preflight.queries import PIXELS, StepQuery, looks
from merian_campaign.domain.selection import OF_EXPOSURES
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.steps import Scope, effective_scope

_ON_SKY = frozenset({"tract", "patch", "visit"})
"""Dimensions that a data query joins with no `PIXELS`."""

_SINGLE = frozenset({"exposure", "visit"})


def scope_of(step: BpsStep, pipeline: PipelineFacts) -> Scope:
    """Return what a selection of a step may constrain, by the dimensions of its tasks.

    Parameters
    ----------
    step : `BpsStep`
        The step. Of tasks by tract and visit, its grouping says by which of them it is meant to be cut.
    pipeline : `PipelineFacts`
        Its pipeline, without a problem.
    """
    tasks = [task for task in pipeline.tasks if task.label not in step.partial] or pipeline.tasks
    of_all = [task.dimensions for task in tasks if not _combines(task)]
    if pipeline.declared is not None:
        of_all = [pipeline.declared]
    over = bool(of_all) and all(dimensions & _SINGLE for dimensions in of_all)
    by_tract = bool(of_all) and all("tract" in dimensions for dimensions in of_all)
    if by_tract and not (over and step.group_by.cut_by in OF_EXPOSURES):
        return "tract"
    if not over:
        return "global"
    exposures = any("exposure" in task.dimensions for task in tasks)
    return "exposure" if exposures and not any("skymap" in task.dimensions for task in tasks) else "visit"


def _combines(task: TaskFacts) -> bool:
    """Say whether a task makes calibrations of what others made of exposures, which are what is selected."""
    return task.calibration and not task.dimensions & _SINGLE and "skymap" not in task.dimensions


def wants_skymap(look: StepQuery, pipeline: PipelineFacts) -> bool:
    """Say whether a task works by sky map and the data query names none: it would run for every one."""
    return not look.on_skymap and any("skymap" in task.dimensions for task in pipeline.tasks)


def unsaid_skymap(spec: CampaignSpec) -> tuple[StepQuery, ...]:
    """Return what to ask of the steps whose data query does not name the campaign's sky map by itself."""
    return () if spec.skymap is None else tuple(look for look in looks(spec) if not look.on_skymap)


def scope_findings(
    look: StepQuery, step: BpsStep, pipeline: PipelineFacts, *, skymap: str | None
) -> list[Finding]:
    """Return tasks whose quanta would see a part of their inputs, or the tracts of every sky map.

    Parameters
    ----------
    look, step
        The step; ``look`` may be of one group.
    pipeline : `PipelineFacts`
        Its pipeline.
    skymap : `str` or `None`
        The campaign's sky map.
    """
    if pipeline.problem:
        return []
    return _split(look, step, pipeline) + _unmapped(look, pipeline, skymap=skymap)


def _split(look: StepQuery, step: BpsStep, pipeline: PipelineFacts) -> list[Finding]:
    # A tract in the data query cuts as a group does.
    by = look.by or ("tract" if effective_scope(step) == "tract" else "")
    if not by:
        return []
    joined = _ON_SKY & _spatial(pipeline) if PIXELS.fullmatch(by) else frozenset()
    if joined:
        return [
            Finding(
                place=look.place,
                message=f"cut by {by}, its graphs could not be built: no data query joins {by} with "
                f"{few(sorted(joined))}, which its tasks read or work by",
                fix="write group_by: everything",
            )
        ]
    within = OF_EXPOSURES[by].within if by in OF_EXPOSURES else frozenset({by})
    if pipeline.declared is not None:
        if pipeline.declared & within:
            return []
        if not pipeline.labels <= set(step.partial):
            return [_undeclared(look, step, by=by, declared=pipeline.declared)]
    # Calibrations hold for a time: those of one night are whole. They have nothing to do with the sky.
    wrong = [
        task
        for task in pipeline.tasks
        if not task.dimensions & within
        and task.label not in step.partial
        and not (task.calibration and by in OF_EXPOSURES and "skymap" not in task.dimensions)
    ]
    return [_in_parts(look, wrong, by=by)] if wrong else []


def _in_parts(look: StepQuery, wrong: list[TaskFacts], *, by: str) -> Finding:
    """Say of tasks that work on more than a group that each group would get a part of it."""
    labels = few(task.label for task in wrong)
    if by == "tract" and all(task.dimensions & _SINGLE for task in wrong):
        message = f"cut by tract, {_shown(wrong)} would run on partial visits"
        remedy = "group_by: day_obs, exposure or visit, with scope: visit"
    else:
        message = f"cut by {by}, every group would make its own part of what {_shown(wrong)} makes of all"
        tract = by != "tract" and all("tract" in task.dimensions for task in wrong)
        remedy = "scope: tract, group_by: tract" if tract else "scope: global, group_by: everything"
    return Finding(
        place=look.place,
        message=message,
        fix=f"run {labels} in a step of its own ({remedy}), or the whole step at once (scope: global, no "
        f"group_by, no select); partial: [{labels}] says that parts are meant",
    )


def _spatial(pipeline: PipelineFacts) -> frozenset[str]:
    """Return the dimensions that the data query of a pipeline's graph has to do with."""
    needs = (need.dimensions for need in pipeline.inputs if not need.prerequisite)
    return frozenset().union(*(task.dimensions for task in pipeline.tasks), *needs)


def _undeclared(look: StepQuery, step: BpsStep, *, by: str, declared: frozenset[str]) -> Finding:
    what = few(sorted(declared - {"instrument", "skymap"}), at_most=6) or "nothing"
    return Finding(
        place=look.place,
        message=f"{short(step.pipeline)} declares that it may be cut by {what}, and it is cut by {by}",
        fix=f"cut it by {what}" if what != "nothing" else "write group_by: everything and scope: global",
    )


def _shown(tasks: list[TaskFacts]) -> str:
    return few(f"{task.label} ({', '.join(sorted(task.dimensions)) or 'no dimensions'})" for task in tasks)


def _unmapped(look: StepQuery, pipeline: PipelineFacts, *, skymap: str | None) -> list[Finding]:
    # Where the campaign has one, the driver adds it.
    if skymap is not None or not wants_skymap(look, pipeline):
        return []
    on_sky = [task for task in pipeline.tasks if "skymap" in task.dimensions]
    return [
        Finding(
            place=look.place,
            message=f"{_shown(on_sky)} would run for every sky map there is: the campaign names none",
            fix="write skymap: NAME in the campaign",
        )
    ]
