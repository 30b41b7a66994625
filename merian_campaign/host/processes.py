"""Processes of this host: who they are and whether they live, their trees and memory; how one is started.

Standard library and ``/proc`` only (Linux), because workers and supervisors import it.  A process is named
by host, pid and start time, because a pid alone is reused.  Everything a submission starts carries the
environment variable `SUBMISSION_MARK`, so that orphans are found whatever session or group they moved to.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.host.atomic_files import appending

__all__ = [
    "SUBMISSION_MARK",
    "ProcessEntry",
    "alive",
    "entry_of",
    "environment_of",
    "identity",
    "members_of",
    "processes",
    "proportional_mb",
    "sees_alive",
    "start_detached",
    "start_time",
    "this_host",
    "threads",
]

SUBMISSION_MARK = "MERIAN_CAMPAIGN_SUBMISSION"
"""Environment variable of all processes of a submission, inherited: ``<directory>#<role><epoch>``."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = 1024 * 1024
_NAMESPACE_OF_HOST = 0xEFFFFFFC  # the kernel's PROC_PID_INIT_INO


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
    member = entry_of(pid)
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


def entry_of(pid: int) -> ProcessEntry | None:
    """Return a line of the process table; `None` for what has ended, or is hidden from the caller."""
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
    found = (entry_of(int(name)) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - hot
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
