"""A Slurm block that ends under a supervisor: the signal that says so, and deaths that foretell it.

Slurm ends a block by SIGTERM to every process in it, in no particular order.  A job that dies of a signal may
thus be the first sign of that and no fault of the job; it is held in doubt for a moment.
"""

import os
import selectors
import signal
import time
from collections.abc import Mapping
from contextlib import suppress

from merian_campaign.domain.execution.journal import JobVerdict
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.wms.node.memory_guard import LimitExceeded
from merian_campaign.wms.node.node import SlurmPlace

__all__ = ["DOUBT_SECONDS", "BlockShutdown", "drain_moment"]

DOUBT_SECONDS = 1.5
"""How long a death by signal waits for the block's own end before it is the job's."""

_FOREIGN = frozenset({signal.SIGTERM, signal.SIGKILL})


class BlockShutdown:
    """Whether the block of this supervisor is being ended.

    Parameters
    ----------
    place : `SlurmPlace`
        Slurm's names for where we are; outside Slurm nothing here ever happens.
    selector : `selectors.BaseSelector`
        The supervisor's; a signal wakes it.
    ours : `bool`
        Whether that is a block of the submission; the driver itself may be a Slurm job, too.
    """

    def __init__(self, *, place: SlurmPlace, selector: selectors.BaseSelector, ours: bool) -> None:
        self._job = place.job if ours else None
        self.asked = False
        if self._job is None:
            return
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        selector.register(self._read, selectors.EVENT_READ, self._woken)
        signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, number: int, frame: object) -> None:
        del number, frame
        self.asked = True
        with suppress(OSError):
            os.write(self._write, b"x")

    def _woken(self) -> None:
        with suppress(OSError):
            os.read(self._read, 100)

    def foretold_by(self, ended: Mapping[str, object]) -> bool:
        """Return whether a job's end may be the first sign of the block's."""
        status = ended["status"]
        if self._job is None or not isinstance(status, int):
            return False
        if os.WIFSIGNALED(status):
            return os.WTERMSIG(status) in _FOREIGN
        return os.WEXITSTATUS(status) - 128 in _FOREIGN

    def finding(self) -> LimitExceeded:
        """Return what is to be said of a job that ends with the block."""
        evidence: dict[str, object] = {"block": "ended by Slurm (SIGTERM)", "slurm_job": self._job}
        return LimitExceeded(verdict=JobVerdict.NODE_LOST, evidence=evidence)


def drain_moment(owner: ProcessIdentity | None, *, after_s: float) -> float:
    """Return when a worker pool stops taking jobs, by `time.monotonic`; infinite when it never does.

    Parameters
    ----------
    owner : `ProcessIdentity` or `None`
        The pool.
    after_s : `float`
        Seconds after its start; 0 for never.
    """
    if owner is None or not after_s:
        return float("inf")
    started = owner.pid_start / os.sysconf("SC_CLK_TCK")
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    return time.monotonic() + after_s - age
