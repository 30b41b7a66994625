"""`down`: end jobs, then daemons, each by id and start time; remove control groups and the directory."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import processes
from .running import Cluster
from .settings import Settings
from .trouble import ClusterError

GROUPS = ("memory", "freezer", "cpuset", "devices", "cpuacct")


def down(settings: Settings, *, purge: bool) -> None:
    """End a cluster.

    Parameters
    ----------
    settings
        The cluster.
    purge
        Remove its directory too.

    Raises
    ------
    ClusterError
        Something could not be ended.
    """
    cluster = Cluster(settings)
    # Parents are known only while they live.
    jobs = cluster.job_processes()
    if cluster.controller_answers():
        cluster.run("scancel", "--full", "--me", seconds=15)
        processes.wait_until(lambda: not cluster.squeue(seconds=5), seconds=10)
    jobs += [each for each in cluster.job_processes() if each not in jobs]
    # A node's daemon would restart nothing, but the controller would count it as lost: it goes first.
    left = []
    for _, daemon in reversed(cluster.daemons()):
        left += processes.end([daemon])
    left += processes.end([*jobs, *cluster.job_processes()], patience=2)
    if left:
        listed = ", ".join(f"{each.pid} {each.command}" for each in left)
        raise ClusterError(f"could not be ended: {listed}")
    remove_groups(settings)
    (settings.directory / "run" / "daemons").unlink(missing_ok=True)
    if purge and settings.directory.exists():
        shutil.rmtree(settings.directory)


def remove(settings: Settings) -> None:
    """End whatever is left of a cluster and remove its directory, if somebody else has not done so."""
    if settings.directory.exists():
        down(settings, purge=True)


def groups(settings: Settings) -> list[Path]:
    """Return the control groups of this cluster's nodes."""
    named = (Path("/sys/fs/cgroup") / kind / f"slurm_{node}" for kind in GROUPS for node in settings.nodes)
    return [group for group in named if group.exists()]


def remove_groups(settings: Settings) -> None:
    """Remove the control groups of this cluster's nodes; all their processes have ended."""

    def removed() -> bool:
        for top in groups(settings):
            for folder in sorted((each for each in top.rglob("*") if each.is_dir()), reverse=True):
                _rmdir(folder)
            _rmdir(top)
        return not groups(settings)

    # The kernel lets go of a group a moment after its last process.
    if not processes.wait_until(removed, seconds=10):
        raise ClusterError(f"control groups are left: {', '.join(map(str, groups(settings)))}")


def _rmdir(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
