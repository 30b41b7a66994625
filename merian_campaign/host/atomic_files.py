"""Writing files: whole or not at all, through no link, with the modes that the umask says."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from merian_campaign.host.regular_files import DamagedFileError, read_bytes

__all__ = [
    "appending",
    "open_append",
    "write_atomically",
    "write_bytes_atomically",
    "write_if_changed",
    "write_json",
    "write_lines",
]


def write_if_changed(path: Path, text: str) -> bool:
    """Write ``text`` atomically unless the file holds exactly that; return whether it was written."""
    content = text.encode()
    with contextlib.suppress(FileNotFoundError, DamagedFileError):
        if read_bytes(path, limit=len(content), follow=False) == content:
            return False
    write_atomically(path, text)
    return True


def write_atomically(path: Path, text: str, *, mode: int = 0o666, durable: bool = True) -> None:
    """Replace a file in one step; a reader sees the old or the new text, never half of it.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file; its folder is made if it is not there. A link under this name is replaced, not followed.
    text : `str`
        Its content.
    mode : `int`, optional
        Its mode, less the umask.
    durable : `bool`, optional
        Whether to wait until it is on disk.

    Raises
    ------
    OSError
        Raised if it cannot be written, e.g. on a full disk; then nothing is left behind.
    """
    _write((text,), path=path, mode=mode, durable=durable)


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Replace a file of bytes in one step, as `write_atomically` does."""
    _write((content,), path=path, mode=0o666, durable=True)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Replace a file by lines as they are made, in one step, as `write_atomically` does."""
    _write((f"{line}\n" for line in lines), path=path, mode=0o666, durable=True)


def _write(texts: Iterable[str | bytes], *, path: Path, mode: int, durable: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:200]}.{os.urandom(6).hex()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as stream:
            for text in texts:
                stream.write(text.encode() if isinstance(text, str) else text)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(
                path
            )  # a full disk has no name of its own, and the temporary one says nothing
        raise


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write a JSON file atomically."""
    write_atomically(path, json.dumps(value, indent=1) + "\n")


def open_append(path: Path | str, *, mode: int = 0o666, empty: bool = False) -> int:
    """Open a log for appending, made if need be; return its descriptor.

    Parameters
    ----------
    path : `~pathlib.Path` or `str`
        The log.
    mode : `int`, optional
        Its mode, less the umask, if it is made.
    empty : `bool`, optional
        Whether to begin it anew.

    Raises
    ------
    OSError
        Raised if it cannot be opened, among others when its name is a link.
    DamagedFileError
        Raised if what is there is no regular file.
    """
    flags = (
        os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    )
    descriptor = os.open(path, flags, mode)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DamagedFileError(path, "expected a regular file to append to")
    if empty:
        os.ftruncate(descriptor, 0)
    return descriptor


@contextlib.contextmanager
def appending(path: Path | str) -> Iterator[IO[bytes]]:
    """Give a log for appending, unbuffered; errors as of `open_append`."""
    with os.fdopen(open_append(path), "ab", buffering=0) as stream:
        yield stream
