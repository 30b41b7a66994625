"""A Slurm cluster as a site: one Slurm job is a block of nodes, one worker per core, memory shared by need.

Differs from ``lsst.ctrl.bps.parsl.sites.Slurm`` in honouring what that ignores (partition, ``exclusive``,
block counts, command timeout), in draining blocks before their time is up, in surviving a bad node, and in
never letting Slurm requeue a block behind Parsl's back.
"""

import os
import re
import shlex
from functools import partial
from pathlib import Path

from lsst.ctrl.bps.parsl.configuration import get_bps_config_value, get_workflow_name
from parsl.addresses import address_by_interface
from parsl.launchers import SimpleLauncher
from parsl.launchers.base import Launcher
from psutil import net_if_addrs

from merian_campaign.domain.resources.cluster import slurm_seconds
from merian_campaign.domain.slurm.blocks import block_name
from merian_campaign.domain.slurm.sbatch import directive
from merian_campaign.domain.stack.stack_setup import FILE_VARIABLE
from merian_campaign.host.processes import SUBMISSION_MARK
from merian_campaign.wms.block_records import BlockRecords
from merian_campaign.wms.lease import LEASE_NAME
from merian_campaign.wms.lost_jobs import BlockView
from merian_campaign.wms.node.process_cleanup import DRIVER_MARK
from merian_campaign.wms.sites.base import POOL_COMMAND, CampaignSite
from merian_campaign.wms.sites.block_error_handler import blocks_in_trouble
from merian_campaign.wms.sites.executor import CampaignExecutor
from merian_campaign.wms.sites.provider import BlockRequest, CampaignSlurmProvider, Scaling

__all__ = ["Slurm", "StepLauncher", "drain_after", "seconds_of"]

_STALE_MINUTES = 10
_NOT_INHERITED = re.compile(r"--export[= ](?!ALL\b)")
_ORPHAN = """\
if ! grep -q '"pid": {pid},' {lease} || grep -q '"state": "closed"' {lease} \\
    || [ -n "$(find {lease} -mmin +{minutes})" ]; then
  echo "the driver of this block is gone; nothing to do"
  exit 0
fi"""


