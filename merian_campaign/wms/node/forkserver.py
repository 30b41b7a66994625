"""The forkserver: a preloaded, single-threaded process that forks a child per command and reports its end.

It is a child of the supervisor and talks to it over one socket, a JSON object a line.  It may be killed at
any time: its children die with it and the supervisor starts another.  It imports the middleware at its
start and, at the first quantum of a graph, that graph's tasks.

Orders from the supervisor are those of `child.Order`.  Reports to it:

``{"ready": threads, "cpu": s}``             preloaded; how many threads this process has, CPU spent
``{"prepared": graph, "error": text|null}``  a graph's pieces are in place, or why not
``{"rehearsed": graph, "error": text|null}`` children of that graph now find done what can be done before
``{"id": n, "pid": p, "start": t}``          forked
``{"id": n, "status": w, ...}``              ended, with its wait status, CPU seconds, peak and report;
                                             "strays" if it may have left processes behind
"""

import gc
import importlib
import json
import os
import selectors
import shlex
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from merian_campaign.domain.safe_text import json_values
from merian_campaign.host.huge_pages import gather_pages
from merian_campaign.host.processes import start_time, threads
from merian_campaign.host.termination import die_with_parent, watch_orphans
from merian_campaign.wms.node.child import ForkOrder, become
from merian_campaign.wms.node.command import RunQbb, quanta_of, read_run_qbb
from merian_campaign.wms.node.graph_preload import PreloadedGraph, prepare, prepare_threads
from merian_campaign.wms.zipfix import mend

__all__ = ["Forkserver", "preload", "run_forkserver"]

_PRELOAD = (
    "lsst.ctrl.mpexec.cli.pipetask",
    "lsst.daf.butler.cli.butler",
    "lsst.ctrl.mpexec.cli.cmd.commands",
    "lsst.ctrl.mpexec.cli.script",
    "lsst.daf.butler.cli.cmd.commands",
    "lsst.daf.butler._quantum_backed",
    "lsst.daf.butler.formatters.json",
    "lsst.daf.butler.formatters.logs",
    "lsst.daf.butler.formatters.yaml",
    "lsst.daf.butler.datastores.fileDatastore",
    "lsst.daf.butler.registry.sql_registry",
    "lsst.pipe.base.cli.cmd.commands",
    "lsst.pipe.base.formatters.pexConfig",
    "lsst.pipe.base.mp_graph_executor",
    "lsst.pipe.base.quantum_graph",
    "lsst.pipe.base.quantum_graph.aggregator",
    "lsst.pipe.base.quantum_graph_builder",
    "lsst.pipe.base.all_dimensions_quantum_graph_builder",
    "lsst.pipe.base.single_quantum_executor",
)
_NO_THREADS = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    # pyarrow's allocator starts a housekeeping thread as soon as it is loaded.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}


_PAYS_AFTER = 4
"""At which quantum of a graph a rehearsal is held: it costs what a dozen of them save."""


def preload() -> Mapping[str, str]:
    """Import the middleware without starting threads; return the environment from before.

    Numerical libraries start their thread pools when they are loaded, and a process with threads must not
    fork.  ``run-qbb`` limits them to one thread anyway.
    """
    before = dict(os.environ)
    mend()
    os.environ.update(_NO_THREADS)
    for module in _PRELOAD:
        # A release without one of these loads it later; nothing depends on the list being complete.
        with suppress(ImportError):
            importlib.import_module(module)
    return before


@dataclass(kw_only=True, slots=True)
class _Child:
    order: int
    report: int


