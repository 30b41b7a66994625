"""What a submission has to run, and whether it fits the cluster it would go to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.record.board_row import AFTERBURNER
from merian_campaign.domain.record.snapshot import GroupView, Remedy
from merian_campaign.domain.resources.block_shape import BlockShape, Workload, block_shape, whole_shape
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
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.states import SubmissionState


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


def workload(
    group: GroupView,
    *,
    spec: CampaignSpec,
    step: BpsStep,
    remedy: Remedy,
    requests: RequestTable,
    reason: str,
) -> Workload:
    """Return what a submission of a group has to run, as far as its blocks depend on it.

    Parameters
    ----------
    group : `GroupView`
        The group.
    spec : `CampaignSpec`
        The campaign.
    step : `BpsStep`
        Its step.
    remedy : `Remedy`
        What the submission does differently.
    requests : `RequestTable`
        Requests of the step before any remedy.
    reason : `str`
        Why it is submitted.
    """
    known = known_requests(group, step=step, remedy=remedy, requests=requests)
    return Workload(
        needs_mb=max(known.values(), default=0),
        cpus=max((requests.cpus(task) for task in known), default=1),
        # One whose driver was lost before it had a graph has all before it, and nobody knows how much.
        quanta=(group.counts.open or None) if reason.startswith(AFTERBURNER) else None,
        workers=remedy.workers,
        exact=spec.wms == "campaign",
    )


def submission_shape(
    group: GroupView,
    *,
    spec: CampaignSpec,
    remedy: Remedy,
    requests: RequestTable | None,
    site: SiteProfile | None,
    reason: str,
) -> BlockShape | None:
    """Return what the blocks of a submission ask for; `None` where it has none.

    Parameters
    ----------
    group, spec, remedy, requests, reason
        As `workload` has them; `None` for requests that nobody has read.
    site : `SiteProfile` or `None`
        Where it runs.
    """
    step = spec.step(group.step)
    if not isinstance(step, BpsStep) or requests is None or site is None or site.blocks is None:
        return None
    work = workload(group, spec=spec, step=step, remedy=remedy, requests=requests, reason=reason)
    return block_shape(site, site.blocks, work)


def most_share(*, spec: CampaignSpec, work: Workload | None, site: SiteProfile | None) -> Allotment:
    """Return what a submission would have in Slurm's queue if there were no limits but its site's.

    Parameters
    ----------
    spec : `CampaignSpec`
        The campaign.
    work : `Workload` or `None`
        What it runs; `None` needs a driver only.
    site : `SiteProfile` or `None`
        Where it runs.
    """
    if site is None:
        return Allotment()
    driver = int(site.driver is not None)
    if site.blocks is None or work is None:
        return Allotment(jobs=driver)
    # The stock service knows of one block only.
    blocks = 1 if spec.wms == "stock" else block_shape(site, site.blocks, work).max_blocks
    return Allotment(blocks=blocks, jobs=driver + blocks)


def step_refused(
    *, known: Mapping[str, int] | None, work: Workload | None = None, site: SiteProfile, cluster: Cluster
) -> Misfit | None:
    """Return why the cluster can never run a submission; `None` when it can.

    Parameters
    ----------
    known : `~collections.abc.Mapping` or `None`
        MiB that it asks for by task; `None` needs a driver only.
    work : `Workload`, optional
        What it has to run; default: a first submission of these tasks.
    site : `SiteProfile`
        Where it runs.
    cluster : `Cluster`
        What that allows.
    """
    if work is None and known is not None:
        work = Workload(needs_mb=max(known.values(), default=0))
    for asked in _jobs(work, site=site):
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


def collects(spec: CampaignSpec, site: SiteProfile | None) -> bool:
    """Say whether a site's blocks have their nodes for themselves, and small ones of a user can share one."""
    blocks = None if site is None else site.blocks
    return blocks is not None and blocks.exclusive and blocks.exact and spec.wms == "campaign"


def site_jobs(site: SiteProfile) -> Iterator[ResourceRequest]:
    """Return what each kind of Slurm job of a site asks for: drivers, blocks, larger blocks."""
    yield from _jobs(Workload(), site=site)
    if site.blocks is not None:
        for larger in site.larger:
            yield _block(site, site.blocks, whole_shape(site.blocks, larger))


def _jobs(work: Workload | None, *, site: SiteProfile) -> Iterator[ResourceRequest]:
    """Return what the Slurm jobs of a submission ask for: its driver's, its blocks'."""
    if site.driver is not None:
        yield driver_asked(site.driver, where=f"driver_options in {site.file}")
    if site.blocks is not None and work is not None:
        yield _block(site, site.blocks, block_shape(site, site.blocks, work))


def _block(site: SiteProfile, blocks: Blocks, shape: BlockShape) -> ResourceRequest:
    asked = replace(
        blocks.asked(where=f"site.{site.name} in {site.file}"),
        nodes=shape.nodes, cpus=shape.cores, mem_mb=shape.mem_mb,
    )  # fmt: skip
    larger = shape.larger
    if larger is None:
        return asked
    return replace(
        asked,
        partition=larger.partition or asked.partition,
        walltime=larger.walltime or asked.walltime,
        seconds=slurm_seconds(larger.walltime) if larger.walltime else asked.seconds,
        where=f"larger in {site.file}",
    )
