"""Logs that pipeline tasks wrote, as text for a terminal. Nothing in them acts on it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from merian_campaign.domain.safe_text.log_tail import telling
from merian_campaign.domain.safe_text.text import clean
from merian_campaign.host.regular_files import DamagedFileError, open_regular

__all__ = ["last_lines", "log_tail", "read_log"]

_COLOUR = re.compile("\x1b\\[[0-9;:]*m")
_ANY_SIZE = 1 << 62
_LINE = 240
_TAIL_LINES = 12
_TAIL_CHARACTERS = 1500
_TAIL_BYTES = 16384


def last_lines(path: Path | str, *, lines: int) -> tuple[str, ...]:
    """Return the last lines of a log; none of one that is not there or cannot be read."""
    if not str(path):
        return ()
    try:
        text, _ = read_log(path, size=_LINE * lines)
    except (OSError, DamagedFileError):
        return ()
    return tuple(text.splitlines()[-lines:])


def log_tail(path: Path | str) -> str | None:
    """Return what a log ends with, as it is kept of a failed attempt; `None` when it says nothing."""
    try:
        text, _ = read_log(path, size=_TAIL_BYTES)
    except (OSError, DamagedFileError):
        return None
    return telling(text, lines=_TAIL_LINES, characters=_TAIL_CHARACTERS) or None


def read_log(path: Path | str, *, size: int) -> tuple[str, int]:
    """Return the end of a log and how many bytes before it are left out.

    Colours are dropped, other control characters spelled out; a carriage return begins a line.

    Parameters
    ----------
    path : `~pathlib.Path` or `str`
        The log.
    size : `int`
        Bytes that are read at most.

    Raises
    ------
    FileNotFoundError
        Raised if there is none.
    DamagedFileError
        Raised if it is no regular file or cannot be read.
    """
    with os.fdopen(open_regular(path, limit=_ANY_SIZE), "rb") as stream:
        try:
            left_out = max(0, stream.seek(0, os.SEEK_END) - size)
            stream.seek(left_out)
            content = stream.read(size)
        except OSError as error:
            raise DamagedFileError(path, error.strerror or str(error)) from None
    text = _COLOUR.sub("", content.decode("utf-8", "replace")).replace("\r\n", "\n").replace("\r", "\n")
    return clean(text, limit=max(1, len(text))).rstrip("\n"), left_out
