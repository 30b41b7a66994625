"""Reading files that anybody may have written: regular files only, of bounded size, without ever waiting.

A FIFO, a device or a folder under a file's name is refused before it is read; so is what is too
large to be ours.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Final

from merian_campaign.domain.errors import CampaignError
from merian_campaign.domain.safe_text import json_values
from merian_campaign.domain.safe_text.text import one_line

__all__ = [
    "LARGE",
    "MEDIUM",
    "SMALL",
    "DamagedFileError",
    "open_regular",
    "read_appended",
    "read_bytes",
    "read_json",
    "read_json_object",
    "read_lines",
    "read_tail",
    "read_text",
]

SMALL: Final = 1 << 20
"""Bytes of a file that says one thing: an outcome, a lease, a mark."""

MEDIUM: Final = 64 << 20
"""Bytes of a file that a person wrote or that lists things: a campaign, versions, a manifest."""

_AT_ONCE: Final = 4 << 20

LARGE: Final = 4 << 30
"""Bytes of a file with a line for each quantum of a submission."""


class DamagedFileError(CampaignError):
    """A file that is there and is not what it should be; the message names it and says what was found.

    Parameters
    ----------
    path : `~pathlib.Path` or `str`
        The file.
    found : `str`
        What was found, in words.
    """

    exit_code = 65

    def __init__(self, path: Path | str, found: str) -> None:
        super().__init__(f"{one_line(str(path), limit=4000)}: {one_line(found)}")
        self.path = str(path)
        self.found = found


def open_regular(path: Path | str, *, limit: int, follow: bool = True) -> int:
    """Open a regular file for reading; return its descriptor.

    Parameters
    ----------
    path : `~pathlib.Path` or `str`
        The file.
    limit : `int`
        Bytes that it may have.
    follow : `bool`, optional
        Whether the last part of the path may be a symbolic link.

    Raises
    ------
    FileNotFoundError
        Raised if there is none.
    DamagedFileError
        Raised if it is no regular file, cannot be opened, or is too large.
    OSError
        Raised for what the file system or the host cannot do now: no descriptors, an input/output error.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if _is_of_the_machine(error):
            raise
        raise DamagedFileError(path, getattr(error, "strerror", None) or str(error)) from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise DamagedFileError(path, f"expected a regular file, found {_kind(found.st_mode)}")
        if found.st_size > limit:
            raise DamagedFileError(path, f"{found.st_size} bytes, more than the {limit} that it may have")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_bytes(path: Path | str, *, limit: int = SMALL, follow: bool = True) -> bytes:
    """Return a regular file's content; errors as of `open_regular`."""
    with os.fdopen(open_regular(path, limit=limit, follow=follow), "rb") as stream:
        try:
            content = stream.read(limit + 1)
        except OSError as error:
            if _is_of_the_machine(error):
                error.filename = error.filename or str(path)
                raise
            raise DamagedFileError(path, error.strerror or str(error)) from None
    if len(content) > limit:
        raise DamagedFileError(path, f"grew beyond the {limit} bytes that it may have")
    return content


def read_text(path: Path | str, *, limit: int = SMALL, follow: bool = True, errors: str = "strict") -> str:
    """Return a regular file's text, UTF-8; errors as of `open_regular`, also when it is not UTF-8."""
    try:
        return read_bytes(path, limit=limit, follow=follow).decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise DamagedFileError(path, f"not UTF-8 at byte {error.start}") from None


def read_lines(path: Path | str, *, limit: int = LARGE, follow: bool = True) -> list[str]:
    """Return the lines of a file that programs append to, broken bytes replaced; none when there is no file.

    The last one is what stands after the last newline, as of `str.split`.

    Raises
    ------
    DamagedFileError
        Raised as by `open_regular`, and if a line has more than `MEDIUM` bytes: what is read stays in bounds
        whatever size a hole gives the file.
    """
    try:
        descriptor = open_regular(path, limit=limit, follow=follow)
    except FileNotFoundError:
        return []
    lines: list[str] = []
    with os.fdopen(descriptor, "rb") as stream:
        try:
            while line := stream.readline(MEDIUM + 1):
                if len(line) > MEDIUM:
                    raise DamagedFileError(path, f"line {len(lines) + 1} has more than {MEDIUM} bytes")
                lines.append(line.decode("utf-8", "replace"))
        except OSError as error:
            if _is_of_the_machine(error):
                error.filename = error.filename or str(path)
                raise
            raise DamagedFileError(path, error.strerror or str(error)) from None
    ended = not lines or lines[-1].endswith("\n")
    return [*(line.removesuffix("\n") for line in lines), *([""] if ended else [])]


