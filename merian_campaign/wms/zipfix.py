"""Mends reading quantum graphs under Python 3.12.0 to 3.12.8 and 3.13.0 to 3.13.1.

Their ``zipfile`` loses its place when two stored members of an archive are read in turns and one seeks
(https://github.com/python/cpython/issues/127847).  A graph of more than about a hundred quanta is read like
that, and every ``pipetask run-qbb`` and ``butler aggregate-graph`` on it fails with ``EOFError``.  Our own
processes and their forks are mended; commands that start a Python of their own need a newer one.
"""

import io
import os
import zipfile
from typing import Any

__all__ = ["is_broken", "is_broken_at_start", "mend"]

_MENDED = False


def is_broken() -> bool:
    """Return whether this process's ``zipfile`` has the defect, by trying."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"123")
        archive.writestr("b", b"456")
    with zipfile.ZipFile(buffer) as archive, archive.open("a") as first, archive.open("b") as second:
        first.read(1)
        second.seek(1)
        try:
            return second.read(1) != b"5"
        except (EOFError, zipfile.BadZipFile):
            return True


def is_broken_at_start() -> bool:
    """Return whether a new process of this Python has the defect, whether this one is mended or not."""
    return _MENDED or is_broken()


def mend() -> None:
    """Make relative seeks start from the member's own place; does nothing where they do already."""
    global _MENDED  # noqa: PLW0603 - a fact of the process, as what it mends
    if not is_broken():
        return
    _MENDED = True
    shared: Any = zipfile._SharedFile  # type: ignore[attr-defined]  # noqa: SLF001 - where the defect is
    seek = shared.seek

    def seek_from_own_place(self: Any, offset: int, whence: int = 0) -> Any:  # noqa: ANN401
        if whence == os.SEEK_CUR:
            return seek(self, self._pos + offset, os.SEEK_SET)
        return seek(self, offset, whence)

    shared.seek = seek_from_own_place
