"""Findings about where a campaign runs: folders, tracking database, this machine, Slurm."""

from __future__ import annotations

from collections.abc import Mapping

from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.preflight.facts import (
    Finding,
    FolderFacts,
    HostFacts,
    PipelineFacts,
    SchedulerFacts,
    Tracking,
)
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.resources.cluster import Cluster
from merian_campaign.domain.resources.resource_fit import collects, step_refused
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.spec import BpsStep, CampaignSpec

LITTLE_DISK_GB = 20.0
"""Free space below which a run is likely to end for want of it."""

FEW_FILES = 100_000
"""Free inodes below which a run is likely to end for want of them."""


def folder_findings(folders: tuple[FolderFacts, ...]) -> list[Finding]:
    """Return folders that cannot be written to, are nearly full, or over a quota."""
    found = []
    for entry in folders:
        if entry.unwritable:
            found.append(
                Finding(
                    place=entry.folder,
                    message=f"you cannot write to {entry.unwritable}",
                    fix="have its owner chmod it (`chmod -R g+w`), or use another butler: or work_dir:",
                )
            )
        if entry.free_gb < LITTLE_DISK_GB:
            found.append(
                Finding(
                    place=entry.folder,
                    message=f"only {entry.free_gb:.1f} GB are free",
                    fix="make room, or move butler: or work_dir:",
                    fatal=False,
                )
            )
        if entry.free_files is not None and entry.free_files < FEW_FILES:
            found.append(
                Finding(
                    place=entry.folder,
                    message=f"only {entry.free_files} more files can be made there (inodes)",
                    fix="remove some, or move butler: or work_dir:",
                    fatal=False,
                )
            )
        if entry.quota:
            found.append(
                Finding(
                    place=entry.folder,
                    message=f"a quota is used up or nearly so: {entry.quota}",
                    fix="make room, or have the quota raised",
                    fatal=False,
                )
            )
    return found


def tracking_findings(tracking: Tracking | None) -> list[Finding]:
    """Return what is wrong with the tracking database."""
    if tracking is None or not tracking.problem:
        return []
    message, _, fix = tracking.problem.partition(": run ")
    return [
        Finding(
            place="tracking database",
            message=message,
            fix=f"run {fix}" if fix else "start it, or correct MERIAN_CAMPAIGN_DATABASE_URL",
        )
    ]


def credential_findings(host: HostFacts) -> list[Finding]:
    """Return what is wrong with the file of database passwords, where the repository needs one."""
    if not host.credentials:
        return []
    message, _, fix = host.credentials.partition("; ")
    return [Finding(place="butler", message=message, fix=fix)]


def needs(step: BpsStep, pipeline: PipelineFacts | None, requests: RequestTable) -> dict[str, int]:
    """Return the memory requests of a step's tasks, MiB; of those it names when its pipeline is not known."""
    labels = pipeline.labels if pipeline is not None and pipeline.labels else step.resources.keys()
    return {label: requests.request(label, Remedy()) for label in labels}


def bps_findings(requests: Mapping[str, RequestTable], *, wms: str) -> list[Finding]:
    """Return what the BPS files of a campaign's steps say that is not used, each thing once."""
    steps: dict[str, list[str]] = {}
    for step, table in requests.items():
        notes = list(table.unused)
        if wms == "stock" and table.environment:
            names = ", ".join(table.environment)
            notes.append(f"environment of the BPS files ({names}) is not used by the stock service")
        for note in notes:
            steps.setdefault(note, []).append(step)
    return [
        Finding(
            place=places[0] if len(places) == 1 else "include",
            message=note,
            fix="say it in the campaign file, or take it out",
            fatal=False,
        )
        for note, places in steps.items()
    ]


def local_findings(
    site: SiteProfile, *, host: HostFacts, requests: Mapping[str, dict[str, int]]
) -> list[Finding]:
    """Return what of a site without scheduler this machine cannot give."""
    if site.on_slurm or site.site_class.rpartition(".")[2] != "Local":
        return []
    found = []
    if site.workers > host.cores:
        found.append(
            Finding(
                place=f"site {site.name}",
                message=f"{site.workers} workers on the {host.cores} cores of this machine",
                fix=f"set {site.workers_key}: {host.cores} in {site.file}",
                fatal=False,
            )
        )
    limit = host.memory_mb if site.memory_mb is None else min(site.memory_mb, host.memory_mb)
    said = "this machine shares out" if limit == host.memory_mb else f"{site.file} shares out (memory_mb)"
    for step, wanted in requests.items():
        task, most = max(wanted.items(), key=_request, default=("", 0))
        if most > limit:
            found.append(
                Finding(
                    place=step,
                    message=f"{task} asks for {most} MB, more than the {limit} MB that {said}",
                    fix="lower its request under resources:, or use another site:",
                )
            )
    return found


def _request(item: tuple[str, int]) -> int:
    return item[1]


def slurm_findings(
    spec: CampaignSpec,
    site: SiteProfile,
    *,
    scheduler: SchedulerFacts | None,
    requests: Mapping[str, dict[str, int]],
) -> list[Finding]:
    """Return what of a site on Slurm the cluster refuses."""
    if not site.on_slurm or scheduler is None:
        return []
    if scheduler.cluster is None:
        return [
            Finding(
                place="Slurm",
                message="it does not answer, so requests were not compared with its limits: "
                f"{scheduler.unreachable}",
                fix="ask again on a host that can submit",
                fatal=False,
            )
        ]
    found: dict[str, list[str]] = {}
    for step in spec.steps:
        wanted = requests.get(step.name, {}) if isinstance(step, BpsStep) else None
        why = step_refused(known=wanted, site=site, cluster=scheduler.cluster)
        if why is not None:
            found.setdefault(why.words, []).append(step.name)
    told = [
        Finding(
            place=steps[0] if len(steps) == 1 else f"{steps[0]} and {len(steps) - 1} more",
            message=why.rpartition(" (")[0] or why,
            fix=f"change {why.rpartition(' (')[2].rstrip(')')}",
        )
        for why, steps in found.items()
    ]
    told += _unshared(spec, site, scheduler.cluster)
    # sbatch says the same of partitions and limits, in its own words.
    if any(finding.fatal for finding in told):
        return told
    return told + [
        Finding(place="Slurm", message=words, fix=f"correct account, partition, qos or sizes in {site.file}")
        for words in scheduler.refused
    ]


def _unshared(spec: CampaignSpec, site: SiteProfile, cluster: Cluster) -> list[Finding]:
    """Say where stragglers would wait for each other though no two jobs ever share a node."""
    if not collects(spec, site) or not any(
        isinstance(step, BpsStep) and spec.afterburner_of(step).collect_hours for step in spec.steps
    ):
        return []
    partitions = cluster.named(site.blocks.partition if site.blocks is not None else None)
    if not partitions or not all(entry.whole_nodes for entry in partitions):
        return []
    names = ", ".join(entry.name for entry in partitions)
    return [
        Finding(
            place="afterburner",
            message=f"jobs of partition {names} never share a node (OverSubscribe=EXCLUSIVE), so that "
            "what is left of groups would wait in vain for its like",
            fix="write collect_hours: 0",
            fatal=False,
        )
    ]
