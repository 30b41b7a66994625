"""Where a campaign runs, as far as the manager must know it."""

from __future__ import annotations

from dataclasses import dataclass

from merian_campaign.domain.resources.cluster import Blocks
from merian_campaign.domain.spec.site import DriverOptions, Larger
from merian_campaign.domain.spec.stack import Stack

_MB = 1024


@dataclass(frozen=True, kw_only=True)
class SiteProfile:
    """What rendering and submitting must know of a site.

    Parameters
    ----------
    name : `str`
        Name under ``site:`` in its file.
    file : `str`
        Absolute path of its YAML.
    workers : `int`
        Workers a node.
    workers_key : `str`
        The site key that sets them: ``cores`` or ``cores_per_node``.
    site_class : `str`
        The site class its file names.
    blocks : `Blocks` or `None`
        What its blocks ask of Slurm; `None` when it is not a Slurm site.
    driver : `DriverOptions` or `None`
        What its drivers' Slurm jobs ask for; `None` when drivers are processes.
    larger : `tuple` [`Larger`, ...]
        Blocks for tasks that do not fit its own.
    stack : `Stack` or `None`
        The LSST environment there, as far as its file says.
    status_seconds : `float`
        How often Slurm may be asked by one that ticks all the time.
    memory_mb : `int` or `None`
        Memory a node shares out, MiB, where its file says so.
    trusted_groups : `tuple` [`str`, ...]
        Unix groups whose members may write the campaigns' work directories.
    failure_rules : `str` or `None`
        Absolute path of its failure rules.
    """

    name: str
    file: str
    workers: int
    workers_key: str
    site_class: str = ""
    blocks: Blocks | None = None
    driver: DriverOptions | None = None
    larger: tuple[Larger, ...] = ()
    stack: Stack | None = None
    status_seconds: float = 30.0
    memory_mb: int | None = None
    trusted_groups: tuple[str, ...] = ()
    failure_rules: str | None = None

    @property
    def on_slurm(self) -> bool:
        """Whether anything of it is a Slurm job."""
        return self.blocks is not None or self.driver is not None

    @property
    def most_mb(self) -> int | None:
        """Most memory that any kind of its blocks shares out on a node, MiB; `None` when nobody knows."""
        if self.blocks is None or self.blocks.shared_mb is None:
            return None
        return max([self.blocks.shared_mb, *(entry.mem_per_node * _MB for entry in self.larger)])

    def larger_for(self, needs_mb: int) -> Larger | None:
        """Return the first larger kind of block that a request fits into, if its own are too small."""
        own = None if self.blocks is None else self.blocks.shared_mb
        if own is None or needs_mb <= own:
            return None
        for entry in self.larger:
            if entry.mem_per_node * _MB >= needs_mb:
                return entry
        return None
