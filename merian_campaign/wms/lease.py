"""The lease: how workers on any host know that their driver lives, wants them to stop, or is gone.

The driver rewrites ``{submitPath}/driver.lease`` every couple of seconds.  A worker on the driver's host
looks at the process itself; elsewhere it watches the lease's counter with its own clock, so clocks need
not agree.  Workers of a driver that was replaced by a later one stop at once.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.host.atomic_files import write_atomically
from merian_campaign.host.processes import sees_alive
from merian_campaign.host.regular_files import DamagedFileError, read_json_object

__all__ = ["LEASE_NAME", "DriverState", "Lease", "LeaseWatch", "read_lease", "write_lease"]

LEASE_NAME = "driver.lease"
"""Name of the lease in the submit directory."""


class DriverState(StrEnum):
    """What a worker believes about its driver."""

    RUNNING = "running"
    """Alive and content."""

    STOPPING = "stopping"
    """Wants every quantum ended now."""

    CLOSED = "closed"
    """Ended in good order."""

    REPLACED = "replaced"
    """Another driver runs the submission; nothing of the old one may go on."""

    LOST = "lost"
    """Killed, or its host is gone: start nothing more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """Content of the lease file; ``counter`` grows with every renewal."""

    host: str
    pid: int
    pid_start: int
    counter: int
    state: str

    @property
    def driver(self) -> ProcessIdentity:
        """The driver that holds the lease."""
        return ProcessIdentity(host=self.host, pid=self.pid, pid_start=self.pid_start)


def write_lease(path: Path, lease: Lease) -> None:
    """Replace the lease in one step, so that no reader sees half of it.

    Raises
    ------
    OSError
        The folder is gone or full.
    """
    write_atomically(path, json.dumps(asdict(lease)), durable=False)


def read_lease(path: Path) -> Lease | None:
    """Return the lease, or None when there is none that can be read."""
    with suppress(OSError, DamagedFileError, TypeError):
        found = read_json_object(path)
        return None if found is None else Lease(**found)
    return None


class LeaseWatch:
    """One worker's view of one driver.

    Parameters
    ----------
    path : `pathlib.Path`
        The lease file.
    driver : `ProcessIdentity`
        The driver this worker belongs to.
    here : `str`
        Name of this host.
    patience : `float`
        Seconds without a renewal after which a driver on another host counts as lost.
    """

    def __init__(self, *, path: Path, driver: ProcessIdentity, here: str, patience: float) -> None:
        self._path = path
        self._driver = driver
        self._local = driver.host == here
        self._patience = patience
        self._counter: int | None = None
        self._renewed: float | None = None

    def look(self, now: float) -> DriverState:
        """Return the state of the driver.

        Parameters
        ----------
        now : `float`
            A monotonic clock, seconds.
        """
        lease = read_lease(self._path)
        if lease is not None and lease.driver != self._driver:
            return DriverState.REPLACED
        if lease is not None and lease.state in (DriverState.STOPPING, DriverState.CLOSED):
            return DriverState(lease.state)
        if self._local:
            living = sees_alive(self._driver.pid, self._driver.pid_start)
            if living is not None:
                return DriverState.RUNNING if living else DriverState.LOST
        if self._renewed is None or (lease is not None and lease.counter != self._counter):
            self._counter = lease.counter if lease is not None else None
            self._renewed = now
        return DriverState.RUNNING if now - self._renewed <= self._patience else DriverState.LOST
