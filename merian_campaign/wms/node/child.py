"""Life of a forked child: one command, run as a fresh process would run it, then gone.

The child leads its own session, dies with the forkserver, has the log files of the stock service as its
output, and ends through ``os._exit`` after the usual exit hooks, because taking down the interpreter of a
preloaded process costs more than many a quantum.
"""

import gc
import importlib
import io
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NoReturn

from merian_campaign.domain.execution.journal import EXCEPTION_BASES
from merian_campaign.host.atomic_files import open_append
from merian_campaign.host.termination import die_with_parent
from merian_campaign.wms import upstream
from merian_campaign.wms.exceptions import watch_exceptions
from merian_campaign.wms.node.cgroup import join
from merian_campaign.wms.node.command import read_run_qbb
from merian_campaign.wms.node.graph_preload import PreloadClock, PreloadedGraph

__all__ = ["ENTRY_POINTS", "JOB_MARK", "PARTS_SWITCH", "ForkOrder", "become"]

ENTRY_POINTS: Mapping[str, str] = {
    "pipetask": "lsst.ctrl.mpexec.cli.pipetask:main",
    "butler": "lsst.daf.butler.cli.butler:main",
    "interchange.py": "merian_campaign.wms.pool:run_interchange",
    "process_worker_pool.py": "merian_campaign.wms.pool:run_pool",
}
"""Commands a warm child can run, and the function that each of them calls."""

JOB_MARK = "MERIAN_CAMPAIGN_JOB"
"""Environment variable that names the job; a descendant that left the tree is found by it."""

PARTS_SWITCH = "MERIAN_CAMPAIGN_PARTS"
"""Environment variable that has children time the parts of a quantum; it adds frames to tracebacks."""

_MARK = "--> executable follows <--\n{}\n--> end executable <--\n"
_REPORT_LIMIT = 32 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class ForkOrder:
    """One command to run.

    ``words`` are run in this process when given, else ``command`` by bash.  ``header`` writes Parsl's
    lines with the command to the top of the error log, as the stock service does; ``trace`` is written
    there as it is.  ``environment`` replaces the forkserver's.  ``cgroup`` is the control group to run in.
    """

    id: int
    command: str
    words: tuple[str, ...] | None
    stdout: str
    stderr: str
    header: bool
    trace: str = ""
    stdin: str = ""
    environment: Mapping[str, str] | None = None
    cgroup: str = ""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ForkOrder":
        """Read a decoded JSON object."""
        words = values["words"]
        return cls(**{**values, "words": tuple(words) if words is not None else None})


def become(
    order: ForkOrder,
    *,
    forkserver: int,
    report: int,
    prepared: PreloadedGraph | None,
    environment: Mapping[str, str],
) -> NoReturn:
    """Turn a freshly forked process into the order's; never returns.

    Parameters
    ----------
    order : `ForkOrder`
        What to run.
    forkserver : `int`
        Pid of the parent.
    report : `int`
        Descriptor to which a few figures are written at the end.
    prepared : `PreloadedGraph` or `None`
        Pieces made for the order's graph, if any.
    environment : `~collections.abc.Mapping`
        Environment the command shall see.
    """
    code = 70
    try:
        _settle(order, forkserver=forkserver, environment=order.environment or environment)
        if order.words is None:
            os.execve("/bin/bash", ["/bin/bash", "-c", order.command], dict(os.environ))  # noqa: S606
        code = _run(order.words, prepared=prepared, report=report)
    except BaseException:  # noqa: BLE001 - nothing may escape into the forkserver's code
        with suppress(BaseException):
            sys.excepthook(*sys.exc_info())
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
        with suppress(BaseException):
            sys.stderr.flush()
        os._exit(code)


def _settle(order: ForkOrder, *, forkserver: int, environment: Mapping[str, str]) -> None:
    """Leave the forkserver's session, signals, environment and files behind."""
    os.setsid()
    die_with_parent(forkserver)
    if order.cgroup:
        with suppress(OSError):  # without it, the guard's samples hold the job to its limit
            join(order.cgroup)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as every Python process has it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _take_environment({**environment, JOB_MARK: str(order.id)})
    _redirect(order)
    with suppress(OSError):
        if not order.header:
            return  # a part of the submission itself
        # If the node runs out of memory, the kernel shall take a quantum, not the supervisor.
        Path("/proc/self/oom_score_adj").write_text("300")


def _take_environment(environment: Mapping[str, str]) -> None:
    """Change what differs: setting each of a hundred variables anew costs as much as opening ten files."""
    before = dict(os.environ)
    for name in before.keys() - environment.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in environment.items() if before.get(name) != value})


def _redirect(order: ForkOrder) -> None:
    null = os.open(order.stdin or os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for path in {order.stdout, order.stderr}:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    out = open_append(order.stdout)
    err = out if order.stderr == order.stdout else open_append(order.stderr)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for descriptor in {null, out, err}:
        os.close(descriptor)
    top = (_MARK.format(order.command) if order.header else "") + order.trace
    if top:
        os.write(2, top.encode())
    # Streams as a new interpreter makes them for files: the forkserver's own may be a terminal's.
    same = order.stderr == order.stdout
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8", line_buffering=same
    )
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


def _run(words: tuple[str, ...], *, prepared: PreloadedGraph | None, report: int) -> int:
    """Call the console script's entry point; return the exit status a fresh process would have."""
    clock = PreloadClock()
    _fresh_randomness()
    call = read_run_qbb(words)
    raised: dict[str, list[str]] = {}
    if call is not None:
        raised = watch_exceptions()
        if os.environ.get(PARTS_SWITCH):
            upstream.time_quantum_parts(clock.timed)
        if prepared is not None and prepared.fits(graph=call.graph, repository=call.repository):
            prepared.install(clock)
    sys.argv = list(words)
    gc.enable()
    module, _, function = ENTRY_POINTS[PurePath(words[0]).name].partition(":")
    main = getattr(importlib.import_module(module), function)
    code = 0
    with clock.part("total"):
        try:
            main()
        except SystemExit as exit_:
            code = _status(exit_)
        except BaseException:  # noqa: BLE001 - what a fresh process would print and return 1 for
            sys.excepthook(*sys.exc_info())
            code = 1
    with clock.part("exit"):
        upstream.run_exit_hooks()
    parts = {name: round(value, 4) for name, value in clock.parts.items()}
    told = {EXCEPTION_BASES: raised} if raised else {}
    _send(report, {"parts": parts, "children": _has_children(), **told})
    return code


def _status(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1


def _fresh_randomness() -> None:
    """Reseed what does not reseed itself after a fork, so that no two quanta share a random stream."""
    # Asking numpy itself for it would load it, and what is loaded later is seeded then.
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()


def _has_children() -> bool:
    """Return whether this process leaves children behind; True when the kernel does not tell."""
    try:
        tasks = list(Path("/proc/self/task").iterdir())
        return any((task / "children").read_text().strip() for task in tasks)
    except OSError:
        return True


def _send(report: int, values: dict[str, Any]) -> None:
    text = json.dumps(values).encode()
    if len(text) <= _REPORT_LIMIT:
        with suppress(OSError):
            os.write(report, text)
