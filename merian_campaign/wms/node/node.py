"""What a node has: memory and cores to share out, its Slurm job, and the kernel's count of memory kills."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SlurmPlace", "granted_mb", "kernel_memory_kills", "memory_mb", "slurm_place"]

_HEADROOM = 0.95  # of the machine, when nobody said how much may be used


@dataclass(frozen=True, kw_only=True, slots=True)
class SlurmPlace:
    """Slurm's names for where a process runs; None outside Slurm."""

    job: str | None
    node: str | None


def slurm_place(environment: Mapping[str, str]) -> SlurmPlace:
    """Return the Slurm job and node of a process with this environment."""
    return SlurmPlace(job=environment.get("SLURM_JOB_ID"), node=environment.get("SLURMD_NODENAME"))


def granted_mb(environment: Mapping[str, str]) -> float:
    """Return the memory Slurm gave this job on this node, MiB; 0 when it does not say."""
    granted = environment.get("SLURM_MEM_PER_NODE", "")
    if granted.isdigit():
        return float(granted)
    per_cpu = environment.get("SLURM_MEM_PER_CPU", "")
    cpus = environment.get("SLURM_CPUS_ON_NODE", "")
    return float(per_cpu) * float(cpus) if per_cpu.isdigit() and cpus.isdigit() else 0.0


def memory_mb(environment: Mapping[str, str]) -> float:
    """Return the memory this node may give to jobs, MiB: what Slurm granted, else most of the machine."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1024 * 1024)
    return granted_mb(environment) or total * _HEADROOM


def kernel_memory_kills() -> int | None:
    """Return how many processes of our control group the kernel has killed for memory, or None.

    A child that died by SIGKILL while this number grew was killed by the kernel; no guess is needed.
    """
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                files = [Path(f"/sys/fs/cgroup{path}/memory.events")]
            elif "memory" in controllers.split(","):
                files = [Path(f"/sys/fs/cgroup/memory{path}/memory.oom_control")]
            else:
                continue
            for file in files:
                with suppress(OSError):
                    found = re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)
                    if found:
                        return int(found[1])
    return None
