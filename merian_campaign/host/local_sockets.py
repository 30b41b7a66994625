"""Unix sockets between processes of one user: the kernel says who is at the other end."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
from pathlib import Path
from typing import Final

from merian_campaign.host.ownership import private_folder

__all__ = ["is_ours", "peer_uid", "socket_folder"]

_LONGEST: Final = 70
"""Bytes of the folder: a socket's path has 107 of them (unix(7)), and multiprocessing adds 32."""

_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


def peer_uid(connection: socket.socket) -> int:
    """Return the user at the other end of a connected Unix socket, as when it connected or listened."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return int(uid)


def is_ours(connection: socket.socket) -> bool:
    """Say whether the other end is this user's, or root's."""
    return peer_uid(connection) in {0, os.geteuid()}


def socket_folder() -> Path:
    """Return a folder for sockets that only this user can enter, made if need be.

    It lies in the folder for temporary files, or in ``/tmp`` when a socket's path would be too long there.

    Raises
    ------
    UntrustedError
        Raised if the folder belongs to somebody else, or others may enter it.
    """
    name = f"merian-campaign-{os.getuid()}"
    folder = Path(tempfile.gettempdir()) / name
    if len(os.fsencode(folder)) > _LONGEST:
        folder = Path("/tmp") / name  # noqa: S108 - checked on every use
    private_folder(folder)
    return folder
