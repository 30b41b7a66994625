"""Which operating-system account the embedded server runs under.

PostgreSQL refuses to run as root (containers often do), so root hands the server to an account of its
own; everybody else runs it as themselves.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypedDict

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.host.ownership import require, user_name

ACCOUNT = "pgserver"

COPIES: Final = Path("/var/lib/merian-campaign")
"""Where root keeps copies of PostgreSQL for the account, where it cannot get at the installed one."""


class ServerAccount(TypedDict, total=False):
    """Arguments for `subprocess.run` that change the account."""

    user: int
    group: int
    extra_groups: list[int]


def run_as() -> ServerAccount:
    """Return arguments for `subprocess.run`; empty unless this process is root's."""
    if os.geteuid() != 0:
        return {}
    entry = _entry()
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def owner() -> tuple[int | None, int]:
    """Return user and group of the server's account; `None` for this process's own."""
    if os.geteuid() != 0:
        return None, -1
    entry = _entry()
    return entry.pw_uid, entry.pw_gid


def clients() -> tuple[str, ...]:
    """Return the accounts that may connect: this process's, and root, which can become any."""
    return tuple(dict.fromkeys((user_name(os.geteuid()), "root")))


@contextmanager
def reachable(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name a folder so that the server's account reaches it, whatever the folders above it allow.

    Their modes are nobody's to change, and a private one above is what keeps others out. An open descriptor
    leads past them.

    Yields
    ------
    name : `str`
        The folder.
    descriptors : `tuple` [`int`, ...]
        To be passed on to the program that is given the name.
    """
    if os.geteuid() != 0:
        yield str(folder), ()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


def programs(installed: Path) -> Path:
    """Return where the server's account finds PostgreSQL: as installed, or a copy if it cannot get there.

    Raises
    ------
    OSError
        Raised if a copy is needed and cannot be made.
    """
    if os.geteuid() != 0 or _open_to_all(installed):
        return installed
    made = installed.stat()
    place = COPIES / f"{installed.name}-{made.st_dev:x}-{made.st_ino:x}-{made.st_mtime_ns:x}"
    if place.is_dir():
        require(COPIES, place)
        return place
    COPIES.mkdir(mode=0o755, parents=True, exist_ok=True)
    require(COPIES)
    half_made = Path(tempfile.mkdtemp(dir=COPIES, prefix=".making-"))
    try:
        shutil.copytree(installed, half_made, symlinks=True, dirs_exist_ok=True)
        for path in (half_made, *half_made.rglob("*")):
            if not path.is_symlink():
                runs = path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o755 if runs else 0o644)
        half_made.rename(place)
    except OSError:
        if not place.is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(half_made, ignore_errors=True)
    return place


def _open_to_all(installed: Path) -> bool:
    """Say whether anybody can run what is installed in a folder."""
    program = installed / "bin" / "postgres"
    if not all(folder.stat().st_mode & stat.S_IXOTH for folder in program.parents):
        return False
    wanted = stat.S_IROTH | stat.S_IXOTH
    folders = (installed, installed / "bin", installed / "lib", installed / "share")
    return all(path.stat().st_mode & wanted == wanted for path in (program, *folders) if path.exists())


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
