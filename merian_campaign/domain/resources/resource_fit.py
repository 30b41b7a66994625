"""Whether a submission fits the cluster it would go to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.record.snapshot import GroupView, Remedy
from merian_campaign.domain.resources.cluster import (
    Blocks,
    Cluster,
    Misfit,
    ResourceRequest,
    driver_asked,
    refusal,
    slurm_seconds,
    task_refusal,
)
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.resources.throttle import Allotment
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.spec.site import Larger
from merian_campaign.domain.states import SubmissionState

_MB = 1024


def known_requests(
    group: GroupView, *, step: BpsStep, remedy: Remedy, requests: RequestTable
) -> Mapping[str, int]:
    """Return the memory requests that a submission certainly has, MiB by task.

    Before the first graph of a group, those are of the tasks that the step names itself: its pipeline may
    hold others, and its includes may name tasks of other steps.
    """
    labels = {entry.task for entry in group.open_quanta} | {label for label, _ in remedy.memory_mb}
    if not any(entry.state is SubmissionState.FINISHED for entry in group.submissions):
        labels |= {label for label, given in step.resources.items() if given.memory is not None}
    return {label: requests.request(label, remedy) for label in labels}


def most_share(
    group: GroupView,
    *,
    spec: CampaignSpec,
    remedy: Remedy,
    requests: RequestTable | None,
    site: SiteProfile | None,
) -> Allotment:
    """Return what a submission would have in Slurm's queue if there were no limits but its site's."""
    if site is None:
        return Allotment()
    driver = int(site.driver is not None)
    step = spec.step(group.step)
    if site.blocks is None or isinstance(step, ActionStep) or requests is None:
        return Allotment(jobs=driver)
    known = known_requests(group, step=step, remedy=remedy, requests=requests)
    larger = site.larger_for(max(known.values(), default=0))
    blocks = (larger and larger.max_blocks) or site.blocks.max_blocks
    # The stock service knows of one block only.
    blocks = 1 if spec.wms == "stock" else blocks
    return Allotment(blocks=blocks, jobs=driver + blocks)


def refused(
    group: GroupView,
    *,
    step: BpsStep | ActionStep,
    remedy: Remedy,
    requests: RequestTable | None,
    site: SiteProfile,
    cluster: Cluster,
) -> Misfit | None:
    """Return why the cluster can never run a submission; `None` when it can."""
    known = None
    if isinstance(step, BpsStep) and requests is not None:
        known = known_requests(group, step=step, remedy=remedy, requests=requests)
    return step_refused(known=known, remedy=remedy, site=site, cluster=cluster)


def step_refused(
    *, known: Mapping[str, int] | None, remedy: Remedy, site: SiteProfile, cluster: Cluster
) -> Misfit | None:
    """Return why the cluster can never run what asks for so many MiB by task; `None` needs a driver only."""
    for asked in _jobs(known, remedy=remedy, site=site):
        why = refusal(asked, cluster)
        if why:
            return Misfit(words=why, asked=asked)
    if site.blocks is None or known is None:
        return None
    why = task_refusal(
        requests=known,
        shared_mb=site.most_mb,
        cluster=cluster,
        where=f"mem_per_node of site.{site.name}, or larger, in {site.file}; the step's resources",
    )
    return Misfit(words=why) if why else None


def site_jobs(site: SiteProfile) -> Iterator[ResourceRequest]:
    """Return what each kind of Slurm job of a site asks for: drivers, blocks, larger blocks."""
    if site.driver is not None:
        yield driver_asked(site.driver, where=f"driver_options in {site.file}")
    if site.blocks is not None:
        for larger in (None, *site.larger):
            yield _block(site, site.blocks, larger, workers=None)


def _jobs(known: Mapping[str, int] | None, *, remedy: Remedy, site: SiteProfile) -> Iterator[ResourceRequest]:
    """Return what the Slurm jobs of a submission ask for: its driver's, its blocks'."""
    if site.driver is not None:
        yield driver_asked(site.driver, where=f"driver_options in {site.file}")
    if site.blocks is not None and known is not None:
        larger = site.larger_for(max(known.values(), default=0))
        yield _block(site, site.blocks, larger, workers=remedy.workers)


def _block(
    site: SiteProfile, blocks: Blocks, larger: Larger | None, *, workers: int | None
) -> ResourceRequest:
    asked = blocks.asked(where=f"site.{site.name} in {site.file}")
    if workers is not None:
        asked = replace(asked, cpus=workers)
    if larger is None:
        return asked
    return replace(
        asked,
        partition=larger.partition or asked.partition,
        mem_mb=larger.mem_per_node * _MB,
        cpus=workers or larger.cores_per_node or asked.cpus,
        walltime=larger.walltime or asked.walltime,
        seconds=slurm_seconds(larger.walltime) if larger.walltime else asked.seconds,
        where=f"larger in {site.file}",
    )
