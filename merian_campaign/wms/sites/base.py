"""What all sites of this service have in common: node settings, Parsl's configuration, what a retry costs.

Memory is not shared out here: every node's supervisor admits jobs by ``requestMemory``, so one executor
with one worker per core serves small and large jobs alike.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import parsl.config
from lsst.ctrl.bps.parsl import SiteConfig
from lsst.ctrl.bps.parsl.configuration import get_bps_config_value
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD

from merian_campaign.domain.execution.journal import JobVerdict
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.wms import warm_program as launch_program
from merian_campaign.wms.job_outcome import JobFailedError, WorkerGoneError
from merian_campaign.wms.lost_jobs import BlockView
from merian_campaign.wms.node_settings import NodeSettings
from merian_campaign.wms.parent_errors import RESOLVER

if TYPE_CHECKING:
    from lsst.ctrl.bps import BpsConfig
    from lsst.ctrl.bps.parsl import ParslJob

__all__ = ["LOST_WORKER", "POOL_COMMAND", "CampaignSite", "retry_cost"]

POOL_COMMAND = DEFAULT_LAUNCH_CMD.replace(
    "process_worker_pool.py", f"{sys.executable} -P -m merian_campaign.wms.pool", 1
)
"""Parsl's command for a worker pool, with a pool that imports Parsl once instead of once a worker."""

LOST_WORKER = (ManagerLost, WorkerLost, WorkerGoneError)
"""Errors that say nothing about the job itself."""

_FINAL = 2.0  # more than the one unit of retries that Parsl is given
_NEVER_AGAIN = frozenset({JobVerdict.OUT_OF_MEMORY, JobVerdict.WALLTIME, JobVerdict.CANCELLED})


def retry_cost(error: BaseException, *, retries: int, lost_retries: int) -> float:
    """Return the share of a job's retry budget (1.0) that an error uses up.

    Parameters
    ----------
    error : `BaseException`
        What the attempt ended with.
    retries : `int`
        How often a failure of the payload itself is tried again; the same memory or time again is no use.
    lost_retries : `int`
        How often a job whose worker or node went away is tried again.
    """
    if isinstance(error, LOST_WORKER):
        return 0.999 / lost_retries if lost_retries > 0 else _FINAL
    if isinstance(error, JobFailedError) and error.outcome.verdict not in _NEVER_AGAIN and retries > 0:
        return 0.999 / retries
    return _FINAL


