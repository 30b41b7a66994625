"""Finding and ending what belongs to a submission: a job's tree, a driver's leftovers, recorded processes.

Identity is host, pid and start time, as written to ``{submitPath}/processes.jsonl``, or a mark in the
environment a process was started with.  Processes of other hosts are left to their lease and to Slurm.
"""

import json
import os
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from merian_campaign.domain.execution.journal import JournalEvent
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.safe_text import json_values
from merian_campaign.host.atomic_files import appending
from merian_campaign.host.processes import (
    SUBMISSION_MARK,
    ProcessEntry,
    alive,
    environment_of,
    members_of,
    processes,
    this_host,
)
from merian_campaign.host.regular_files import MEDIUM, DamagedFileError, read_lines
from merian_campaign.host.termination import end_all, kill_all
from merian_campaign.wms.journal_writer import JOURNAL_NAME, Journal
from merian_campaign.wms.node.cgroup import sweep
from merian_campaign.wms.node.child import JOB_MARK
from merian_campaign.wms.node.node_jobs import NodeJob

__all__ = ["DRIVER_MARK", "driver_mark", "kill_job", "lights_off", "reap", "register"]

DRIVER_MARK = "MERIAN_CAMPAIGN_DRIVER"
"""Environment variable that the service sets for everything it starts: host:pid:start of the driver."""

PROCESSES_NAME = "processes.jsonl"

_SWEEP_SECONDS = 1.0


def driver_mark(driver: ProcessIdentity) -> str:
    """Return the value of `DRIVER_MARK` for a driver."""
    return f"{driver.host}:{driver.pid}:{driver.pid_start}"


def register(submit: Path, *, role: str, identity: ProcessIdentity, cgroup: str = "") -> None:
    """Record a process of a submission, so that it can be found when its environment does not tell.

    ``cgroup`` is the control group below which it makes leaves for its jobs.
    """
    values = {"role": role, **asdict(identity), **({"cgroup": cgroup} if cgroup else {})}
    with suppress(OSError, DamagedFileError), appending(submit / PROCESSES_NAME) as stream:
        stream.write(f"{json.dumps(values)}\n".encode())


def kill_job(job: NodeJob) -> None:
    """Kill every process of a job, including those that left its session or lost their parents."""
    number = str(job.number)
    root = job.pid or 0
    supervisor = os.getpid()

    def find() -> list[ProcessEntry]:
        table = processes()
        found = {member.pid: member for member in members_of(root, table, job.known)}
        inside = job.leaf.pids() if job.leaf is not None else set()
        found |= {pid: table[pid] for pid in inside if pid in table}
        for member in table.values():
            # A stray was adopted by our forkserver; its environment names the job it came from.
            if member.pid in found or member.start < (job.start or 0):
                continue
            parent = table.get(member.parent)
            ours = parent is not None and parent.parent == supervisor
            if ours and environment_of(member.pid).get(JOB_MARK) == number:
                found[member.pid] = member
        return list(found.values())

    kill_all(find)


def lights_off(driver: ProcessIdentity) -> None:
    """End what a lost driver left on this host: Parsl's interchange, pools and workers.

    Called by a supervisor once the last quantum has ended; the caller itself is spared.
    """
    mark = driver_mark(driver)
    own = os.getpid()
    kill_all(
        lambda: [
            member
            for member in processes().values()
            if member.pid != own and environment_of(member.pid).get(DRIVER_MARK) == mark
        ]
    )


def reap(submit: Path, *, spare: Collection[int] = (), seconds: float = 10.0) -> int:
    """End every process on this host that an earlier driver of a submission left behind, and its groups.

    Looks at recorded identities, at the marks in the environment and at quanta that the journal saw
    starting and not ending.  The caller and its ancestors are spared.

    Parameters
    ----------
    submit : `pathlib.Path`
        The submit directory.
    spare : collection of `int`
        Pids that are left alone, with all their descendants.
    seconds : `float`
        How long to wait for them to be gone.

    Returns
    -------
    count : `int`
        How many were ended.

    Raises
    ------
    TimeoutError
        Some would not go; resuming now could run a quantum twice.
    """
    killed = end_all(_leftovers(submit, spare), patience=seconds, what=str(submit))
    places = {Path(entry["cgroup"]) for entry in _entries(submit) if entry.get("cgroup")}
    # What was killed leaves its group a moment after it is gone.
    deadline = time.monotonic() + _SWEEP_SECONDS
    while sweep(places) and time.monotonic() < deadline:
        time.sleep(0.02)
    return killed


def _leftovers(submit: Path, spare: Collection[int]) -> Callable[[], list[ProcessEntry]]:
    """Return a function that lists the living leftovers of a submission on this host."""
    before = set(_recorded(submit))
    recorded = before | set(_unfinished(submit))
    drivers = {f"{this_host()}:{pid}:{start}" for pid, start in before}
    lineage = _lineage()

    def find() -> list[ProcessEntry]:
        table = processes()
        spared = lineage | {member.pid for pid in spare for member in members_of(pid, table)}
        found: dict[int, ProcessEntry] = {}
        for member in table.values():
            if member.pid in spared:
                continue
            if (member.pid, member.start) in recorded or _is_marked(member, submit, drivers):
                for one in members_of(member.pid, table):
                    found[one.pid] = one
        return [member for pid, member in found.items() if pid not in spared]

    return find


def _is_marked(member: ProcessEntry, submit: Path, drivers: Collection[str]) -> bool:
    environment = environment_of(member.pid)
    names = {str(submit), os.environ.get(SUBMISSION_MARK, str(submit))}
    return environment.get(DRIVER_MARK) in drivers or environment.get(SUBMISSION_MARK) in names


def _entries(submit: Path) -> Iterable[dict[str, Any]]:
    """Yield what was registered on this host."""
    here = this_host()
    with suppress(OSError, DamagedFileError):
        for line in read_lines(submit / PROCESSES_NAME, limit=MEDIUM):
            with suppress(json_values.WrongValueError):
                values = json_values.loads(line.encode())
                if isinstance(values, dict) and values.get("host") == here and _is_process(values):
                    yield values


def _is_process(values: dict[str, Any]) -> bool:
    return all(isinstance(values.get(name), int) and values[name] > 0 for name in ("pid", "pid_start"))


def _recorded(submit: Path) -> Iterable[tuple[int, int]]:
    return ((entry["pid"], entry["pid_start"]) for entry in _entries(submit))


def _unfinished(submit: Path) -> Iterable[tuple[int, int]]:
    """Yield the quanta of this host that started and did not end, by the journal."""
    here = this_host()
    going: dict[tuple[int, int], None] = {}
    for record in Journal(submit / JOURNAL_NAME).read():
        if record.host != here or record.pid is None or record.pid_start is None:
            continue
        if record.event == JournalEvent.STARTED:
            going[record.pid, record.pid_start] = None
        elif record.event == JournalEvent.ENDED:
            going.pop((record.pid, record.pid_start), None)
    return [(pid, start) for pid, start in going if alive(pid, start)]


def _lineage() -> set[int]:
    """Return the pids of the calling process and its ancestors."""
    table = processes()
    found: set[int] = set()
    pid = os.getpid()
    while pid in table and pid not in found:
        found.add(pid)
        pid = table[pid].parent
    return found
