"""Which operating-system account the embedded server runs under.

PostgreSQL refuses to run as root (containers often do), so root hands the server to an account of its
own; everybody else runs it as themselves.
"""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from pathlib import Path
from typing import TypedDict

from merian_campaign.domain.errors import UnavailableError

ACCOUNT = "pgserver"


class RunAs(TypedDict, total=False):
    """Arguments for `subprocess.run` that change the account."""

    user: int
    group: int
    extra_groups: list[int]


def run_as() -> RunAs:
    """Return arguments for `subprocess.run`; empty unless this process is root's."""
    if os.geteuid() != 0:
        return {}
    entry = _entry()
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def hand_over(path: Path) -> None:
    """Give a directory to the server's account."""
    if os.geteuid() == 0:
        entry = _entry()
        os.chown(path, entry.pw_uid, entry.pw_gid)


def private_directory(path: Path) -> None:
    """Make a directory that only the server's account can enter, or check that it is one.

    Raises
    ------
    UnavailableError
        Raised if it exists and somebody else owns it: under ``/tmp`` anybody could have made it.
    """
    owner = _entry().pw_uid if os.geteuid() == 0 else os.geteuid()
    try:
        path.mkdir(mode=0o700)
        hand_over(path)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or stat.S_IMODE(found.st_mode) & 0o077:
            raise UnavailableError(
                f"{path} is needed for the socket of the embedded database, but is not a private "
                "directory of the account it runs under; remove it"
            ) from None


def open_way(*paths: Path) -> None:
    """Let the server's account reach paths, when it is not this process's own.

    Adds to the directories above them no more than the right to pass through.
    """
    if os.geteuid() != 0:
        return
    for path in paths:
        for parent in path.parents:
            _add(parent, stat.S_IXOTH)
    for path in paths:
        if (path / "bin" / "postgres").exists() and not _reachable(path / "bin" / "postgres"):
            # Installed under a strict umask.
            for folder, _, files in os.walk(path):
                _add(Path(folder), stat.S_IXOTH | stat.S_IROTH)
                for name in files:
                    mode = (Path(folder) / name).stat().st_mode
                    _add(Path(folder) / name, stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def _reachable(program: Path) -> bool:
    wanted = stat.S_IROTH | stat.S_IXOTH
    return all(path.stat().st_mode & wanted == wanted for path in (program, program.parent))


def _add(path: Path, bits: int) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & bits != bits:
        path.chmod(mode | bits)


def _entry() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        pass
    command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", ACCOUNT]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UnavailableError(
            f"PostgreSQL does not run as root, and the account {ACCOUNT!r} cannot be made ({error}): "
            "make it, run as another user, or name a server in MERIAN_CAMPAIGN_DATABASE_URL"
        ) from error
    return pwd.getpwnam(ACCOUNT)
