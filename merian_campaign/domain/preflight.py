"""What can be known before any graph is built: questions to a repository, and findings from its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from merian_campaign.domain.plan import plan_groups
from merian_campaign.domain.render import data_query, input_collections
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.spec.actions import ACTIONS, CertifyCalibrations, CollectionChain
from merian_campaign.domain.spec.grouping import dimension_of
from merian_campaign.domain.spec.steps import effective_scope

_MADE_BY = {
    "create": (),
    "reference-catalogue": ("refcats",),
    "transfer-datasets": (),
    "register-skymap": ("skymaps",),
    "write-curated-calibrations": ("{instrument}/calib",),
    "ingest-raws": ("{instrument}/raw/all",),
}
"""Prefixes of collections that actions make by themselves."""

LITTLE_DISK_GB = 20.0
"""Free space below which a run is likely to end for want of it."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to mend, or to know.

    Parameters
    ----------
    place : `str`
        Step or step/group; the campaign's field otherwise.
    message : `str`
        What is wrong, and what to do.
    fatal : `bool`
        Whether submissions would fail.
    """

    place: str
    message: str
    fatal: bool = True


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What to ask a repository.

    Parameters
    ----------
    exposures : `dict` [`str`, `str`]
        Data query by step/group: how many exposures does it select?
    pipelines : `dict` [`str`, `str`]
        Pipeline by step: does it parse, has it the subset?
    skymap : `str` or `None`
        Which tracts has it?
    """

    exposures: Mapping[str, str]
    pipelines: Mapping[str, str]
    skymap: str | None


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a repository and a file system say.

    Parameters
    ----------
    exposures : `dict` [`str`, `int` or `str`]
        Number by step/group, or the butler's complaint about the query.
    pipelines : `dict` [`str`, `str`]
        Complaint by step, for those that do not parse.
    tracts : `frozenset` [`int`] or `None`
        Tracts of the sky map; `None` when it is not registered.
    collections : `dict` [`str`, `str`]
        Type by name.
    free_gb : `dict` [`str`, `float`]
        Free space by folder.
    repository : `bool`
        Whether there is a repository.
    """

    exposures: Mapping[str, int | str] = field(default_factory=dict)
    pipelines: Mapping[str, str] = field(default_factory=dict)
    tracts: frozenset[int] | None = None
    collections: Mapping[str, str] = field(default_factory=dict)
    free_gb: Mapping[str, float] = field(default_factory=dict)
    repository: bool = True


def questions(spec: CampaignSpec) -> Questions:
    """Return what to ask for a campaign."""
    exposures = {}
    for group in plan_groups(spec).wanted:
        step = spec.step(group.step)
        if isinstance(step, BpsStep) and effective_scope(step) in {"exposure", "visit"}:
            exposures[f"{group.step}/{group.key}"] = data_query(
                spec=spec, step=step, selection=group.selection
            )
    return Questions(
        exposures=exposures,
        pipelines={step.name: step.pipeline for step in spec.steps if isinstance(step, BpsStep)},
        skymap=spec.skymap,
    )


def findings(spec: CampaignSpec, answers: Answers) -> tuple[Finding, ...]:
    """Return what is wrong, in the order of the steps.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    answers : `Answers`
        To its `questions`.
    """
    found = [
        Finding(place=step, message=f"{complaint}; correct pipeline:, or set up its package")
        for step, complaint in answers.pipelines.items()
    ]
    found += _disk(answers)
    if not answers.repository:
        found.append(
            Finding(
                place="butler",
                message=f"{spec.butler} is not there yet; what it will hold was not looked at",
                fatal=False,
            )
        )
        return tuple(found)
    found += _collections(spec, answers)
    found += _exposures(spec, answers)
    found += _tracts(spec, answers)
    order = [step.name for step in spec.steps]
    return tuple(sorted(found, key=lambda entry: _position(entry.place, order)))


def _position(place: str, order: list[str]) -> int:
    step = place.partition("/")[0]
    return order.index(step) if step in order else -1


def _disk(answers: Answers) -> list[Finding]:
    return [
        Finding(
            place=folder,
            message=f"only {free:.1f} GB are free; make room, or move butler or work_dir",
            fatal=False,
        )
        for folder, free in answers.free_gb.items()
        if free < LITTLE_DISK_GB
    ]


def _made(spec: CampaignSpec) -> tuple[set[str], set[str]]:
    """Return collections that the campaign's own steps make: by name, and prefixes."""
    names: set[str] = set()
    prefixes: set[str] = set()
    for step in spec.steps:
        if isinstance(step, BpsStep):
            names.add(spec.output_of(step))
            continue
        given = ACTIONS[step.action].model_validate(dict(step.arguments))
        if isinstance(given, CertifyCalibrations):
            names.add(given.output)
        elif isinstance(given, CollectionChain):
            names.add(given.parent)
        prefixes.update(entry.format(instrument=spec.instrument) for entry in _MADE_BY.get(step.action, ()))
    return names, prefixes


