"""The driver's own machine as a site."""

import os
import shlex
import sys
from functools import partial
from pathlib import Path

from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
from parsl.jobs.error_handlers import windowed_error_handler
from parsl.providers import LocalProvider

from merian_campaign.wms import warm_program as launcher
from merian_campaign.wms.sites.base import POOL_COMMAND, CampaignSite

__all__ = ["Local"]


class Local(CampaignSite):
    """Workers on the driver's host, one per core.

    Notes
    -----
    ``cores`` (`int`): number of workers; by default the cores this process may use.
    """

    label = "local"
    own_host = True
    strategy_seconds = 0.5

    def get_executors(self) -> list[HighThroughputExecutor]:
        """Return the one executor."""
        interchange, pool = self._programs()
        return [
            HighThroughputExecutor(
                self.label,
                launch_cmd=pool,
                interchange_launch_cmd=interchange,
                provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
                max_workers_per_node=self._cores(),
                address="127.0.0.1",
                # One pool that was killed is replaced; three in a row are a reason to give up.
                block_error_handler=partial(windowed_error_handler, threshold=3),
                heartbeat_period=2,
                heartbeat_threshold=10,
            )
        ]

    def node_cpus(self) -> int:
        """Return the cores to share out."""
        return self._cores()

    def get_address(self) -> str:
        """Return the loopback address: nothing leaves this host."""
        return "127.0.0.1"

    def _programs(self) -> tuple[list[str] | None, str]:
        """Return the commands of the interchange and of the pool, warm if there is a supervisor."""
        if not self.warm_socket:
            return None, POOL_COMMAND
        folder = Path(self.warm_logs)
        launch = [sys.executable, "-I", "-S", str(Path(launcher.__file__)), self.warm_socket]
        pool = shlex.join([*launch, str(folder / "pool.log"), "-", "process_worker_pool.py"])
        return self.interchange(), DEFAULT_LAUNCH_CMD.replace(
            "process_worker_pool.py", pool.replace("{", "{{").replace("}", "}}"), 1
        )

    def _cores(self) -> int:
        return self.value("cores", int, len(os.sched_getaffinity(0)))
