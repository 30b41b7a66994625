"""What a campaign's files allow to the group: what its repository's folder says, on top of the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["group_umask", "is_shared", "shared_with_group"]

_GROUP = 0o070


def is_shared(repository: str) -> bool:
    """Say whether the group may write a butler repository: its folder, or that of its configuration file."""
    path = Path(repository)
    folder = path.parent if path.is_file() else path
    return folder.is_dir() and bool(folder.stat().st_mode & stat.S_IWGRP)


def group_umask() -> int:
    """Return this process's umask without the bits of the group: what is private from others stays so."""
    mask = os.umask(0o077)  # it can only be read by setting it
    os.umask(mask)
    return mask & ~_GROUP


@contextmanager
def shared_with_group(shared: bool) -> Iterator[None]:  # noqa: FBT001 - there is no other word for it
    """Let the group write what is made in the meantime, if ``shared``; what is started inherits it."""
    before = os.umask(group_umask()) if shared else None
    try:
        yield
    finally:
        if before is not None:
            os.umask(before)
