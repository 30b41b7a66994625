"""What the blocks of one submission ask for: what the site says, more, or no more than is left to run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from merian_campaign.domain.resources.cluster import Blocks
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.spec.site import Larger

__all__ = ["BlockShape", "Workload", "block_shape", "whole_shape"]

RESERVE_MB: Final = 1024
"""Memory of a small block that is not shared out, MiB: for pool, supervisor and the preloaded process."""

TOLERANCE: Final = 1.1
"""So much more than it asked for a quantum may use before it is ended (``memory_tolerance`` of a site)."""

_MB: Final = 1024


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a submission has to run, as far as its blocks depend on it.

    Parameters
    ----------
    needs_mb : `int`
        Largest memory request of its tasks, MiB, as far as it is known; else 0.
    cpus : `int`
        Largest number of cores that one of them asks for.
    quanta : `int` or `None`
        How many it has to run at most; `None` when that is not known.
    workers : `int` or `None`
        Workers a node as its remedy has it; `None` leaves the site's number.
    exact : `bool`
        Whether its service can ask for less than the site says.
    """

    needs_mb: int = 0
    cpus: int = 1
    quanta: int | None = None
    workers: int | None = None
    exact: bool = True


@dataclass(frozen=True, kw_only=True)
class BlockShape:
    """What each block of a submission asks Slurm for.

    Parameters
    ----------
    nodes, max_blocks : `int`
        Nodes a block; blocks at once.
    cores, workers : `int` or `None`
        Cores asked for on a node, and jobs that run there at once; `None` leaves them to the cluster.
    mem_mb, shared_mb : `int` or `None`
        Memory asked for on a node, and shared out there, MiB.
    larger : `Larger` or `None`
        The kind of larger block that it is.
    share : `float`
        Of a node that would be had whole, how much a small block takes; 1 for all that are not small.
    """

    nodes: int
    max_blocks: int
    cores: int | None
    workers: int | None
    mem_mb: int | None
    shared_mb: int | None
    larger: Larger | None = None
    share: float = 1.0

    @property
    def small(self) -> bool:
        """Whether it asks for a part of a node, which is all that is left to run."""
        return self.share < 1


def block_shape(site: SiteProfile, blocks: Blocks, work: Workload) -> BlockShape:
    """Return what the blocks of a submission ask Slurm for.

    What is left to run may not fill the nodes of one block: then it has fewer of them. If it does not even
    fill one node, it asks for the cores and the memory that it needs, so that other jobs have room beside
    it. As many quanta run on a node as it has workers for, or as find room in its memory.

    Parameters
    ----------
    site : `SiteProfile`
        Where it runs.
    blocks : `Blocks`
        What blocks of this site ask for.
    work : `Workload`
        What it has to run.
    """
    whole = whole_shape(blocks, site.larger_for(work.needs_mb))
    asked = whole if work.workers is None else replace(whole, cores=work.workers, workers=work.workers)
    if work.quanta is None:
        return asked
    at_once = max(1, (asked.workers or site.workers) // max(1, work.cpus))
    if asked.shared_mb and work.needs_mb:
        at_once = max(1, min(at_once, asked.shared_mb // work.needs_mb))
    if blocks.exact and work.exact and 0 < work.quanta < at_once:
        small = _small(asked, work, node_cores=whole.cores)
        if small.small:
            return small
    return replace(asked, nodes=min(blocks.nodes, max(1, ceil(work.quanta / at_once))))


def whole_shape(blocks: Blocks, larger: Larger | None = None) -> BlockShape:
    """Return what the blocks of a site ask for, or one kind of its larger ones."""
    found = BlockShape(
        nodes=blocks.nodes, max_blocks=blocks.max_blocks, cores=blocks.cpus,
        workers=blocks.workers or blocks.cpus, mem_mb=blocks.mem_mb, shared_mb=blocks.shared_mb,
    )  # fmt: skip
    if larger is None:
        return found
    memory = larger.mem_per_node * _MB
    return replace(
        found, larger=larger, max_blocks=larger.max_blocks or blocks.max_blocks,
        cores=larger.cores_per_node or blocks.cpus, workers=larger.cores_per_node or found.workers,
        # A site may share out less than its blocks have; of the larger ones all is shared.
        mem_mb=memory, shared_mb=memory,
    )  # fmt: skip


def _small(asked: BlockShape, work: Workload, *, node_cores: int | None) -> BlockShape:
    """Return a block of a part of one node, for quanta that do not fill it.

    Where nobody knows what they ask for, or what the site does, it is one that is not small.
    """
    if not (work.quanta and work.needs_mb and asked.cores and asked.workers and asked.mem_mb and node_cores):
        return asked
    workers = work.quanta * work.cpus
    cores = min(asked.cores, ceil(workers * asked.cores / asked.workers))
    needs_mb = work.quanta * work.needs_mb
    mem_mb = min(asked.mem_mb, _MB * ceil((needs_mb * TOLERANCE + RESERVE_MB) / _MB))
    return replace(
        asked, nodes=1, max_blocks=1, cores=cores, workers=workers, mem_mb=mem_mb,
        shared_mb=min(asked.shared_mb or asked.mem_mb, mem_mb, needs_mb),
        share=max(cores / node_cores, mem_mb / asked.mem_mb),
    )  # fmt: skip
