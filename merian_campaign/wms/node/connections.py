"""The connections of a supervisor: Parsl's workers and the driver, one request and one answer at a time."""

import json
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from merian_campaign.host.local_sockets import is_ours

__all__ = ["Connection", "Connections"]


@dataclass(kw_only=True, eq=False)
class Connection:
    """One connection; ``job`` is the number of the job it waits for."""

    connection: socket.socket
    buffer: bytes = b""
    job: int | None = None

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; one that is gone is noticed by the loop."""
        with suppress(OSError):
            self.connection.sendall(json.dumps(message, default=str).encode() + b"\n")


class Connections:
    """All connections.

    Parameters
    ----------
    listener : `socket.socket`
        Listening socket.
    selector : `selectors.BaseSelector`
        The supervisor's; everything is called from its loop.
    on_message : callable
        Called with each decoded message.
    on_gone : callable
        Called when a connection is closed.
    """

    def __init__(
        self,
        *,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        on_message: Callable[[Connection, dict[str, Any]], None],
        on_gone: Callable[[Connection], None],
    ) -> None:
        self._listener = listener
        self._selector = selector
        self._on_message = on_message
        self._on_gone = on_gone
        self._open: dict[int, Connection] = {}

    def __len__(self) -> int:
        return len(self._open)

    def listen(self) -> None:
        """Take connections from now on."""
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        if not is_ours(connection):
            connection.close()
            return
        client = Connection(connection=connection)
        self._open[connection.fileno()] = client
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._hear(client))

    def _hear(self, client: Connection) -> None:
        try:
            data = client.connection.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(client.connection)
            self._open.pop(client.connection.fileno(), None)
            client.connection.close()
            self._on_gone(client)
            return
        client.buffer += data
        *lines, client.buffer = client.buffer.split(b"\n")
        for line in lines:
            self._on_message(client, json.loads(line))