def _umask() -> int:
    """Return this process's umask; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def seconds_of(walltime: str) -> int:
    """Return the seconds of a Slurm time: ``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M``, ``D-H:M:S``.

    Raises
    ------
    ValueError
        The text is none of these.
    """
    seconds = slurm_seconds(walltime)
    if seconds is None:
        raise ValueError(f'{walltime!r} is no Slurm time; write it like "05:00:00"')
    return seconds


def drain_after(*, walltime_s: int, longest_s: float | None) -> int:
    """Return after how many seconds a block should take no new jobs.

    Parameters
    ----------
    walltime_s : `int`
        Time limit of the block.
    longest_s : `float` or `None`
        Longest ``requestWalltime`` of any job, if known; else a tenth of the block's time is kept.
    """
    keep = longest_s + 60 if longest_s else walltime_s / 10
    return max(int(walltime_s - keep), min(60, walltime_s // 2), 1)


class StepLauncher(Launcher):  # type: ignore[misc]
    """Starts one worker pool on every node of a block, by ``srun``.

    Parameters
    ----------
    options : `str`
        More options for ``srun``.
    """

    def __init__(self, options: str) -> None:
        super().__init__(debug=False)
        self.options = options

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        """Return bash text for the command on every node."""
        del script_dir
        # Since Slurm 22.05 a step no longer takes the cores of its job by itself.
        return (
            f"srun --ntasks={tasks_per_node * nodes_per_block} ${{SLURM_CPUS_PER_TASK:+"
            f"--cpus-per-task=$SLURM_CPUS_PER_TASK}} --label {self.options} "
            f"/bin/bash -c {shlex.quote(command)}"
        )


class Slurm(CampaignSite):
    """Workers in Slurm jobs; the keys are in ``docs/wms.md``."""

    label = "slurm"
    strategy_seconds = 1.0
    strategy = "htex_auto_scale"
    _running: CampaignSlurmProvider | None = None

    def get_executors(self) -> list[CampaignExecutor]:
        """Return the one executor."""
        cores = self.optional("cores_per_node", int)
        workers = self.optional("workers_per_node", int) or cores
        self._running = self._provider(cores=cores)
        return [
            CampaignExecutor(
                self.label,
                provider=self._running,
                launch_cmd=POOL_COMMAND,
                interchange_launch_cmd=self.interchange(),
                address=self.get_address(),
                max_workers_per_node=workers,
                # Otherwise a pool has no more workers than cores.
                cores_per_worker=min(1.0, cores / workers) if cores and workers else 1.0,
                heartbeat_period=self._heartbeat(),
                heartbeat_threshold=self.value("heartbeat_patience", int, 60),
                drain_period=self._drain(),
                block_error_handler=partial(blocks_in_trouble, threshold=self.value("bad_blocks", int, 3)),
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
        return self.value("memory_mb", int, self._asked_mb() or 0)

    def node_cpus(self) -> int:
        """Return the cores a node shares out: as many as it has workers; 0 to let the node say."""
        return self.optional("workers_per_node", int) or self.optional("cores_per_node", int) or 0

    def drain_s(self) -> float:
        """Return when a node starts no further job: when its pool surely takes none any more."""
        return self._drain() + 2.0 * self._heartbeat() + 2

    def misfit(self, *, memory_mb: float | None, walltime_s: float | None, cpus: float) -> str:
        """Return why no block of this site can ever run a job with these requests, or nothing."""
        walltime, memory, cores = self._walltime_s(), self.node_memory_mb(), self.node_cpus()
        if walltime_s is not None and walltime_s >= walltime:
            return f"requestWalltime of {walltime_s:g} s does not fit into blocks of {walltime} s"
        if memory_mb is not None and memory and memory_mb > memory:
            return f"requestMemory of {memory_mb:g} MiB is more than the {memory} MiB a node shares out"
        if cores and cpus > cores:
            return f"requestCpus of {cpus:g} is more than the {cores} cores a node shares out"
        return ""

    def blocks(self) -> BlockView | None:
        """Return what is known of the blocks once there are any."""
        provider = self._running
        if provider is None:
            return None
        return BlockView(states=lambda: provider.states(fresh=True), output=provider.output)

    def _walltime(self) -> str:
        return str(get_bps_config_value(self.site, "walltime", str, required=True))

    def _walltime_s(self) -> int:
        return seconds_of(self._walltime())

    def _heartbeat(self) -> int:
        return self.value("heartbeat_seconds", int, 15)

    def _drain(self) -> int:
        default = drain_after(walltime_s=self._walltime_s(), longest_s=self.longest_s)
        return self.value("drain_seconds", int, default)

    def _asked_mb(self) -> int | None:
        """Return what is asked of Slurm for a node, MiB."""
        gigabytes = self.value("mem_per_node", float, 0.0)
        return round(gigabytes * 1024) or None

    def _provider(self, *, cores: int | None) -> CampaignSlurmProvider:
        nodes = self.value("nodes", int, 1)
        step = StepLauncher(self.value("srun_options", str, "-K0 -k --cpu-bind=none"))
        most = self.value("max_blocks", int, 1)
        scaling = Scaling(
            # A submission may have been given fewer than its site has.
            init_blocks=min(self.value("init_blocks", int, 1), most),
            min_blocks=min(self.value("min_blocks", int, 0), most),
            max_blocks=most,
            parallelism=self.value("parallelism", float, 1.0),
            poll_seconds=self.value("status_seconds", float, 30.0),
        )
        request = BlockRequest(
            directives=self._directives(cores),
            prelude=self._prelude(cores),
            nodes=nodes,
            cores_per_node=cores,
            walltime=self._walltime(),
        )
        name = block_name(get_workflow_name(self.config), str(self._submit_path()))
        return CampaignSlurmProvider(
            book=BlockRecords(self._submit_path(), name=name),
            request=request,
            scaling=scaling,
            cmd_timeout=self.value("cmd_timeout", int, 60),
            launcher=step if nodes > 1 else SimpleLauncher(),
        )

    def _stack_again(self) -> list[str]:
        """Return the line that sets the stack up anew in a block that does not inherit the driver's.

        A driver in a stack hands all its environment on by ``sbatch``: many nodes need not load it at once.
        """
        file = os.environ.get(FILE_VARIABLE)
        options = self.value("scheduler_options", str, "")
        if file is None or not _NOT_INHERITED.search(options):
            return []
        return [f"source {shlex.quote(file)}", "[ $? = 0 ] || exit 1"]

    def _submit_path(self) -> Path:
        return Path(get_bps_config_value(self.config, "submitPath", str, required=True))

    def _directives(self, cores: int | None) -> tuple[str, ...]:
        memory = self._asked_mb()
        valued = {
            "partition": self.optional("partition", str),
            "account": self.optional("account", str),
            "qos": self.optional("qos", str),
            "constraint": self.optional("constraint", str),
            "nice": self.optional("nice", int),
            "exclude": self.optional("exclude", str),
            "cpus-per-task": cores,
            "mem": f"{memory}M" if memory else None,
            "dependency": "singleton" if self.value("singleton", bool, default=False) else None,
        }
        return (
            # A new block is asked for in place of a lost one; a requeued one would run beside it.
            "#SBATCH --no-requeue",
            *(directive(name, value) for name, value in valued.items() if value is not None),
            *self._exclusive(),
            *self.value("scheduler_options", str, "").splitlines(),
        )

    def _exclusive(self) -> tuple[str, ...]:
        """Return the line that keeps other jobs off the nodes of a block, or those of other users only.

        With ``user`` Slurm gives a job what it asks for of a node, and the rest to jobs of the same user.
        """
        if self.value("exclusive", object, default=False) == "user":
            return (directive("exclusive", "user"),)
        return ("#SBATCH --exclusive",) if self.value("exclusive", bool, default=False) else ()

    def _prelude(self, cores: int | None) -> str:
        """Return bash that begins a block: our marks, the driver's paths and umask, the site's text."""
        names = [
            *(DRIVER_MARK, SUBMISSION_MARK, FILE_VARIABLE),
            *("PATH", "PYTHONPATH", "PYTHONSAFEPATH", "LD_LIBRARY_PATH"),
        ]
        known = {name: os.environ[name] for name in names if name in os.environ}
        exports = [f"export {name}={shlex.quote(value)}" for name, value in known.items()]
        exports += [f"umask {_umask():04o}", *self._stack_again()]
        lease = shlex.quote(str(self._submit_path() / LEASE_NAME))
        orphan = _ORPHAN.format(pid=os.getpid(), lease=lease, minutes=_STALE_MINUTES)
        pinned = [f"export PARSL_CORES={cores}"] if cores else []
        return "\n".join([*exports, *pinned, orphan, self.value("worker_init", str, "")])
