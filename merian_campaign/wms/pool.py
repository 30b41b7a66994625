"""Parsl's interchange and worker pool as entry points, started without importing Parsl again and again.

As shipped, every worker of a pool is a fresh Python that imports Parsl (over a second each, and a storm on
a shared file system with a hundred workers a node).  Here the pool forks a server of its own while it has no
threads, and workers are forked from that: one import a pool.

``python -m merian_campaign.wms.pool ...`` takes the arguments of ``process_worker_pool.py``.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker, util
from unittest.mock import patch

import parsl.multiprocessing
from parsl.executors.high_throughput import interchange, process_worker_pool

import merian_campaign.wms.worker_app  # noqa: F401 - for the workers, before they are forked
from merian_campaign.host.local_sockets import socket_folder

__all__ = ["run_interchange", "run_pool"]


def run_pool() -> None:
    """Be a worker pool, with the arguments in ``sys.argv``."""
    with patch.object(tempfile, "tempdir", str(socket_folder())):
        util.get_temp_dir()  # kept from now on, for the sockets of this process and those below it
    _fork_server()
    # The pool asks for this name; its queues and workers then come from our server.
    parsl.multiprocessing.SpawnContext = multiprocessing.get_context("forkserver")
    # The pool's threads talk to a data server of its own. When that is killed they die one by one, and the
    # pool would stay, run nothing, and fill its log: better gone, so that its jobs are run elsewhere.
    threading.excepthook = _end_pool
    _run_as_program(process_worker_pool.__name__)


def _end_pool(failure: threading.ExceptHookArgs) -> None:
    """End the pool when one of its threads died of an error."""
    threading.__excepthook__(failure)
    sys.stderr.flush()
    os._exit(1)


def run_interchange() -> None:
    """Be an interchange, with the configuration on standard input."""
    _run_as_program(interchange.__name__)


def _run_as_program(module: str) -> None:
    # The module is loaded already, on purpose; runpy warns about that, here and in the pool's workers.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _fork_server() -> None:
    """Start the standard library's fork server by a fork of this process instead of a new interpreter."""
    resource_tracker.ensure_running()
    with patch.object(util, "spawnv_passfds", _fork_instead):
        forkserver.ensure_running()


def _fork_instead(path: bytes, arguments: Sequence[str], descriptors: Sequence[int]) -> int:
    """Fork the server where the standard library would execute a new interpreter; return its pid."""
    del path, arguments
    pid = os.fork()
    if pid:
        return pid
    try:
        listener, alive = descriptors
        keep = {0, 1, 2, listener, alive, resource_tracker.getfd()}
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - descriptors, not files
            if int(name) not in keep:
                with suppress(OSError):
                    os.close(int(name))
        forkserver.main(listener, alive, [])
    finally:
        os._exit(0)


if __name__ == "__main__":
    run_pool()
    sys.exit(0)
