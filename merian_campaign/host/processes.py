"""Processes of this host: who they are and whether they live, their trees and memory; start, find, end them.

Standard library and ``/proc`` only (Linux), because workers and supervisors import it.  A process is named
by host, pid and start time, because a pid alone is reused.  Everything a submission starts carries the
environment variable `SUBMISSION_MARK`, so that orphans are found whatever session or group they moved to.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.host.atomic_files import appending

__all__ = [
    "SUBMISSION_MARK",
    "ProcessEntry",
    "alive",
    "die_with_parent",
    "end_all",
    "environment_of",
    "identity",
    "kill_all",
    "kill_stuck",
    "members_of",
    "processes",
    "proportional_mb",
    "reap",
    "sees_alive",
    "start_detached",
    "start_time",
    "stop_child",
    "stop_tree",
    "this_host",
    "threads",
    "watch_orphans",
]

SUBMISSION_MARK = "MERIAN_CAMPAIGN_SUBMISSION"
"""Environment variable of all processes of a submission, inherited: ``<directory>#<role><epoch>``."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = 1024 * 1024
_LIBC = ctypes.CDLL(None, use_errno=True)  # loaded before any fork
_NAMESPACE_OF_HOST = 0xEFFFFFFC  # the kernel's PROC_PID_INIT_INO
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


_CLOCK_GRAIN = timedelta(minutes=5)
"""How far the clocks of a host and of the database may differ."""


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


def this_host() -> str:
    """Return the name of what this process sees all processes of: its host, or its PID namespace there.

    A container has pids of its own: those of another one on the same host are as far as another host's.
    """
    name = socket.gethostname()
    with suppress(OSError):
        namespace = Path("/proc/self/ns/pid").stat().st_ino
        return name if namespace == _NAMESPACE_OF_HOST else f"{name}~pid{namespace}"
    return name


def identity(pid: int | None = None) -> ProcessIdentity:
    """Return the identity of a process of this host; of the caller when no pid is given."""
    pid = os.getpid() if pid is None else pid
    return ProcessIdentity(host=this_host(), pid=pid, pid_start=start_time(pid) or 0)


def alive(pid: int, start: int) -> bool:
    """Return whether this very process still runs (a zombie does not)."""
    return sees_alive(pid, start) is True


def sees_alive(pid: int, start: int) -> bool | None:
    """Return whether this very process still runs; `None` when it is hidden from the caller.

    With ``/proc`` mounted with ``hidepid``, processes of other accounts do not show there.
    """
    if not start or not _shows_us():
        return None
    try:
        found = _entry(pid)
    except PermissionError:
        return None
    if found is not None:
        return found.start == start
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False if Path(f"/proc/{pid}").exists() else None
    return False  # a zombie, or just gone


def threads() -> int:
    """Return the number of threads of the calling process, including those no Python code knows of."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def _shows_us() -> bool:
    """Say whether ``/proc`` is of the caller's own PID namespace."""
    try:
        return str(Path("/proc/self").readlink()) == str(os.getpid())
    except OSError:
        return False


def _read(pid: int) -> ProcessEntry | None:
    try:
        return _entry(pid)
    except PermissionError:
        return None


def _entry(pid: int) -> ProcessEntry | None:
    """Return a line of the process table, None for what has ended or is not shown.

    Raises
    ------
    PermissionError
        Raised for a process that is shown and cannot be looked into (``hidepid=1``).
    """
    try:
        text = _stat(pid)
    except PermissionError:
        raise
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


def _stat(pid: int) -> str:
    """Read ``/proc/PID/stat`` in three calls of the system: guards read it of every process, every second."""
    descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    try:
        return os.read(descriptor, 4096).decode(errors="replace")
    finally:
        os.close(descriptor)


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
    root : `int`
        Pid at the top; it leads a session of its own.
    table : `dict` [`int`, `ProcessEntry`]
        From `processes`.
    known : iterable of `tuple` [`int`, `int`]
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
    member = _read(pid)
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


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


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
