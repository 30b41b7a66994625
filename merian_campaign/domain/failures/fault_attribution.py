"""Whose fault an error is: one group's, or that of the machine, the network and the database it met.

What the machine has run out of comes back when a person frees it. It is waited for, and no group is blamed.
"""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from merian_campaign.domain.errors import BusyError, CampaignError, SchemaVersionError, UnavailableError
from merian_campaign.domain.safe_text.text import one_line

__all__ = [
    "Broken",
    "advice",
    "advised",
    "alone",
    "failure_words",
    "is_of_the_machine",
    "no_room",
    "ran_out",
    "words_of",
]

_ADVICE: Final = {
    errno.ENOSPC: "free space, or inodes, on that file system (`df -h`, `df -i`)",
    errno.EDQUOT: "free space within your quota (`quota -s`)",
    errno.EFBIG: "raise the limit on the size of files (`ulimit -f`)",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENFILE: "this host has too many open files; end what is not needed",
    errno.EAGAIN: "this account has too many processes (`ulimit -u`); end what is not needed",
    errno.ENOMEM: "this host has too little memory; end what is not needed",
    errno.EROFS: "that file system is read-only; have it mounted for writing",
}

_OF_THE_MACHINE: Final = frozenset(_ADVICE) | {
    errno.EIO, errno.ESTALE, errno.ENOLCK, errno.EINTR, errno.ETIMEDOUT,
    errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.EREMOTEIO,
    errno.ESHUTDOWN, errno.ENOBUFS, errno.ETXTBSY,
}  # fmt: skip
"""Of an `OSError`: what the file system or the host cannot do now, whatever it was asked."""

_NO_ROOM = re.compile(
    r"no space left|disk ?full|could not extend file|disk quota exceeded|disk is full", re.IGNORECASE
)

_RAN_OUT = re.compile(
    rf"{_NO_ROOM.pattern}|file too large|too many open files"
    r"|cannot allocate memory|MemoryError|out of memory on this host|resource temporarily unavailable"
    r"|BlockingIOError|can't start new thread|(?:cannot|could not|can't) fork|input/output error"
    r"|disk i/o error|stale file handle|read-only file system|readonly database"
    r"|the tracking database at .{0,500} (?:does not answer|cannot do it now|has no connection left)",
    re.IGNORECASE,
)

_TOLD: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), number)
    for pattern, number in (
        ("quota exceeded", errno.EDQUOT),
        (_NO_ROOM.pattern, errno.ENOSPC),
        ("file too large", errno.EFBIG),
        ("too many open files", errno.EMFILE),
        ("cannot allocate memory|MemoryError|out of memory on this host", errno.ENOMEM),
        ("read-only file system|readonly database", errno.EROFS),
        ("resource temporarily unavailable|BlockingIOError|can't start new thread", errno.EAGAIN),
        ("(?:cannot|could not|can't) fork", errno.EAGAIN),
    )
)


def is_of_the_machine(error: BaseException) -> bool:
    """Say whether an error says nothing of the group at hand: the next one would meet it too."""
    if isinstance(error, OSError):
        return error.errno in _OF_THE_MACHINE
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return True
    return isinstance(error, UnavailableError | BusyError | SchemaVersionError | MemoryError)


def no_room(text: str) -> bool:
    """Say whether an error in words tells of a full disk, which takes a person longer than other trouble."""
    return _NO_ROOM.search(text) is not None


def ran_out(text: str) -> bool:
    """Say whether an error in words tells that the machine had run out of something, for now."""
    return _RAN_OUT.search(text) is not None


def advice(error: BaseException) -> str:
    """Return what a person may do about an error of the machine; empty when there is nothing special."""
    if isinstance(error, MemoryError):
        return _ADVICE[errno.ENOMEM]
    return _ADVICE.get(error.errno or 0, "") if isinstance(error, OSError) else ""


def advised(text: str) -> str:
    """Return an error that a program told in words, with what to free if it had run out of something."""
    number = next((number for pattern, number in _TOLD if pattern.search(text)), None)
    return text if number is None or _ADVICE[number] in text else f"{text}; {_ADVICE[number]}"


def words_of(error: BaseException) -> str:
    """Return an error on one line: what it is about, what went wrong, what to do."""
    if isinstance(error, OSError) and error.strerror:
        file = error.filename if isinstance(error.filename, str) else ""
        said = f"{file}: {error.strerror}" if file else error.strerror
    elif isinstance(error, MemoryError):
        said = "out of memory"
    else:
        said = str(error) or type(error).__name__
    what_to_do = advice(error)
    return one_line(
        f"{said}; {what_to_do}, then the same command goes on" if what_to_do else said, limit=1000
    )


def failure_words(error: BaseException) -> str:
    """Return why one group cannot be gone on with: words of ours, else the error and where it came up."""
    if isinstance(error, CampaignError):
        return one_line(str(error), limit=1000)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return one_line(f"{type(error).__name__}: {words_of(error)}{where}", limit=1000)


@dataclass(frozen=True, kw_only=True)
class Broken:
    """What came of something that concerns one group: it cannot be gone on with, for this reason."""

    reason: str


def alone[T](do: Callable[[], T]) -> T | Broken:
    """Do what concerns one group, so that whatever goes wrong in it hurts no other.

    Raises
    ------
    Exception
        Raised only for what is no fault of the group; see `is_of_the_machine`.
    """
    try:
        return do()
    except Exception as error:
        if is_of_the_machine(error):
            raise
        return Broken(reason=failure_words(error))
