"""Memory control groups: a leaf a job where this user may make one, with the job's limit set in the kernel.

Leaves are made below our own group (version 1), or below the nearest group above it that passes memory
control on (version 2), so that no limit that holds for us is escaped.  A leaf's name tells whose it is: the
pid namespace, pid and start time of its supervisor, and the job's number.  Standard library only.
"""

import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.host.atomic_files import appending
from merian_campaign.host.processes import alive
from merian_campaign.host.regular_files import DamagedFileError

__all__ = ["CgroupPath", "ControlGroups", "JobCgroup", "join", "locate", "sweep"]

_MIB = 1024 * 1024
_NAME = "merian-campaign-{namespace}-{pid}-{start}-{number}"
_PATTERN = re.compile(r"merian-campaign-(\d+)-(\d+)-(\d+)-\d+")
_PROBE_MB = 1024.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CgroupPath:
    """A group below which leaves can be made, and the version of its hierarchy."""

    path: Path
    version: int


def locate(memberships: str, mounts: str) -> CgroupPath:
    """Return where leaves would have to be made.

    Parameters
    ----------
    memberships : `str`
        Text of ``/proc/self/cgroup``.
    mounts : `str`
        Text of ``/proc/self/mountinfo``.

    Raises
    ------
    OSError
        There is no such place; the message says why.
    """
    own: dict[str, str] = {}
    for line in memberships.splitlines():
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)
    version = 1 if "memory" in own else 2
    path = own.get("memory" if version == 1 else "", "")
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        root, mount = left.split()[3:5]
        kind, _, options = right.split(" ", 2)
        fits = kind == "cgroup2" if version == 2 else kind == "cgroup" and "memory" in options.split(",")  # noqa: PLR2004
        inside = path == root or path.startswith(root.rstrip("/") + "/")
        if fits and inside and ".." not in path.split("/"):
            top = Path(mount)
            here = top / os.path.relpath(path, root)
            return _below_own(here) if version == 1 else _below_delegated(here, top)
    raise OSError("no memory control group is mounted here")


def _below_own(here: Path) -> CgroupPath:
    if _text(here / "memory.use_hierarchy") == "0":
        raise OSError(f"{here} does not pass its limits on")
    return CgroupPath(path=here, version=1)


