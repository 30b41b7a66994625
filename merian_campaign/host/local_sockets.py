"""Unix sockets between processes of one user: the kernel says who is at the other end."""

from __future__ import annotations

import os
import socket
import struct

__all__ = ["is_ours", "peer_uid"]

_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


def peer_uid(connection: socket.socket) -> int:
    """Return the user at the other end of a connected Unix socket, as when it connected or listened."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return int(uid)


def is_ours(connection: socket.socket) -> bool:
    """Say whether the other end is this user's, or root's."""
    return peer_uid(connection) in {0, os.geteuid()}
