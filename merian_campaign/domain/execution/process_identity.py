"""Who a process is, wherever it is written down: the journal, a lease, the database."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessIdentity:
    """A process that can be told from a later one with the same pid.

    Parameters
    ----------
    host : `str`
        Host name.
    pid : `int`
        Process ID on that host.
    pid_start : `int`
        Start time in clock ticks since boot (``/proc/PID/stat`` field 22).
    """

    host: str
    pid: int
    pid_start: int