def _collections(spec: CampaignSpec, answers: Answers) -> list[Finding]:
    names, prefixes = _made(spec)
    found = []
    for step in spec.steps:
        if isinstance(step, ActionStep):
            continue
        for name in input_collections(spec=spec, step=step):
            made = name in names or any(name == start or name.startswith(f"{start}/") for start in prefixes)
            if not made and name not in answers.collections:
                found.append(
                    Finding(
                        place=step.name,
                        message=f"the input collection {name} is not in the repository, and no step "
                        "makes it; correct inputs:, or add the step",
                    )
                )
        output = spec.output_of(step)
        kind = answers.collections.get(output, "CHAINED")
        if kind != "CHAINED":
            found.append(
                Finding(
                    place=step.name,
                    message=f"its output {output} is a {kind} collection already, and must be a chain; "
                    "give the step another output:",
                )
            )
    return found


def _exposures(spec: CampaignSpec, answers: Answers) -> list[Finding]:
    ingests = any(isinstance(step, ActionStep) and step.action == "ingest-raws" for step in spec.steps)
    asked = questions(spec).exposures
    found = []
    for place, answer in answers.exposures.items():
        if isinstance(answer, str):
            found.append(Finding(place=place, message=f"its data query is refused: {answer}"))
        elif answer == 0:
            step = spec.step(place.partition("/")[0])
            assert isinstance(step, BpsStep)
            found.append(
                Finding(
                    place=place,
                    message=f"no exposure is selected by: {asked[place]}"
                    + ("; its raws may come with an ingest-raws step" if ingests else ""),
                    fatal=step.if_empty == "needs_review" and not ingests,
                )
            )
    return found


def _tracts(spec: CampaignSpec, answers: Answers) -> list[Finding]:
    groups = [
        (group.step, tract)
        for group in plan_groups(spec).wanted
        if isinstance(step := spec.step(group.step), BpsStep) and dimension_of(step.group_by) == "tract"
        for tract in group.selection.values
    ]
    if not groups and not any(spec.discovers(step) for step in spec.steps):
        return []
    if answers.tracts is None:
        registers = any(
            isinstance(step, ActionStep) and step.action == "register-skymap" for step in spec.steps
        )
        message = f"the sky map {spec.skymap} is not registered; `butler register-skymap`, or add that step"
        return [Finding(place="skymap", message=message, fatal=not registers)]
    missing: dict[str, list[int]] = {}
    for name, tract in groups:
        if tract not in answers.tracts:
            missing.setdefault(name, []).append(tract)
    return [
        Finding(
            place=name,
            message=f"{len(tracts)} tracts are not in {spec.skymap}: {', '.join(map(str, tracts[:5]))}"
            + (" ..." if len(tracts) > 5 else ""),  # noqa: PLR2004 - a few are enough to see
        )
        for name, tracts in missing.items()
    ]