def read_appended(path: Path | str, *, start: int, follow: bool = True) -> tuple[bytes, int]:
    """Return whole lines that programs have appended to a file after a byte, and where they end.

    Some megabytes of them: what is left is for the next time. Nothing, and 0, when there is no file.

    Parameters
    ----------
    path : `~pathlib.Path` or `str`
        The file.
    start : `int`
        Where the last reading ended, behind a line; of a file that is shorter, or has no line that ends
        there, all counts as appended: it is another one.
    follow : `bool`, optional
        As of `open_regular`.

    Raises
    ------
    DamagedFileError
        Raised as by `open_regular`, and if a line has more than `MEDIUM` bytes.
    """
    try:
        descriptor = open_regular(path, limit=LARGE, follow=follow)
    except FileNotFoundError:
        return b"", 0
    with os.fdopen(descriptor, "rb") as stream:
        begin = start if start <= os.fstat(stream.fileno()).st_size else 0
        try:
            stream.seek(max(0, begin - 1))
            if begin and stream.read(1) != b"\n":
                begin = 0
                stream.seek(0)
            found = stream.read(_AT_ONCE)
            if b"\n" not in found:
                found += stream.read(MEDIUM - len(found))
        except OSError as error:
            if _is_of_the_machine(error):
                error.filename = error.filename or str(path)
                raise
            raise DamagedFileError(path, error.strerror or str(error)) from None
    whole = found[: found.rfind(b"\n") + 1]
    if not whole and len(found) == MEDIUM:
        raise DamagedFileError(path, f"a line after byte {begin} has more than {MEDIUM} bytes")
    return whole, begin + len(whole)


def read_json(path: Path | str, *, limit: int = SMALL, follow: bool = True) -> object:
    """Return what a JSON file holds, cleaned as by `~merian_campaign.domain.safe_text.json_values.loads`.

    `None` when there is no file.

    Raises
    ------
    DamagedFileError
        Raised as by `open_regular`, and if it holds no JSON that can be taken.
    """
    try:
        return json_values.loads(read_bytes(path, limit=limit, follow=follow))
    except FileNotFoundError:
        return None
    except json_values.WrongValueError as error:
        raise DamagedFileError(path, str(error)) from None


def read_json_object(path: Path | str, *, limit: int = SMALL, follow: bool = True) -> dict[str, Any] | None:
    """Return the object that a JSON file holds; `None` when there is no file.

    Raises
    ------
    DamagedFileError
        Raised as by `read_json`, and if it holds something else.
    """
    found = read_json(path, limit=limit, follow=follow)
    if found is None and not Path(path).exists():
        return None
    if not isinstance(found, dict):
        raise DamagedFileError(path, f"expected a JSON object, found {type(found).__name__}")
    return found


def read_tail(path: Path | str, *, size: int = 65536) -> str:
    """Return the end of a log, at most ``size`` bytes; empty when there is none or it is no regular file."""
    try:
        descriptor = open_regular(path, limit=1 << 62)
    except (OSError, DamagedFileError):
        return ""
    with os.fdopen(descriptor, "rb") as stream:
        try:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - size))
            return stream.read(size).decode("utf-8", "replace")
        except OSError:
            return ""


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFLNK: "a link",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def _is_of_the_machine(error: BaseException) -> bool:
    from merian_campaign.domain.failures.fault_attribution import (  # noqa: PLC0415 - each command starts with this
        is_of_the_machine,
    )

    return is_of_the_machine(error)
