"""Processes by id and start time: starting, finding, ending exactly those that belong to a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True, order=True)
class Process:
    """A process that no later one with the same id can be mistaken for."""

    pid: int
    start: int

    @property
    def alive(self) -> bool:
        """Whether it runs; what has ended and waits to be reaped does not."""
        found = _stat(self.pid)
        return found is not None and found[1] == self.start and found[0] not in "ZX"

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it is still there."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    @property
    def name(self) -> str:
        return _read(self.pid, "comm").decode("utf-8", "replace").strip()

    @property
    def command(self) -> str:
        text = _read(self.pid, "cmdline").replace(b"\0", b" ").decode("utf-8", "replace").strip()
        return text or f"[{self.name}]"

    def variables(self) -> dict[str, str]:
        """Return the environment it was started with; empty if that cannot be read."""
        pairs = (entry.partition(b"=") for entry in _read(self.pid, "environ").split(b"\0"))
        return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs if name}

    def folder(self) -> Path | None:
        """Return where it works."""
        try:
            return (PROC / str(self.pid) / "cwd").readlink()
        except OSError:
            return None

    def descendants(self) -> Iterator[Process]:
        """Give all processes below it."""
        below: dict[int, list[int]] = {}
        for each in everything():
            found = _stat(each.pid)
            if found is not None:
                below.setdefault(found[2], []).append(each.pid)
        todo = list(below.get(self.pid, []))
        while todo:
            pid = todo.pop()
            todo += below.get(pid, [])
            if child := process(pid):
                yield child


def _read(pid: int, file: str) -> bytes:
    try:
        return (PROC / str(pid) / file).read_bytes()
    except OSError:
        return b""


def _stat(pid: int) -> tuple[str, int, int] | None:
    """Return state, start time in clock ticks, and parent."""
    text = _read(pid, "stat").decode("utf-8", "replace")
    # The name stands in parentheses and may hold anything.
    fields = text.rpartition(")")[2].split()
    return (fields[0], int(fields[19]), int(fields[1])) if len(fields) > 19 else None


def process(pid: int) -> Process | None:
    """Return the process that has this id now."""
    found = _stat(pid)
    return None if found is None else Process(pid=pid, start=found[1])


def everything() -> Iterator[Process]:
    """Give every running process."""
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (found := process(int(entry.name))) and found.alive:
            yield found


def start(command: list[str], *, folder: Path, log: Path, environment: Mapping[str, str]) -> Process:
    """Start a process in a session of its own; what it prints goes to `log`."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command, cwd=folder, env=dict(environment), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    return process(child.pid) or Process(pid=child.pid, start=-1)


def end(processes: Iterable[Process], *, patience: float = 8.0) -> list[Process]:
    """Ask processes to end, then make them; return those that are there still."""
    left = list(processes)
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 10.0)):
        left = _ask(left, number, seconds=seconds)
    return left


def _ask(processes: list[Process], number: signal.Signals, *, seconds: float) -> list[Process]:
    for each in processes:
        each.send(signal.SIGCONT)
        each.send(number)
    wait_until(lambda: not any(each.alive for each in processes), seconds=seconds)
    return [each for each in processes if each.alive]


def wait_until(condition: Callable[[], object], *, seconds: float, period: float = 0.05) -> bool:
    """Return whether a condition became true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(period)  # between two looks at the condition
    return True
