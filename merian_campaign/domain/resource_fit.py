"""Whether a submission fits the cluster it would go to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from merian_campaign.domain.cluster import Cluster, driver_asked, refusal, slurm_seconds, task_refusal
from merian_campaign.domain.remedy import RequestTable
from merian_campaign.domain.site_profile import SiteProfile
from merian_campaign.domain.snapshot import GroupView, Remedy
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.states import SubmissionState
from merian_campaign.domain.throttle import Allotment

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
) -> str:
    """Say why the cluster can never run a submission; empty when it can."""
    known = None
    if isinstance(step, BpsStep) and requests is not None:
        known = known_requests(group, step=step, remedy=remedy, requests=requests)
    return step_refused(known=known, remedy=remedy, site=site, cluster=cluster)


def step_refused(
    *, known: Mapping[str, int] | None, remedy: Remedy, site: SiteProfile, cluster: Cluster
) -> str:
    """Say why the cluster can never run what asks for so many MiB by task; `None` needs a driver only."""
    if site.driver is not None:
        why = refusal(driver_asked(site.driver, where=f"driver_options in {site.file}"), cluster)
        if why:
            return why
    if site.blocks is None or known is None:
        return ""
    asked = site.blocks.asked(where=f"site.{site.name} in {site.file}")
    if remedy.workers is not None:
        asked = replace(asked, cpus=remedy.workers)
    larger = site.larger_for(max(known.values(), default=0))
    if larger is not None:
        asked = replace(
            asked,
            partition=larger.partition or asked.partition,
            mem_mb=larger.mem_per_node * _MB,
            cpus=remedy.workers or larger.cores_per_node or asked.cpus,
            walltime=larger.walltime or asked.walltime,
            seconds=slurm_seconds(larger.walltime) if larger.walltime else asked.seconds,
            where=f"larger in {site.file}",
        )
    return refusal(asked, cluster) or task_refusal(
        requests=known,
        shared_mb=site.most_mb,
        cluster=cluster,
        where=f"mem_per_node of site.{site.name}, or larger, in {site.file}; the step's resources",
    )
