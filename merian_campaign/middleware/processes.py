"""Processes by identity: start them detached, tell them from later ones, find and end what they left.

A process is identified by host, pid and start time; everything a submission starts carries the
environment variable `MARKER`, so that orphans are found whatever session or group they moved to.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from merian_campaign.domain.snapshot import ProcessIdentity
from merian_campaign.host.atomic_files import appending

MARKER = "MERIAN_CAMPAIGN_SUBMISSION"
"""Environment variable of all processes of a submission: ``<directory>#<role><epoch>``."""

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
_START_TIME_FIELD = 19  # field 22 of /proc/PID/stat, counted after the command name


def this_host() -> str:
    """Return the name of this host."""
    return socket.gethostname()


def start_time(pid: int) -> int | None:
    """Return a process's start time in clock ticks since boot; `None` when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[_START_TIME_FIELD])


def identity(pid: int) -> ProcessIdentity:
    """Return the identity of a process on this host."""
    return ProcessIdentity(host=this_host(), pid=pid, started=start_time(pid) or 0)


def is_alive(process: ProcessIdentity) -> bool:
    """Say whether exactly this process runs; it must be of this host."""
    return start_time(process.pid) == process.started


def start_detached(
    command: Sequence[str], *, directory: Path, log: Path, environment: Mapping[str, str]
) -> int:
    """Start a process in a session of its own that outlives this one; return its pid."""
    directory.mkdir(parents=True, exist_ok=True)
    with appending(log) as output:
        process = subprocess.Popen(
            list(command),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            start_new_session=True,
        )
    # Reaped if this process lives on (`run`), so that no zombie is taken for a living driver.
    return process.pid


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies (Linux); for ``preexec_fn``."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def marked(directory: str, *, keep: frozenset[str] = frozenset()) -> list[psutil.Process]:
    """Return the processes on this host that belong to a submission's directory.

    Parameters
    ----------
    directory : `str`
        The submission's directory.
    keep : `frozenset` [`str`]
        Roles (what follows ``#`` in the marker) whose processes are left out, as is this process.
    """
    prefix = f"{MARKER}={directory}#".encode()
    kept = {prefix + role.encode() for role in keep}
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            variables = (entry / "environ").read_bytes().split(b"\0")
            own = any(variable.startswith(prefix) and variable not in kept for variable in variables)
            if own or _is_renamed_parsl(entry, directory):
                found.append(psutil.Process(int(entry.name)))
    return found


def _is_renamed_parsl(entry: Path, directory: str) -> bool:
    """Say whether a process is one of Parsl's that works in a submission's directory.

    Parsl gives some of its processes a title, which is written over their environment in memory: the
    marker cannot be read from those.
    """
    if not (entry / "cmdline").read_bytes().startswith(b"parsl:"):
        return False
    cwd = (entry / "cwd").readlink()
    return cwd == Path(directory) or cwd.is_relative_to(directory)


def reap(directory: str, *, keep: frozenset[str] = frozenset(), patience: float = 20.0) -> int:
    """Kill a submission's processes on this host; return how many were found.

    Repeats until none is left, because a process may fork while it is being looked for.

    Raises
    ------
    TimeoutError
        Raised if some survive ``patience`` seconds.
    """
    seen: set[int] = set()
    deadline = time.monotonic() + patience
    while True:
        left = [process for process in marked(directory, keep=keep) if start_time(process.pid) is not None]
        if not left:
            return len(seen)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of {directory} do not end: {[process.pid for process in left]}")
        for process in left:
            seen.add(process.pid)
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=1.0)


def stop_child(process: subprocess.Popen[bytes], *, patience: float) -> None:
    """Ask a child to stop, then kill it."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience)
    if process.poll() is None:
        process.kill()
        process.wait()