class CampaignSite(SiteConfig):  # type: ignore[misc]
    """Base of the sites.

    Parameters
    ----------
    config : `BpsConfig`
        BPS configuration.

    Notes
    -----
    Keys of every site are documented in ``docs/wms.md``.
    """

    label = "campaign"
    """Label of the site's one executor."""

    strategy_seconds = 5.0
    """How often Parsl considers starting and ending blocks, unless the site's key says otherwise."""

    strategy = "simple"
    """How Parsl scales, unless the site's key says otherwise."""

    longest_s: float | None = None
    """Longest request of time of any job of the submission, seconds; None when none has one."""

    own_host = False
    """Whether the workers run on the driver's host and may share its preloaded process."""

    def __init__(self, config: "BpsConfig") -> None:
        super().__init__(config, resource_list=["priority"])
        self.warm_socket = ""
        self.warm_logs = ""

    def value[T](self, key: str, kind: type[T], default: T) -> T:
        """Return a key of this site, or the default.

        Raises
        ------
        RuntimeError
            The value has another type; a whole number is taken where a float is wanted.
        """
        if kind is float:
            found = get_bps_config_value(self.site, key, object, default)
            if isinstance(found, int | float) and not isinstance(found, bool):
                return float(found)  # type: ignore[return-value]
        result: T = get_bps_config_value(self.site, key, kind, default)
        return result

    def optional[T](self, key: str, kind: type[T]) -> T | None:
        """Return a key of this site, or None."""
        result: T | None = get_bps_config_value(self.site, key, kind)
        return result

    def node_settings(self, *, submit: Path, driver: ProcessIdentity, socket: str) -> NodeSettings:
        """Return what a supervisor of this site is told.

        Parameters
        ----------
        submit : `pathlib.Path`
            Submit directory.
        driver : `ProcessIdentity`
            The driver.
        socket : `str`
            Socket of a supervisor the driver has forked; used when workers share its host and need no
            environment of their own.
        """
        prefix = self.get_command_prefix().strip()
        return NodeSettings(
            submit=str(submit),
            driver=driver,
            socket=socket if self.own_host and not prefix else "",
            prefix=prefix,
            warm=self.value("warm", bool, default=True),
            memory_mb=self.node_memory_mb(),
            cpus=self.node_cpus(),
            sample_seconds=self.value("sample_seconds", float, 1.0),
            tolerance=self.value("memory_tolerance", float, 1.1),
            patience=self.value("lease_seconds", float, 20.0),
            cgroup=self.value("cgroup", bool, default=True),
            drain_s=self.drain_s(),
        )

    def drain_s(self) -> float:
        """Return after how many seconds a node starts no further job; 0 for never."""
        return 0.0

    def misfit(self, *, memory_mb: float | None, walltime_s: float | None, cpus: float) -> str:
        """Return why no node or block of this site can ever run a job with these requests, or nothing."""
        del memory_mb, walltime_s, cpus
        return ""

    def blocks(self) -> BlockView | None:
        """Return what is known of the site's Slurm jobs while it runs; None where there are none."""
        return None

    def node_memory_mb(self) -> int:
        """Return the memory a node shares out, MiB; 0 to let the node say."""
        return self.value("memory_mb", int, 0)

    def node_cpus(self) -> int:
        """Return the cores a node shares out; 0 for no limit beyond the number of workers."""
        return 0

    def interchange(self) -> list[str] | None:
        """Return the command of an interchange that runs warm and dies with the driver; None for Parsl's."""
        if not self.warm_socket:
            return None
        folder = Path(self.warm_logs)
        launch = [sys.executable, "-I", "-S", str(Path(launch_program.__file__)), self.warm_socket]
        return [*launch, str(folder / "interchange.log"), str(folder / "interchange.in"), "interchange.py"]

    def select_executor(self, job: "ParslJob") -> str:
        """Return the label of the executor for a job; there is one."""
        del job
        return self.label

    def campaign_config(
        self,
        *,
        submit: Path,
        socket: str,
        on_failure: Callable[[Exception, Any], bool],
        retries_of: Callable[[JobFailedError], int],
    ) -> parsl.config.Config:
        """Return Parsl's configuration for one submission.

        Parameters
        ----------
        submit : `pathlib.Path`
            Submit directory; Parsl's own files go to ``parsl`` below it.
        socket : `str`
            Socket of a supervisor that can run Parsl's programs warm, or empty.
        on_failure : callable
            Called in the driver with the error and Parsl's task record after every failed attempt; returns
            whether it was the last one.
        retries_of : callable
            Called with the error of a payload; returns how often BPS's words for its job allow another try.
        """
        _have_programs_on_path()
        self.warm_socket = socket
        self.warm_logs = str(submit / "parsl")
        (submit / "parsl").mkdir(exist_ok=True)
        retries = self.value("retries", int, 0)
        lost = self.value("lost_worker_retries", int, 5)

        def handler(error: Exception, task: Any) -> float:  # noqa: ANN401 - Parsl's task record
            if on_failure(error, task):
                return _FINAL
            asked = retries_of(error) if isinstance(error, JobFailedError) else 0
            return retry_cost(error, retries=max(retries, asked), lost_retries=lost)

        return parsl.config.Config(
            executors=self.get_executors(),
            monitoring=self.get_monitor(),
            retries=1,
            retry_handler=handler,
            dependency_resolver=RESOLVER,
            run_dir=str(submit / "parsl"),
            initialize_logging=get_bps_config_value(self.config, ".parsl.log_level", str) is not None,
            strategy=self.value("strategy", str, self.strategy),
            strategy_period=self.value("strategy_seconds", float, self.strategy_seconds),
            max_idletime=self.value("max_idle_seconds", float, 120.0),
        )


def _have_programs_on_path() -> None:
    """Make Parsl's programs reachable: it looks them up on PATH, which need not hold our own bin folder."""
    if shutil.which("interchange.py") is None or shutil.which("process_worker_pool.py") is None:
        own = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join([own, os.environ.get("PATH", os.defpath)])