class Forkserver:
    """State of the forkserver's loop.

    Parameters
    ----------
    channel : `socket.socket`
        Socket to the supervisor.
    warm : `bool`
        Import the middleware and prepare graphs; without it every command goes to bash.
    prepare_graphs : `bool`
        Also import a graph's task modules here; off after that has failed once.
    environment : `~collections.abc.Mapping`
        Environment for the commands.
    """

    def __init__(
        self, *, channel: socket.socket, warm: bool, prepare_graphs: bool, environment: Mapping[str, str]
    ) -> None:
        self._channel = channel
        self._warm = warm
        self._prepare_graphs = prepare_graphs
        self._environment = dict(environment)
        self._children: dict[int, _Child] = {}
        self._prepared: PreloadedGraph | None = None
        self._served = 0
        self._refused: set[str] = set()
        self._buffer = b""
        self._pid = os.getpid()

    def loop(self) -> None:
        """Serve until the supervisor is gone."""
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        if self._warm:
            self._tell({"ready": threads(), "cpu": sum(os.times()[:2])})
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(wake_read, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._channel:
                        if not self._receive():
                            return
                    else:
                        with suppress(BlockingIOError):
                            os.read(wake_read, 4096)
                self._reap()

    def _tell(self, values: dict[str, Any]) -> None:
        self._channel.sendall(json.dumps(values).encode() + b"\n")

    def _receive(self) -> bool:
        data = self._channel.recv(1 << 20)
        if not data:
            return False
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self._fork(ForkOrder.from_dict(json.loads(line)))
        return True

    def _fork(self, order: ForkOrder) -> None:
        call = read_run_qbb(order.words) if order.words else None
        if call is not None and self._prepare_graphs:
            self._ensure(graph=call.graph, repository=call.repository)
            self._rehearse(call)
        report_read, report_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        pid = os.fork()
        if pid == 0:
            become(
                order,
                forkserver=self._pid,
                report=report_write,
                prepared=self._prepared,
                environment=self._environment,
            )
        os.close(report_write)
        self._children[pid] = _Child(order=order.id, report=report_read)
        self._tell({"id": order.id, "pid": pid, "start": start_time(pid)})

    def _ensure(self, *, graph: str, repository: str) -> None:
        """Prepare a graph once; a graph that cannot be prepared is left to its children."""
        if graph in self._refused:
            return
        with suppress(OSError):
            if self._prepared is not None and self._prepared.fits(graph=graph, repository=repository):
                return
        error: str | None = None
        try:
            self._prepared = prepare(graph=graph, repository=repository)
            self._served = 0
        except Exception as problem:  # noqa: BLE001 - the child meets it again and reports it properly
            self._refused.add(graph)
            error = f"{type(problem).__name__}: {problem}"
        gc.collect()
        gc.freeze()
        self._tell({"prepared": graph, "error": error, "threads": threads()})

    def _rehearse(self, call: RunQbb) -> None:
        """Have children of a graph that has many find done what can be done before; see `rehearsal`."""
        if self._prepared is None or self._prepared.graph != call.graph:
            return
        self._served += 1
        if self._served != _PAYS_AFTER:
            return
        error: str | None = None
        try:
            self._prepared.rehearse(quanta_of(shlex.join(call.words)))
        except Exception as problem:  # noqa: BLE001 - nothing depends on it
            error = f"{type(problem).__name__}: {problem}"
        gc.collect()
        gc.freeze()
        with suppress(OSError):
            gather_pages()
        self._tell({"rehearsed": call.graph, "error": error, "threads": threads()})

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is None:
                continue  # an orphan of a quantum; its owner was told by the supervisor's table
            report = _collect(child.report)
            self._tell(
                {
                    "id": child.order,
                    "status": status,
                    "cpu_s": round(usage.ru_utime + usage.ru_stime, 4),
                    "maxrss_mb": round(usage.ru_maxrss / 1024, 1),
                    "strays": report.pop("children", True) or self._strays(),
                    "report": report,
                }
            )

    def _strays(self) -> bool:
        """Return whether this process has adopted any orphan of a quantum."""
        try:
            pids = Path(f"/proc/self/task/{self._pid}/children").read_text().split()
        except OSError:
            return True  # the kernel does not list children: have the supervisor search
        return any(int(pid) not in self._children for pid in pids)


def _collect(descriptor: int) -> dict[str, Any]:
    """Read what a child said about itself, if it lived to say it."""
    try:
        text = os.read(descriptor, 64 * 1024)
        values = json_values.loads(text) if text else {}
    except (OSError, json_values.WrongValueError):  # the task ran in that process and may write anything
        values = {}
    finally:
        os.close(descriptor)
    return values if isinstance(values, dict) else {}


def run_forkserver(
    channel: socket.socket,
    *,
    supervisor: int,
    warm: bool,
    prepare_graphs: bool,
    environment: Mapping[str, str],
) -> NoReturn:
    """Be the forkserver, in a process freshly forked from the supervisor; never returns."""
    code = 1
    try:
        os.setsid()
        die_with_parent(supervisor)
        watch_orphans()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if warm:
            preload()
            prepare_threads()
            gc.collect()
            gc.freeze()
        Forkserver(channel=channel, warm=warm, prepare_graphs=prepare_graphs, environment=environment).loop()
        code = 0
    except BaseException:  # noqa: BLE001 - report and go; the supervisor starts another
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)
