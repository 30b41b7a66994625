"""The submission's own stages run warm: forks of a preloaded process instead of cold starts.

A driver that was started through `merian_campaign.wms.submit` has forked a preloaded supervisor before it
had threads.  Stages that are plain ``pipetask`` or ``butler`` commands run in children of it, with the same
words, the same files and the same command lines on record; others run as upstream runs them.
"""

import json
import os
import re
import signal
import socket as socket_  # "socket" is a property here
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from merian_campaign.domain.execution.journal import JobVerdict
from merian_campaign.host.atomic_files import appending
from merian_campaign.host.local_sockets import is_ours
from merian_campaign.host.stage_times import timed
from merian_campaign.wms.job_outcome import WorkerGoneError
from merian_campaign.wms.node.command import plain_words, split_locked
from merian_campaign.wms.node_settings import NodeSettings
from merian_campaign.wms.worker_app import ask

__all__ = ["Stages", "current", "final_commands", "use"]


class Locker(Protocol):
    """Takes the lock of a butler repository: alone, or together with other ``readers``."""

    def __call__(self, repository: str, *, readers: int | None = None) -> AbstractContextManager[Any]:
        """Hold it."""


_COMMANDS = frozenset({"pipetask", "butler"})
_PROLOGUE = re.compile(r"^(#!.*|set -[ex]|qgraphFile=\$1|butlerConfig=\$2|)$")


class Stages:
    """A preloaded supervisor of this process, and how stages ask for a repository's lock.

    Parameters
    ----------
    path : `pathlib.Path` or `None`
        Socket of the supervisor; None to run every stage cold.
    pid : `int` or `None`
        The supervisor's process.
    locker : `Locker` or `None`
        Takes the lock of a butler repository; None to leave that to the command's own prefix.
    times : `pathlib.Path`, optional
        File to which each stage appends when it asked for the lock, got it, and ended.
    """

    def __init__(
        self, *, path: Path | None, pid: int | None, locker: Locker | None, times: Path | None = None
    ) -> None:
        self._times = times
        self._path = path
        self.pids = (pid,) if pid is not None else ()
        self._locker = locker

    @property
    def socket(self) -> str:
        """The supervisor's socket, or an empty text."""
        return str(self._path) if self._path is not None else ""

    def configure(self, settings: NodeSettings) -> None:
        """Let the supervisor take jobs as well."""
        with self._connection() as connection:
            ask(connection, {"kind": "configure", "settings": settings.to_json()})

    def shutdown(self) -> None:
        """End the supervisor."""
        if self._path is not None:
            try:
                with self._connection() as connection:
                    connection.sendall(json.dumps({"kind": "shutdown"}).encode() + b"\n")
            except (OSError, WorkerGoneError):
                return

    def run(self, command: str, *, stdout: str, stderr: str, name: str, trace: str = "") -> int:
        """Run one stage; return its exit status as a shell would give it.

        Parameters
        ----------
        command : `str`
            The command line, perhaps behind ``merian-campaign exclusive`` or ``shared``.
        stdout, stderr : `str`
            Files to append to; may be the same.
        name : `str`
            Name of the stage, for messages.
        trace : `str`
            Text to write to ``stderr`` first.
        """
        asked = split_locked(command)
        if asked is None or self._locker is None:
            return self._run(command, stdout=stdout, stderr=stderr, name=name, trace=trace)
        lock = self._locker(asked.repository, readers=asked.readers)
        with timed(lock, file=None if self._times is None else str(self._times), name=name):
            return self._run(asked.command, stdout=stdout, stderr=stderr, name=name, trace=trace)

    def _run(self, command: str, *, stdout: str, stderr: str, name: str, trace: str) -> int:
        words = plain_words(command, os.environ)
        if self._path is None or words is None or os.path.basename(words[0]) not in _COMMANDS:  # noqa: PTH119
            return _run_cold(command, stdout=stdout, stderr=stderr, trace=trace)
        request = {
            "kind": "run",
            "job": name,
            "label": name,
            "quanta": [],
            "command": command,
            "stdout": stdout,
            "stderr": stderr,
            "stage": True,
            "header": False,
            "trace": trace,
        }
        with self._connection() as connection:
            answer = ask(connection, request)
        outcome = answer["outcome"]
        if outcome["verdict"] == JobVerdict.NODE_LOST:
            raise WorkerGoneError(f"the process that ran {name} went away")
        number = outcome["signal"]
        return int(outcome["exit"]) if number is None else 128 + int(number)

    def _connection(self) -> socket_.socket:
        connection = socket_.socket(socket_.AF_UNIX, socket_.SOCK_STREAM)
        try:
            connection.connect(self.socket)
        except OSError as error:
            connection.close()
            raise WorkerGoneError(f"the preloaded process is gone: {error}") from error
        if not is_ours(connection):
            connection.close()
            raise WorkerGoneError(f"somebody else listens at {self.socket}")
        return connection


def _run_cold(command: str, *, stdout: str, stderr: str, trace: str) -> int:
    """Run a command as upstream does."""
    with appending(stdout) as out, appending(stderr) as err:
        err.write(trace.encode())
        done = subprocess.run(  # noqa: S602 - the command is BPS's, and upstream runs it so
            command,
            shell=True,
            executable="/bin/bash",
            stdout=out,
            stderr=err,
            check=False,
            preexec_fn=_default_signals,
        )
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _default_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def final_commands(script: str, *, graph: str, repository: str) -> list[str] | None:
    """Return the commands of BPS's ``final_job.bash`` if it is nothing but plain commands, else None.

    Parameters
    ----------
    script : `str`
        Text of the script.
    graph, repository : `str`
        The script's two arguments.
    """
    commands: list[str] = []
    for line in script.splitlines():
        if _PROLOGUE.match(line):
            continue
        command = line.replace("${qgraphFile}", graph).replace("${butlerConfig}", repository)
        asked = split_locked(command)
        words = plain_words(asked.command if asked else command, os.environ)
        if words is None or os.path.basename(words[0]) not in _COMMANDS:  # noqa: PTH119
            return None
        commands.append(command)
    return commands or None


_STAGES = Stages(path=None, pid=None, locker=None)


def current() -> Stages:
    """Return the stages of this process; cold ones unless `use` has said otherwise."""
    return _STAGES


def use(stages: Stages) -> None:
    """Make these the stages of this process."""
    global _STAGES  # noqa: PLW0603 - BPS constructs the service itself and hands nothing through
    _STAGES = stages
