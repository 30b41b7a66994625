"""How processes of this host are ended: a child, a tree, all of a submission, one that hangs, an orphan.

Standard library and ``/proc`` only (Linux), because workers and supervisors import it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from merian_campaign.host.processes import (
    SUBMISSION_MARK,
    ProcessEntry,
    alive,
    entry_of,
    environment_of,
    members_of,
    processes,
)

__all__ = [
    "die_with_parent",
    "end_all",
    "kill_all",
    "kill_stuck",
    "reap",
    "stop_child",
    "stop_tree",
    "watch_orphans",
]

_LIBC = ctypes.CDLL(None, use_errno=True)  # loaded before any fork
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_CLOCK_GRAIN = timedelta(minutes=5)
"""How far the clocks of a host and of the database may differ."""


def stop_child(process: subprocess.Popen[bytes], *, patience: float) -> None:
    """Ask a child to stop, then kill it."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience)
    if process.poll() is None:
        process.kill()
        process.wait()


def stop_tree(root: int, *, patience: float) -> None:
    """End a process that shall do nothing more, with all its descendants.

    It is held first, so that it starts nothing in place of what ends. Its descendants are asked to end and
    given time for it; then all are killed, itself last.

    Parameters
    ----------
    root : `int`
        Pid of the process at the top.
    patience : `float`
        How long descendants may take to end, seconds.
    """
    known: set[tuple[int, int]] = set()

    def below() -> list[ProcessEntry]:
        found = [member for member in members_of(root, processes(), known) if member.pid != root]
        known.update((member.pid, member.start) for member in found)
        return found

    with suppress(ProcessLookupError):
        os.kill(root, signal.SIGSTOP)
    for member in below():
        with suppress(ProcessLookupError, PermissionError):
            os.kill(member.pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while below() and time.monotonic() < deadline:
        time.sleep(0.05)
    kill_all(below)
    with suppress(ProcessLookupError):
        os.kill(root, signal.SIGKILL)


def kill_all(find: Callable[[], Iterable[ProcessEntry]]) -> set[tuple[int, int]]:
    """Kill processes until no new ones turn up; return pid and start time of each.

    A process that forks while it is being killed is found by looking again.
    """
    done: set[tuple[int, int]] = set()
    for _ in range(20):
        fresh = [member for member in find() if (member.pid, member.start) not in done]
        if not fresh:
            break
        for member in fresh:
            done.add((member.pid, member.start))
            if alive(member.pid, member.start):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(member.pid, signal.SIGKILL)
    return done


def end_all(find: Callable[[], Iterable[ProcessEntry]], *, patience: float, what: str) -> int:
    """Kill processes and wait until none is found any more; return how many were killed.

    Parameters
    ----------
    find : callable
        Lists those that are left.
    patience : `float`
        How long to wait for them to be gone, seconds.
    what : `str`
        What they belong to, for the message.

    Raises
    ------
    TimeoutError
        Raised if some survive: what they do could then be done twice.
    """
    deadline = time.monotonic() + patience
    killed = kill_all(find)
    while left := list(find()):
        if time.monotonic() > deadline:
            pids = sorted(member.pid for member in left)
            raise TimeoutError(f"processes of {what} do not end within {patience:g} s: {pids}")
        time.sleep(0.02)
        killed |= kill_all(find)
    return len(killed)


def reap(directory: str, *, keep: frozenset[str] = frozenset(), patience: float = 20.0) -> int:
    """Kill the processes on this host that belong to a submission's directory; return how many.

    Parameters
    ----------
    directory : `str`
        The submission's directory.
    keep : `frozenset` [`str`]
        Roles (what follows ``#`` in the mark) whose processes are left out, as is the caller.
    patience : `float`
        How long to wait for them to be gone, seconds.

    Raises
    ------
    TimeoutError
        Raised if some survive.
    """
    kept = {f"{directory}#{role}" for role in keep}

    def find() -> list[ProcessEntry]:
        return [member for member in processes().values() if _belongs(member.pid, directory, kept)]

    return end_all(find, patience=patience, what=directory)


def _belongs(pid: int, directory: str, kept: set[str]) -> bool:
    if pid == os.getpid():
        return False
    mark = environment_of(pid).get(SUBMISSION_MARK, "")
    return (mark.startswith(f"{directory}#") and mark not in kept) or _is_renamed_parsl(pid, directory)


def _is_renamed_parsl(pid: int, directory: str) -> bool:
    """Say whether a process is one of Parsl's that works in a submission's directory.

    Parsl gives some of its processes a title, which is written over their environment in memory: the
    mark cannot be read from those.
    """
    entry = Path(f"/proc/{pid}")
    with suppress(OSError):
        if (entry / "cmdline").read_bytes().startswith(b"parsl:"):
            return (entry / "cwd").readlink().is_relative_to(directory)
    return False


def kill_stuck(pid: int, *, since: datetime, word: str) -> bool:
    """Kill a process of this host that hangs or is stopped; say whether it was there.

    Parameters
    ----------
    pid : `int`
        Which.
    since : `datetime.datetime`
        It had started by then: a later one of this number is another.
    word : `str`
        Part of its command line: any other is none of ours.
    """
    member = entry_of(pid)
    if member is None or pid == os.getpid():
        return False
    with suppress(OSError, ValueError):
        up = float(Path("/proc/uptime").read_text().split()[0])
        age = up - member.start / os.sysconf("SC_CLK_TCK")
        command = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
        if word in command and datetime.now(UTC) - timedelta(seconds=age) <= since + _CLOCK_GRAIN:
            os.kill(pid, signal.SIGKILL)
            return True
    return False


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill the caller when its parent ends, also when that was killed.

    Parameters
    ----------
    parent : `int` or `None`
        Pid of the parent at the time of the fork, to catch one that is gone already.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def watch_orphans() -> None:
    """Make the caller the parent of descendants that lose theirs, so that it can find and end them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
