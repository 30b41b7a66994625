"""From facts to findings about a whole campaign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from merian_campaign.domain.campaign.plan import plan_groups
from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.preflight import collisions, host_checks, inputs
from merian_campaign.domain.preflight.calibrations import calibration_findings
from merian_campaign.domain.preflight.clusters import Clusters, cluster_findings
from merian_campaign.domain.preflight.facts import (
    Facts,
    Finding,
    PipelineFacts,
    Present,
    RepositoryFacts,
    Selected,
)
from merian_campaign.domain.preflight.inputs import Groups
from merian_campaign.domain.preflight.order import order_findings
from merian_campaign.domain.preflight.queries import Made, StepQuery, looks, made_by
from merian_campaign.domain.preflight.scope import scope_findings
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.spec import BpsStep, CampaignSpec


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """What a campaign's files say besides its own.

    Parameters
    ----------
    root : `str`
        Folder of submissions where the campaign names none.
    site : `SiteProfile` or `None`
        Where it runs.
    requests : `~collections.abc.Mapping`
        Memory requests by step.
    clusters : `~collections.abc.Mapping`
        Clusters of BPS by step.
    """

    root: str = ""
    site: SiteProfile | None = None
    requests: Mapping[str, RequestTable] = field(default_factory=dict)
    clusters: Mapping[str, Clusters] = field(default_factory=dict)


def findings(spec: CampaignSpec, facts: Facts, *, settings: CheckSettings) -> tuple[Finding, ...]:
    """Return what is wrong, in the order of the steps; what is not about a step comes first.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    facts : `Facts`
        What is known.
    settings : `CheckSettings`
        What its other files say.
    """
    found = list(_surroundings(spec, facts, settings))
    found += _pipelines(spec, facts, settings)
    found += host_checks.bps_findings(settings.requests, wms=spec.wms)
    found += collisions.output_findings(
        spec,
        collections=facts.repository.collections,
        tracking=facts.tracking,
        remains=facts.host.remains if facts.host is not None else frozenset(),
        root=settings.root,
    )
    repository = facts.repository
    if repository.problem:
        found.append(Finding(place="butler", message=repository.problem, fix="correct butler:, or mend it"))
    elif not repository.there:
        found.append(
            Finding(
                place="butler",
                message=f"{spec.butler} is not there yet, so nothing in it was looked at",
                fix="ask again when its create and ingest steps are done",
                fatal=False,
            )
        )
    else:
        found += _repository(spec, facts)
    order = [step.name for step in spec.steps]
    return tuple(sorted(dict.fromkeys(found), key=lambda entry: _position(entry.place, order)))


def _position(place: str, order: list[str]) -> int:
    step = place.partition("/")[0].partition(" ")[0]
    return order.index(step) if step in order else -1


def _surroundings(spec: CampaignSpec, facts: Facts, settings: CheckSettings) -> list[Finding]:
    found = host_checks.tracking_findings(facts.tracking)
    if facts.host is not None:
        found += host_checks.folder_findings(facts.host.folders)
        found += host_checks.credential_findings(facts.host)
    if settings.site is None:
        return found
    requests = {
        step.name: host_checks.needs(step, facts.pipelines.get(step.name), settings.requests[step.name])
        for step in spec.steps
        if isinstance(step, BpsStep) and step.name in settings.requests
    }
    if facts.host is not None:
        found += host_checks.local_findings(settings.site, host=facts.host, requests=requests)
    found += host_checks.slurm_findings(spec, settings.site, scheduler=facts.scheduler, requests=requests)
    return found


def _pipelines(spec: CampaignSpec, facts: Facts, settings: CheckSettings) -> list[Finding]:
    found: list[Finding] = []
    for look in looks(spec, existing=facts.tracking.groups if facts.tracking else ()):
        step = spec.step(look.place)
        if isinstance(step, BpsStep) and step.name in facts.pipelines:
            pipeline = facts.pipelines[step.name]
            found += inputs.pipeline_findings(step, pipeline)
            found += scope_findings(look, step, pipeline, skymap=spec.skymap)
            found += cluster_findings(step.name, pipeline, settings.clusters.get(step.name, {}))
    return found + order_findings(spec, facts.pipelines, collections=facts.repository.collections)


def _repository(spec: CampaignSpec, facts: Facts) -> list[Finding]:
    made = made_by(spec, facts.pipelines)
    groups: dict[str, dict[str, tuple[int, ...]]] = {}
    existing = facts.tracking.groups if facts.tracking else ()
    for group in plan_groups(spec, existing=existing).wanted:
        groups.setdefault(group.step, {})[group.key] = group.selection.values
    found: list[Finding] = []
    for look in looks(spec, existing=existing):
        step = spec.step(look.place)
        assert isinstance(step, BpsStep)
        pipeline = facts.pipelines.get(step.name, PipelineFacts())
        found += inputs.filter_findings(step, facts.repository, made=made)
        found += inputs.tract_findings(
            look,
            groups=groups.get(step.name, {}),
            pipeline=pipeline,
            skymap=spec.skymap,
            tracts=facts.repository.tracts,
            made=made,
        )
        found += read_findings(
            look,
            step,
            groups=groups.get(step.name, {}),
            pipeline=pipeline,
            repository=facts.repository,
            made=made,
        )
    return found


def read_findings(
    look: StepQuery,
    step: BpsStep,
    *,
    groups: Groups,
    pipeline: PipelineFacts,
    repository: RepositoryFacts,
    made: Made | None,
) -> list[Finding]:
    """Return findings about what a step, or one group of it, reads.

    Parameters
    ----------
    look, step
        The step; ``look`` may be of one group.
    groups : `~collections.abc.Mapping`
        The groups it is about.
    pipeline : `PipelineFacts`
        Its pipeline.
    repository : `RepositoryFacts`
        What the repository says.
    made : `Made` or `None`
        What the campaign's steps make; `None` when all they make is there by now.
    """
    collections = repository.collections
    found = inputs.collection_findings(look, collections=collections, made=made)
    absent = bool(found)
    if not absent and not pipeline.problem:
        found += inputs.dataset_findings(look, pipeline, collections=collections, made=made)
    selected = repository.selected.get(look.place, Selected())
    skip: frozenset[str] = frozenset()
    if look.exposures and look.place in repository.selected:
        found += inputs.selection_findings(look, step, groups=groups, selected=selected, made=made)
        skip = frozenset(
            key
            for key, values in groups.items()
            if not any(inputs.of_group(look, exposure, values) for exposure in selected.exposures)
        )
        found += calibration_findings(
            look,
            pipeline,
            selected=selected,
            certified=repository.certified,
            collections=collections,
            made=made,
        )
    present: dict[str, Present] = {
        name: answer for (place, name), answer in repository.present.items() if place == look.place
    }
    return found + inputs.presence_findings(look, step, groups=groups, present=present, skip=skip)
