"""Files inside a folder of somebody else's: reached through no link, wherever they say that they lie.

Each part of a path is opened in the folder before it, so that nothing can be put in its place meanwhile.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from merian_campaign.host.regular_files import DamagedFileError

__all__ = ["folder_inside", "open_inside"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_inside(folder: Path, path: str) -> int:
    """Open a regular file in a folder for reading; return its descriptor.

    Parameters
    ----------
    folder : `~pathlib.Path`
        The folder; its own path may go through links.
    path : `str`
        Relative, with ``/``, without ``..``.

    Raises
    ------
    FileNotFoundError
        Raised if it is not there.
    DamagedFileError
        Raised if it is no regular file, a part of its path is a link, or it is a second name of a file that
        belongs to somebody else than the folder does.
    """
    *parts, name = path.split("/")
    if not name or {"", ".", ".."} & {*parts, name}:
        raise DamagedFileError(folder / path, "is no path inside the folder")
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        owner = os.fstat(place).st_uid
        for part in parts:
            place = _next(place, part, folder / path)
        return _regular(place, name, folder / path, owner=owner)
    finally:
        os.close(place)


def _next(place: int, part: str, path: Path) -> int:
    """Open a folder in a folder, which is closed."""
    try:
        found = os.open(part, _FOLDER, dir_fd=place)
    except FileNotFoundError:
        raise
    except (OSError, ValueError):
        raise DamagedFileError(path, f"{part} is no folder, or a link to one") from None
    os.close(place)
    return found


def _regular(place: int, name: str, path: Path, *, owner: int) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=place)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        found = "is a link" if _is_link(place, name) else str(getattr(error, "strerror", None) or error)
        raise DamagedFileError(path, found) from None
    seen = os.fstat(descriptor)
    words = ""
    if not stat.S_ISREG(seen.st_mode):
        words = "is no regular file"
    elif seen.st_nlink > 1 and seen.st_uid != owner:
        words = "is another name of a file that belongs to somebody else"
    if words:
        os.close(descriptor)
        raise DamagedFileError(path, words)
    return descriptor


def _is_link(place: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode)
    except (OSError, ValueError):
        return False


def folder_inside(folder: Path, path: str) -> Path:
    """Make the folder of a file inside another, through no link; return it.

    Raises
    ------
    DamagedFileError
        Raised if a part of it is a link, or something else than a folder.
    """
    place = folder
    for part in path.split("/")[:-1]:
        place /= part
        place.mkdir(exist_ok=True)
        if not stat.S_ISDIR(place.lstat().st_mode):
            raise DamagedFileError(place, "is a link, and must be a folder")
    return place
