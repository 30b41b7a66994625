"""The supervisor's end of its forkserver: starting it, sending it orders, hearing from it."""

import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from merian_campaign.host.processes import ProcessEntry, members_of, processes
from merian_campaign.wms.node.child import ForkOrder
from merian_campaign.wms.node.forkserver import run_forkserver
from merian_campaign.wms.node.node_jobs import NodeJob

__all__ = ["ForkserverClient"]

_MOST_DEATHS = 3


class ForkserverClient:
    """One forkserver at a time, replaced when it dies.

    A forkserver that dies while it prepares a graph is followed by one that does not try; after several
    deaths warmth is given up and commands go to bash, which is slow and always works.

    Parameters
    ----------
    selector : `selectors.BaseSelector`
        The supervisor's; messages are delivered from its loop.
    on_message : callable
        Called with each decoded message.
    on_end : callable
        Called when the forkserver is gone.
    """

    def __init__(
        self,
        *,
        selector: selectors.BaseSelector,
        on_message: Callable[[dict[str, Any]], None],
        on_end: Callable[[], None],
    ) -> None:
        self._selector = selector
        self._on_message = on_message
        self._on_end = on_end
        self._channel: socket.socket | None = None
        self._pid = 0
        self._buffer = b""
        self._deaths = 0
        self._prepare = True
        self.warm = True

    @property
    def running(self) -> bool:
        """Whether there is a forkserver."""
        return self._channel is not None

    def start(self, *, warm: bool) -> None:
        """Fork a forkserver from this process."""
        self.warm = warm
        ours, theirs = socket.socketpair()
        supervisor = os.getpid()
        environment = dict(os.environ)
        self._pid = os.fork()
        if self._pid == 0:
            keep = theirs.fileno()
            _close_all_but(keep)
            run_forkserver(
                theirs,
                supervisor=supervisor,
                warm=warm,
                prepare_graphs=self._prepare,
                environment=environment,
            )
        theirs.close()
        self._buffer = b""
        self._channel = ours
        self._selector.register(ours, selectors.EVENT_READ, self._hear)

    def restart(self, *, warm: bool) -> None:
        """Replace the forkserver by one with this process's present environment."""
        self.stop()
        self.start(warm=warm)

    def start_again(self) -> None:
        """Start the successor of a forkserver that died."""
        self._deaths += 1
        self._prepare = self._prepare and self._deaths <= 1
        self.start(warm=self.warm and self._deaths < _MOST_DEATHS)

    def stop(self) -> None:
        """End the forkserver and whatever it still runs."""
        if self._channel is None:
            return
        self._release()
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def send(self, order: ForkOrder) -> None:
        """Have an order run; a forkserver that is gone is noticed by the loop."""
        if self._channel is not None:
            with suppress(OSError):
                self._channel.sendall(json.dumps(asdict(order)).encode() + b"\n")

    def table(self) -> dict[int, ProcessEntry]:
        """Return the processes of this machine."""
        return processes()

    def members(self, job: NodeJob, table: dict[int, ProcessEntry]) -> list[ProcessEntry]:
        """Return the living processes of a job, and remember them as its own."""
        assert job.pid is not None
        found = members_of(job.pid, table, job.known)
        job.known = {(member.pid, member.start) for member in found}
        return found

    def _release(self) -> None:
        assert self._channel is not None
        self._selector.unregister(self._channel)
        self._channel.close()
        self._channel = None

    def _hear(self) -> None:
        assert self._channel is not None
        try:
            data = self._channel.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            self.stop()
            self._on_end()
            return
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message.get("ready", 1) > 1 or message.get("threads", 1) > 1:
                self._refuse_threads()
            self._on_message(message)

    def _refuse_threads(self) -> None:
        """Say that importing started threads; what was forked stays, later forkservers prepare no graph."""
        if self._prepare:
            sys.stderr.write(
                "forkserver has threads; task modules are not imported ahead of quanta any more\n"
            )
            self._prepare = False


def _close_all_but(keep: int) -> None:
    """Close inherited descriptors, so that sockets of the supervisor are not held open by children."""
    top = os.sysconf("SC_OPEN_MAX") if hasattr(os, "sysconf") else 1024
    os.closerange(3, keep)
    os.closerange(keep + 1, min(top, 65536))
