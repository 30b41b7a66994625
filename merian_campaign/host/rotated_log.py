"""A log that several processes append to, and notes of what was said once: neither grows without bound."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from merian_campaign.host.atomic_files import appending, open_append

_KEPT_SECONDS: Final = 40 * 86400

__all__ = ["append_lines", "first_time", "forget_time"]

MOST_BYTES: Final = 2 * 1024 * 1024
KEPT: Final = 5
"""Older files that are kept: ``NAME.1`` is the newest of them."""


def append_lines(path: Path, lines: Iterable[str], *, most_bytes: int = MOST_BYTES) -> None:
    """Append lines to a log; when it has become too long, it is put aside first.

    Raises
    ------
    OSError
        Raised if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of its own: a lock on the log itself would go with the file that is put aside.
    lock = open_append(path.with_name(f"{path.name}.lock"), mode=0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists() and path.stat().st_size > most_bytes:
            for number in range(KEPT, 0, -1):
                older = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
                if older.exists():
                    older.replace(path.with_name(f"{path.name}.{number}"))
        with appending(path) as stream:
            stream.write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
    finally:
        os.close(lock)


def first_time(folder: Path, key: str) -> bool:
    """Say whether this is asked for the first time in some weeks; keeps that it was.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Where that is kept, one empty file a key.
    key : `str`
        What it is about.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for entry in folder.iterdir():
            if time.time() - entry.stat().st_mtime > _KEPT_SECONDS:
                entry.unlink(missing_ok=True)
        _mark(folder, key).touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:  # a full disk is what there is to be told
        return True
    return True


def forget_time(folder: Path, key: str) -> None:
    """Let it be asked for the first time again."""
    with contextlib.suppress(OSError):
        _mark(folder, key).unlink(missing_ok=True)


def _mark(folder: Path, key: str) -> Path:
    return folder / hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:32]
