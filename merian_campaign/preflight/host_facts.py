"""Looks at this machine and its file systems before a campaign begins: room, rights, quotas, passwords."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.preflight.facts import FolderFacts, HostFacts
from merian_campaign.files.bounded_yaml import read_data
from merian_campaign.middleware.actions.repository import check_credentials
from merian_campaign.middleware.actions.runner import ActionError
from merian_campaign.wms.node import node

_GB = 1e9
_QUOTA_SECONDS = 3.0
_NEARLY = 0.95
_NUMBERS = 8
_LEFT_BEHIND = ("started", "bps", "outcome.json")


def host_facts(
    *, repository: str, folders: Iterable[str], directories: Iterable[str], environ: Mapping[str, str]
) -> HostFacts:
    """Return what is known of this machine.

    Parameters
    ----------
    repository : `str`
        Butler repository.
    folders : iterable of `str`
        Folders to be written to.
    directories : iterable of `str`
        Directories of submissions to come.
    environ : `~collections.abc.Mapping`
        Environment.
    """
    return HostFacts(
        cores=len(os.sched_getaffinity(0)),
        memory_mb=int(node.memory_mb(environ)),
        folders=tuple(_folder(folder, environ) for folder in dict.fromkeys(folders)),
        credentials=_credentials(repository, environ),
        remains=frozenset(directory for directory in directories if _was_used(Path(directory))),
    )


def _was_used(directory: Path) -> bool:
    return directory.is_dir() and any((directory / name).exists() for name in _LEFT_BEHIND)


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _folder(folder: str, environ: Mapping[str, str]) -> FolderFacts:
    there = _existing(Path(folder))
    status = os.statvfs(there)
    return FolderFacts(
        folder=folder,
        free_gb=status.f_bavail * status.f_frsize / _GB,
        free_files=status.f_favail if status.f_files else None,
        unwritable=_unwritable(there),
        quota=_quota(there, environ),
    )


def _unwritable(folder: Path) -> str:
    """Return what cannot be written to: the folder, or the database of a repository in it."""
    for path in (folder, folder / "gen3.sqlite3"):
        if path.exists() and not os.access(path, os.W_OK | (os.X_OK if path.is_dir() else 0)):
            return str(path)
    return ""


def _credentials(repository: str, environ: Mapping[str, str]) -> str:
    """Return what is wrong with the file of passwords of a repository on PostgreSQL."""
    file = Path(repository) if repository.endswith(".yaml") else Path(repository) / "butler.yaml"
    try:
        content = read_data(file)
    except BadInputError:
        return ""  # that is the butler's to say
    registry = content.get("registry") if isinstance(content, dict) else None
    url = str(registry.get("db", "")) if isinstance(registry, dict) else ""
    if not url.startswith("postgresql"):
        return ""
    try:
        check_credentials(environ)
    except ActionError as error:
        return str(error)
    return ""


def _quota(folder: Path, environ: Mapping[str, str]) -> str:
    """Return what the quota system complains about, if there is one and it answers soon."""
    if _file_system(folder) == "lustre":
        text = _output(["lfs", "quota", "-q", "-u", str(os.getuid()), str(folder)], environ)
        return read_lustre_quota(text)
    return " ".join(_output(["quota", "-w", "-q"], environ).split("\n")[:4]).strip()


def _file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on."""
    best, kind = "", ""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    where = str(folder.resolve())
    for line in lines:
        words = line.split(" ")
        mount = words[1].rstrip("/")
        if len(mount) >= len(best) and (where == mount or where.startswith(f"{mount}/")):
            best, kind = mount, words[2]
    return kind


def _output(command: list[str], environ: Mapping[str, str]) -> str:
    program = shutil.which(command[0], path=environ.get("PATH"))
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_QUOTA_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def read_lustre_quota(text: str) -> str:
    """Return what is nearly used up of what ``lfs quota -q`` prints: kilobytes and files, limits, grace."""
    words = text.split()
    if len(words) < _NUMBERS:
        return ""
    found = []
    for name, used, limits in (("kB", words[1], words[2:4]), ("files", words[5], words[6:8])):
        number = _number(used)
        limit = min((value for word in limits if (value := _number(word))), default=0)
        if limit and number >= _NEARLY * limit:
            found.append(f"{number} of {limit} {name}")
    return ", ".join(found)


def _number(word: str) -> int:
    digits = word.rstrip("*").strip("[]")
    return int(digits) if digits.isdigit() else 0
