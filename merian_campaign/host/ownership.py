"""Who may have written a file or folder: what this user's work rests on must be nobody else's to change.

Trusted are this user, root, and the members of groups that are named as trusted. A group may write
where it is the user's private one. POSIX access lists show in the group's bits, so they count.
"""

from __future__ import annotations

import functools
import grp
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from merian_campaign.domain.errors import CampaignError
from merian_campaign.domain.safe_text.text import one_line

__all__ = [
    "UntrustedError",
    "doubt",
    "doubt_private",
    "private_folder",
    "require",
    "require_above",
    "require_submission",
    "user_name",
]

_ROOT_FOLDERS = 4
"""Folders of ours above a submission's: group, step, campaign, and the work directory."""


class UntrustedError(CampaignError):
    """A file or folder that somebody else owns or may write; the message says who, and what to do.

    Parameters
    ----------
    path : `~pathlib.Path` or `str`
        The file or folder.
    found : `str`
        What was found, with what to do.
    """

    exit_code = 77

    def __init__(self, path: Path | str, found: str) -> None:
        super().__init__(f"{one_line(str(path), limit=4000)}: {found}")
        self.path = str(path)
        self.found = found


def user_name(uid: int) -> str:
    """Return a user's name, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def doubt(path: Path | str, *, trusted: Iterable[str] = ()) -> str:
    """Say why a file or folder cannot be relied on, with what to do.

    Parameters
    ----------
    path : `~pathlib.Path` or `str`
        What is looked at: a link itself, then what it points to.
    trusted : iterable of `str`
        Names of groups whose members are trusted.

    Returns
    -------
    words : `str`
        Empty when nobody else can have written it, or when it is not there.
    """
    groups = frozenset(trusted)
    try:
        found = os.lstat(path)
        words = _doubt(found, trusted=groups)
        if words or not stat.S_ISLNK(found.st_mode):
            return words
        return _doubt(Path(path).stat(), trusted=groups)
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _doubt(found: os.stat_result, *, trusted: frozenset[str]) -> str:
    owner, group = found.st_uid, found.st_gid
    if owner not in {0, os.geteuid()} and not any(_is_member(owner, name) for name in trusted):
        return (
            f"belongs to {user_name(owner)}, who could have written anything there; remove it, or, if "
            "members of a group may write for each other, name the group in the site file (trusted_groups:)"
        )
    if stat.S_ISLNK(found.st_mode):  # its mode means nothing
        return ""
    if found.st_mode & stat.S_IWOTH and not (found.st_mode & stat.S_ISVTX and stat.S_ISDIR(found.st_mode)):
        return "everybody may write it; look at what is there, then `chmod o-w` it"
    if found.st_mode & stat.S_IWGRP and group != 0 and not _is_private(group):
        name = _group_name(group)
        if name not in trusted:
            return (
                f"the group {name} may write it; `chmod g-w` it (umask 022 keeps new ones closed), or name "
                "the group in the site file (trusted_groups:) if all its members may run commands as you"
            )
    return ""


def require(*paths: Path | str, trusted: Iterable[str] = ()) -> None:
    """Refuse what somebody else owns or may write.

    Raises
    ------
    UntrustedError
        Raised with the first of them, its owner or who may write it, and what to do.
    """
    groups = frozenset(trusted)
    for path in paths:
        words = doubt(path, trusted=groups)
        if words:
            raise UntrustedError(path, words)


def require_above(path: Path) -> None:
    """Refuse a place of which everybody may rename what is above it.

    Raises
    ------
    UntrustedError
        Raised with a folder above it that everybody may write and that has no sticky bit.
    """
    for folder in path.parents:
        try:
            mode = folder.stat().st_mode
        except OSError:
            continue
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise UntrustedError(
                folder,
                f"everybody may write it, and so put another folder in the place of {path}; `chmod o-w` it, "
                "or choose another place",
            )


def require_submission(directory: str, *names: str, trusted: Iterable[str] = ()) -> None:
    """Refuse a submission whose folder, or what lies in it, others own or may write.

    Looked at are the folder, those of ours above it up to the work directory, and what is named.

    Parameters
    ----------
    directory : `str`
        The submission's directory.
    *names : `str`
        Files in it, absolute; the folders between are looked at as well. Without any, everything at the top
        and in ``bps``.
    trusted : iterable of `str`
        Names of groups whose members are trusted.

    Raises
    ------
    UntrustedError
        Raised with the first that is found, its owner or who may write it, and what to do.
    """
    place = Path(directory)
    folders = [*reversed(place.parents[:_ROOT_FOLDERS]), place]
    require(*folders, trusted=trusted)
    require_above(folders[0])
    if names:
        require(*_with_folders(place, names), trusted=trusted)
    else:
        require(*_entries(place), *_entries(place / "bps"), trusted=trusted)


def _with_folders(place: Path, names: Iterable[str]) -> Iterator[Path]:
    for path in map(Path, names):
        yield from (folder for folder in reversed(path.parents) if place in folder.parents)
        yield path


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def private_folder(path: Path, *, owner: int | None = None, group: int = -1) -> None:
    """Make a folder that one user alone can enter, or check that it is one.

    Parameters
    ----------
    path : `~pathlib.Path`
        The folder; the one it lies in must exist.
    owner, group : `int`, optional
        Whose it is; this user's without them.

    Raises
    ------
    UntrustedError
        Raised if it exists and is somebody else's, a link, or open to others: under ``/tmp`` anybody could
        have made it.
    """
    wanted = os.geteuid() if owner is None else owner
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        words = doubt_private(path, owner=wanted)
        if words:
            raise UntrustedError(path, words) from None
        return
    path.chmod(0o700)  # a umask may have taken more
    if owner is not None:
        os.chown(path, owner, group)


def doubt_private(path: Path, *, owner: int) -> str:
    """Say why a folder is not one that its owner alone can enter; empty when it is or is not there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return ""
    if not stat.S_ISDIR(found.st_mode):
        return "must be a private folder, and is none; remove it"
    if found.st_uid != owner:
        return f"must be a private folder of {user_name(owner)}, and belongs to {user_name(found.st_uid)}"
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        return (
            f"must be a private folder, and has mode {mode:04o}; look at what is there, then `chmod 700` it"
        )
    return ""


@functools.cache
def _is_member(uid: int, group: str) -> bool:
    try:
        entry = pwd.getpwuid(uid)
        return grp.getgrnam(group).gr_gid in os.getgrouplist(entry.pw_name, entry.pw_gid)
    except (KeyError, OSError):
        return False


@functools.cache
def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


@functools.cache
def _is_private(gid: int) -> bool:
    """Say whether a group is this user's own: of the same name, or without anybody else."""
    try:
        me, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    if gid != me.pw_gid or set(group.gr_mem) - {me.pw_name}:
        return False
    return group.gr_name == me.pw_name or all(
        entry.pw_uid == me.pw_uid for entry in pwd.getpwall() if entry.pw_gid == gid
    )
