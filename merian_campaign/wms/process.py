"""Processes as the kernel shows them: identity, trees, resident memory, signals.

Standard library and ``/proc`` only (Linux).  A process is named by host, pid and start time, because a
pid alone is reused.  Nothing here decides; it looks and it kills what it is told to.
"""

import ctypes
import os
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "ProcessEntry",
    "ProcessKey",
    "alive",
    "die_with_parent",
    "environment_of",
    "kill_all",
    "members_of",
    "own_identity",
    "processes",
    "proportional_mb",
    "start_time",
    "threads",
    "watch_orphans",
]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = 1024 * 1024
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessKey:
    """A process that cannot be mistaken for a later one with the same pid."""

    host: str
    pid: int
    pid_start: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessEntry:
    """One line of the process table; ``resident_mb`` counts shared pages in full."""

    pid: int
    parent: int
    session: int
    start: int
    resident_mb: float


def start_time(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since boot, or None when it is gone."""
    member = _read(pid)
    return member.start if member else None


def own_identity() -> ProcessKey:
    """Return the identity of the calling process."""
    return ProcessKey(host=socket.gethostname(), pid=os.getpid(), pid_start=start_time(os.getpid()) or 0)


def alive(pid: int, start: int) -> bool:
    """Return whether this very process still runs (a zombie does not)."""
    return start_time(pid) == start


def threads() -> int:
    """Return the number of threads of the calling process, including those no Python code knows of."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def _read(pid: int) -> ProcessEntry | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command name may hold blanks and parentheses; the fields start after its last one.
    fields = text[text.rfind(")") + 2 :].split()
    if fields[0] in "ZX":
        return None
    return ProcessEntry(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        start=int(fields[19]),
        resident_mb=int(fields[21]) * _PAGE / _MIB,
    )


def processes() -> dict[int, ProcessEntry]:
    """Return the living processes that the caller may see, by pid."""
    found = (_read(int(name)) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - hot
    return {member.pid: member for member in found if member is not None}


def members_of(
    root: int, table: dict[int, ProcessEntry], known: Iterable[tuple[int, int]] = ()
) -> list[ProcessEntry]:
    """Return a process tree: descendants, members of its session, and what is known from before.

    Parameters
    ----------
    root
        Pid at the top; it leads a session of its own.
    table
        From `processes`.
    known
        (pid, start time) of processes seen in this tree earlier; a child that left the session and lost
        its parent is found again by these.
    """
    by_parent: dict[int, list[int]] = {}
    for member in table.values():
        by_parent.setdefault(member.parent, []).append(member.pid)
    seeds = {root} | {m.pid for m in table.values() if m.session == root}
    seeds |= {pid for pid, start in known if pid in table and table[pid].start == start}
    found: set[int] = set()
    waiting = [pid for pid in seeds if pid in table]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(by_parent.get(pid, ()))
    return [table[pid] for pid in found]


def proportional_mb(pid: int) -> float | None:
    """Return resident memory with each shared page divided among its sharers, MiB, or None."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return None


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment a process was started with; empty when it cannot be read."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if b"=" in item)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def kill_all(find: Callable[[], Iterable[ProcessEntry]], *, sign: int = signal.SIGKILL) -> int:
    """Signal processes until no new ones turn up; return how many were signalled.

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
                    os.kill(member.pid, sign)
    return len(done)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill the caller when its parent ends, also when that was killed.

    Parameters
    ----------
    parent
        Pid of the parent at the time of the fork, to catch one that is gone already.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def watch_orphans() -> None:
    """Make the caller the parent of descendants that lose theirs, so that it can find and end them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
