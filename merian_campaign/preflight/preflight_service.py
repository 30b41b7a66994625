"""The order in which a preflight asks: pipelines, repository, tracking database, machine, Slurm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from merian_campaign.domain.errors import BadInputError, CampaignError
from merian_campaign.domain.preflight import CheckSettings, Facts, Finding, StepQuery, findings, looks
from merian_campaign.domain.preflight.collisions import directory_of, next_submissions
from merian_campaign.domain.preflight.facts import (
    HostFacts,
    PipelineFacts,
    RepositoryFacts,
    SchedulerFacts,
    Tracking,
)
from merian_campaign.domain.record.applied_spec import applied_spec
from merian_campaign.domain.record.snapshot import CampaignView
from merian_campaign.domain.resources.cluster import refusal, test_options
from merian_campaign.domain.resources.resource_fit import site_jobs
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.files.bps_files import read_clusters
from merian_campaign.services.ports import Scheduler, Store
from merian_campaign.services.runtime import CampaignSettings


class PreflightQueries(Protocol):
    """A repository and the pipelines, open for questions."""

    def pipeline(self, look: StepQuery) -> PipelineFacts:
        """Return what a pipeline reads and makes."""

    def campaign(
        self, spec: CampaignSpec, looks: tuple[StepQuery, ...], *, pipelines: Mapping[str, PipelineFacts]
    ) -> RepositoryFacts:
        """Return what the repository says about a whole campaign."""


class HostProbe(Protocol):
    """Looks at this machine and its file systems."""

    def __call__(self, *, repository: str, folders: Iterable[str], directories: Iterable[str]) -> HostFacts:
        """Return what is known of this machine."""


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """A preflight of whole campaigns.

    Parameters
    ----------
    open_store : callable
        Gives the tracking database; `None` when there is none yet.
    inquire : callable
        Opens a repository for questions.
    look_at_host : callable
        Looks at this machine.
    scheduler : `Scheduler`
        Slurm; asked only for sites that are on it.
    root : `str`
        Folder of submissions where a campaign names none.
    progress : callable
        Told in words what is looked at next.
    """

    open_store: Callable[[], Store | None]
    inquire: Callable[[str], AbstractContextManager[PreflightQueries]]
    look_at_host: HostProbe
    scheduler: Scheduler
    root: str
    progress: Callable[[str], None]

    def run(self, spec: CampaignSpec, settings: CampaignSettings) -> tuple[Finding, ...]:
        """Return what would make a campaign's submissions fail, and what is worth knowing."""
        self.progress("the tracking database")
        tracking = self._tracking(spec)
        asked = looks(spec, existing=tracking.groups)
        with self.inquire(spec.butler) as inquiry:
            self.progress("pipelines")
            pipelines = {look.place: inquiry.pipeline(look) for look in asked}
            self.progress("the repository")
            repository = inquiry.campaign(spec, asked, pipelines=pipelines)
        self.progress("this machine and its file systems")
        folders = [folder for folder in (spec.butler, spec.work_dir or self.root) if "://" not in folder]
        host = self.look_at_host(
            repository=spec.butler,
            folders=folders,
            directories=[
                directory_of(spec, group, number, root=self.root)
                for group, number in next_submissions(spec, tracking)
            ],
        )
        facts = Facts(
            pipelines=pipelines,
            repository=repository,
            host=host,
            tracking=tracking,
            scheduler=self._scheduler(settings.site),
        )
        return findings(
            spec,
            facts,
            settings=CheckSettings(
                root=self.root,
                site=settings.site,
                requests=settings.requests,
                clusters={
                    step.name: read_clusters(spec, step) for step in spec.steps if isinstance(step, BpsStep)
                },
            ),
        )

    def _tracking(self, spec: CampaignSpec) -> Tracking:
        try:
            store = self.open_store()
            if store is None:
                return Tracking(asked=False)
            campaigns = store.campaigns()
            known = any(campaign.name == spec.campaign for campaign in campaigns)
            others = [_spec(campaign) for campaign in campaigns if campaign.name != spec.campaign]
            return Tracking(
                groups=store.snapshot(spec.campaign).groups if known else (),
                others=tuple(other for other in others if other is not None),
            )
        except CampaignError as error:
            return Tracking(problem=str(error))

    def _scheduler(self, site: SiteProfile) -> SchedulerFacts | None:
        if not site.on_slurm:
            return None
        self.progress("Slurm")
        cluster = self.scheduler.cluster()
        if isinstance(cluster, str):
            return SchedulerFacts(unreachable=cluster)
        jobs = tuple(site_jobs(site))
        refused = [words for asked in jobs if (words := self.scheduler.would_refuse(asked))]
        # Slurm has the last word on what its partitions seem to refuse.
        taken = [asked for asked in jobs if refusal(asked, cluster) and self.scheduler.would_take(asked)]
        cluster = replace(cluster, taken=frozenset(map(test_options, taken)))
        return SchedulerFacts(cluster=cluster, refused=tuple(refused))


def _spec(campaign: CampaignView) -> CampaignSpec | None:
    """Return a campaign as applied; `None` for one of an earlier release that this one cannot read."""
    try:
        return applied_spec(campaign)
    except BadInputError:
        return None
