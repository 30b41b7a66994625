"""A Slurm cluster as a site: one Slurm job is a block of nodes, one worker per core, memory shared by need.

Differs from ``lsst.ctrl.bps.parsl.sites.Slurm`` in honouring what that ignores (partition, ``exclusive``,
block counts, command timeout), in draining blocks before their time is up, in surviving a bad node, and in
never letting Slurm requeue a block behind Parsl's back.
"""

import hashlib
import os
from functools import partial
from pathlib import Path

from lsst.ctrl.bps.parsl.configuration import get_bps_config_value, get_workflow_name
from parsl.addresses import address_by_interface
from parsl.executors import HighThroughputExecutor
from parsl.jobs.error_handlers import windowed_error_handler
from parsl.launchers import SimpleLauncher, SrunLauncher
from psutil import net_if_addrs

from merian_campaign.wms.reaping import DRIVER_MARK, SUBMISSION_MARK
from merian_campaign.wms.sites.base import POOL_COMMAND, CampaignSite
from merian_campaign.wms.sites.provider import BLOCKS_NAME, CampaignSlurmProvider

__all__ = ["Slurm", "drain_after", "job_name", "seconds_of"]


def seconds_of(walltime: str) -> int:
    """Return the seconds of a Slurm time: ``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M``, ``D-H:M:S``.

    Raises
    ------
    ValueError
        The text is none of these.
    """
    days, dash, rest = walltime.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if not 1 <= len(parts) <= 3:  # noqa: PLR2004 - hours, minutes, seconds
        raise ValueError(f'{walltime!r} is no Slurm time; write it like "05:00:00"')
    if dash:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:  # noqa: PLR2004
        hours, minutes, seconds = parts
    else:
        hours, minutes, seconds = 0, *(*parts, 0)[:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def drain_after(*, walltime_s: int, longest_s: float | None) -> int:
    """Return after how many seconds a block should take no new jobs.

    Parameters
    ----------
    walltime_s
        Time limit of the block.
    longest_s
        Longest ``requestWalltime`` of any job, if known; else a tenth of the block's time is kept.
    """
    keep = longest_s + 60 if longest_s else walltime_s / 10
    return max(int(walltime_s - keep), min(60, walltime_s // 2), 1)


def job_name(name: str, submit: str) -> str:
    """Return the name of a submission's Slurm jobs: readable, and unique to its submit directory."""
    return f"{name[:40].replace('/', '_')}-{hashlib.sha256(submit.encode()).hexdigest()[:8]}"


class Slurm(CampaignSite):
    """Workers in Slurm jobs; the keys are in the README of this package."""

    label = "slurm"

    def get_executors(self) -> list[HighThroughputExecutor]:
        """Return the one executor."""
        walltime = get_bps_config_value(self.site, "walltime", str, required=True)
        longest = get_bps_config_value(self.config, "requestWalltime", int)
        drain = drain_after(walltime_s=seconds_of(walltime), longest_s=longest * 60 if longest else None)
        cores = self.optional("cores_per_node", int)
        return [
            HighThroughputExecutor(
                self.label,
                provider=self._provider(walltime=walltime, cores=cores),
                launch_cmd=POOL_COMMAND,
                address=self.get_address(),
                max_workers_per_node=self.optional("workers_per_node", int) or cores,
                heartbeat_period=self.value("heartbeat_seconds", int, 15),
                heartbeat_threshold=self.value("heartbeat_patience", int, 60),
                drain_period=self.value("drain_seconds", int, drain),
                block_error_handler=partial(
                    windowed_error_handler, threshold=self.value("bad_blocks", int, 3)
                ),
            )
        ]

    def get_address(self) -> str:
        """Return the address workers reach the driver at.

        ``address`` says it outright; ``interface`` names a network interface by the start of its name;
        without either the host's name is looked up.

        Raises
        ------
        RuntimeError
            There is no such interface.
        """
        address = self.optional("address", str)
        if address:
            return address
        prefix = self.optional("interface", str)
        if not prefix:
            return str(super().get_address())
        for name in sorted(net_if_addrs()):
            if name.startswith(tuple(prefix.split(","))):
                return str(address_by_interface(name))
        raise RuntimeError(f"no network interface begins with {prefix!r}")

    def node_memory_mb(self) -> int:
        """Return the memory a node shares out: ``memory_mb``, else ``mem_per_node``, else Slurm's word."""
        gigabytes = self.optional("mem_per_node", int)
        return self.value("memory_mb", int, gigabytes * 1024 if gigabytes else 0)

    def _provider(self, *, walltime: str, cores: int | None) -> CampaignSlurmProvider:
        nodes = self.value("nodes", int, 1)
        # The keys were quoted in YAML by users of the stock site, or were not read at all.
        launcher = SrunLauncher(overrides=self.value("srun_options", str, "-K0 -k --cpu-bind=none"))
        return CampaignSlurmProvider(
            record=self._submit_path() / BLOCKS_NAME,
            poll_seconds=self.value("status_seconds", float, 30.0),
            partition=self.optional("partition", str),
            account=self.optional("account", str),
            qos=self.optional("qos", str),
            constraint=self.optional("constraint", str),
            nodes_per_block=nodes,
            cores_per_node=cores,
            mem_per_node=self.optional("mem_per_node", int),
            init_blocks=self.value("init_blocks", int, 1),
            min_blocks=self.value("min_blocks", int, 0),
            max_blocks=self.value("max_blocks", int, 1),
            parallelism=self.value("parallelism", float, 1.0),
            walltime=walltime,
            scheduler_options=self._directives(),
            worker_init=self._worker_init(),
            cmd_timeout=self.value("cmd_timeout", int, 60),
            exclusive=self.value("exclusive", bool, default=False),
            launcher=launcher if nodes > 1 else SimpleLauncher(),
        )

    def _submit_path(self) -> Path:
        return Path(get_bps_config_value(self.config, "submitPath", str, required=True))

    def _directives(self) -> str:
        name = job_name(get_workflow_name(self.config), str(self._submit_path()))
        lines = [
            *self.value("scheduler_options", str, "").splitlines(),
            f"#SBATCH --job-name={name}",
            # Parsl starts a new block itself; a requeued one would run beside it.
            "#SBATCH --no-requeue",
        ]
        if self.value("singleton", bool, default=False):
            lines.append("#SBATCH --dependency=singleton")
        return "\n".join(lines)

    def _worker_init(self) -> str:
        """Return bash text for the start of a block: our marks, the driver's PATH, the site's own text."""
        names = [DRIVER_MARK, SUBMISSION_MARK, "PATH", "PYTHONPATH", "LD_LIBRARY_PATH"]
        quoted = {name: os.environ[name].replace("'", "'\"'\"'") for name in names if name in os.environ}
        exports = [f"export {name}='{value}'" for name, value in quoted.items()]
        return "\n".join([*exports, self.value("worker_init", str, "")])