def _below_delegated(here: Path, top: Path) -> CgroupPath:
    """Go up to the nearest group that passes memory control on, but never out of a limit."""
    while "memory" not in _text(here / "cgroup.subtree_control").split():
        if here == top:
            raise OSError("no group above us passes memory control on")
        if any(_text(here / f"memory.{name}") not in ("", "max") for name in ("max", "high")):
            raise OSError(f"{here} has a limit of its own")
        here = here.parent
    return CgroupPath(path=here, version=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobCgroup:
    """The group of one job."""

    path: Path
    version: int

    def limit(self, memory_mb: float) -> None:
        """Set the limit, without swap; raises OSError when that cannot be done."""
        size = str(int(memory_mb * _MIB))
        if self.version == 1:
            (self.path / "memory.limit_in_bytes").write_text(size)
            rest = {"memory.memsw.limit_in_bytes": size}
        else:
            (self.path / "memory.max").write_text(size)
            rest = {"memory.oom.group": "1", "memory.swap.max": "0"}
        for name, value in rest.items():
            with suppress(OSError):  # a kernel without swap accounting or without group kills
                (self.path / name).write_text(value)

    def pids(self) -> set[int]:
        """Return its processes."""
        # A process of another pid namespace shows as 0, and that would mean ourselves.
        return {int(word) for word in _text(self.path / "cgroup.procs").split()} - {0}

    def kills(self) -> int | None:
        """Return how many of its processes the kernel has killed for memory, or None."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        found = re.search(r"^oom_kill (\d+)$", _text(self.path / name), re.MULTILINE)
        return int(found[1]) if found else None

    def peak_mb(self) -> float | None:
        """Return the most that was charged to it, MiB; None where the kernel does not tell."""
        name = "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"
        text = _text(self.path / name)
        return round(int(text) / _MIB, 1) if text else None

    def remove(self) -> bool:
        """Remove it; return False while it still has processes."""
        try:
            self.path.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


class ControlGroups:
    """The leaves of one supervisor.

    Parameters
    ----------
    place : `CgroupPath`
        Where to make them.
    owner : `ProcessIdentity`
        The supervisor.
    """

    def __init__(self, *, place: CgroupPath, owner: ProcessIdentity) -> None:
        self.place = place
        self._owner = owner
        self._retired: list[JobCgroup] = []

    @classmethod
    def detect(cls, *, owner: ProcessIdentity) -> Self:
        """Try out whether leaves can be made and used, and remove what dead supervisors left.

        Raises
        ------
        OSError
            They cannot; the message says why.
        """
        place = locate(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
        sweep([place.path])
        groups = cls(place=place, owner=owner)
        leaf = groups.make(0, memory_mb=_PROBE_MB)
        try:
            if leaf.kills() is None:
                raise OSError("the kernel does not count its memory kills")
            _try_joining(leaf)
        finally:
            groups.retire(leaf)
        return groups

    @classmethod
    def find(cls, *, owner: ProcessIdentity, wanted: bool, log: Path) -> Self | None:
        """Return where control groups can be made, or None; say in a log which guard there is."""
        groups: Self | None = None
        said = "memory is guarded by sampling only: control groups are turned off"
        if wanted:
            try:
                groups = cls.detect(owner=owner)
                said = f"memory is limited by control groups below {groups.place.path}"
            except (OSError, ValueError) as error:
                said = f"memory is guarded by sampling only: {error}"
        with suppress(OSError, DamagedFileError), appending(log) as stream:
            stream.write(f"{said}\n".encode())
        return groups

    def make(self, number: int, *, memory_mb: float) -> JobCgroup:
        """Make the leaf of a job; raises OSError when that cannot be done."""
        name = _NAME.format(
            namespace=_namespace(), pid=self._owner.pid, start=self._owner.pid_start, number=number
        )
        leaf = JobCgroup(path=self.place.path / name, version=self.place.version)
        leaf.path.mkdir()
        try:
            leaf.limit(memory_mb)
        except OSError:
            self.retire(leaf)
            raise
        return leaf

    def retire(self, leaf: JobCgroup) -> None:
        """Remove a leaf, now or once its last process is gone."""
        self._retired.append(leaf)
        self.tidy()

    def tidy(self) -> None:
        """Try again to remove what could not be removed before."""
        self._retired = [leaf for leaf in self._retired if not leaf.remove()]

    def close(self, *, seconds: float = 5.0) -> None:
        """Wait for the last processes to be gone, and remove every leaf."""
        deadline = time.monotonic() + seconds
        while self._retired and time.monotonic() < deadline:
            self.tidy()
            if self._retired:
                time.sleep(0.01)


def join(path: str) -> None:
    """Put the calling process into a leaf; raises OSError when that cannot be done."""
    descriptor = os.open(f"{path}/cgroup.procs", os.O_WRONLY)
    try:
        os.write(descriptor, b"0")
    finally:
        os.close(descriptor)


def sweep(places: Iterable[Path]) -> int:
    """Remove the leaves that killed supervisors of this host left; return how many still have processes."""
    namespace = _namespace()
    busy = 0
    for place in places:
        with suppress(OSError):
            for path in list(place.iterdir()):
                name = _PATTERN.fullmatch(path.name)
                if name is None or int(name[1]) != namespace or alive(int(name[2]), int(name[3])):
                    continue
                busy += not JobCgroup(path=path, version=0).remove()
    return busy


def _try_joining(leaf: JobCgroup) -> None:
    """Have a process join a leaf: making one does not mean that it may be entered."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            join(str(leaf.path))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise OSError(f"processes may not be moved below {leaf.path.parent}")


def _namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
