"""The driver's side of a running submission: its lease, its marks, its journal's first and last lines.

One driver at a time per submit directory.  Taking over from one that was killed means ending what it left
behind first, so that no quantum runs twice.
"""

import os
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.host.processes import SUBMISSION_MARK, identity, sees_alive
from merian_campaign.wms.journal_writer import JOURNAL_NAME, Journal
from merian_campaign.wms.lease import LEASE_NAME, DriverState, Lease, read_lease, write_lease
from merian_campaign.wms.node.process_cleanup import DRIVER_MARK, driver_mark, reap, register
from merian_campaign.wms.slurm_blocks import UnreachableError, cancel_submission

__all__ = ["CANCEL_NAME", "Driver", "DriverRunningError"]

CANCEL_NAME = "cancel"
"""File in the submit directory that asks the driver, wherever it runs, to stop."""

_RENEW_SECONDS = 2.0


class DriverRunningError(RuntimeError):
    """Another driver of the same submission is alive."""


class Driver:
    """The calling process as the driver of a submission.

    Parameters
    ----------
    submit : `pathlib.Path`
        The submit directory.
    on_cancel : callable
        Called from a thread of its own when somebody asks for a stop through the submit directory.
    spare : collection of `int`
        Pids of this process's own helpers, which are no leftovers.
    """

    def __init__(self, *, submit: Path, on_cancel: Callable[[], None], spare: Collection[int] = ()) -> None:
        self.submit = submit
        self._spare = spare
        self.identity: ProcessIdentity = identity()
        self.journal = Journal(submit / JOURNAL_NAME)
        self._on_cancel = on_cancel
        self._counter = 0
        self._state = DriverState.RUNNING
        self._ended = threading.Event()
        self._write = threading.Lock()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def open(self) -> None:
        """Take the submission over: reap, mark, journal, renew the lease from now on.

        Raises
        ------
        DriverRunningError
            Its driver is alive, here or (by its lease) elsewhere and not known to be gone.
        TimeoutError
            Leftovers of an earlier driver would not go.
        """
        before = read_lease(self.submit / LEASE_NAME)
        if before is not None and self._may_live(before):
            raise DriverRunningError(f"driver {before.pid} on {before.host} runs {self.submit}")
        self._renew_once()  # the lease first: workers of an earlier driver see that they are replaced
        try:
            cancel_submission(self.submit)
        except UnreachableError as error:
            # Whatever is left there sees by the lease that its driver was replaced, and ends.
            sys.stderr.write(f"Slurm jobs of an earlier driver may be left: {error}\n")
        reap(self.submit, spare=self._spare)
        with suppress(FileNotFoundError):
            (self.submit / CANCEL_NAME).unlink()
        os.environ[DRIVER_MARK] = driver_mark(self.identity)
        os.environ.setdefault(SUBMISSION_MARK, str(self.submit))
        register(self.submit, role="driver", identity=self.identity)
        self._note(JournalEvent.OPENED)
        self._thread.start()

    def stopping(self) -> None:
        """Tell every worker to end its quantum now."""
        self._state = DriverState.STOPPING
        with suppress(OSError):
            self._renew_once()

    def note_stage(self, record: JournalRecord) -> None:
        """Write a line about a stage of the submission into the journal, as far as that can be done."""
        who = self.identity
        with suppress(OSError):
            self.journal.write(record._replace(host=who.host, pid=who.pid, pid_start=who.pid_start))

    def close(self, *, reason: str) -> None:
        """Close the journal and the lease; nothing of the submission may run any more.

        Parameters
        ----------
        reason : `str`
            Why it ended, for the journal's evidence.
        """
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._state = DriverState.CLOSED
        with suppress(OSError):
            self._renew_once()
        self._note(JournalEvent.CLOSED, evidence={"reason": reason})
        self.journal.close()
        os.environ.pop(DRIVER_MARK, None)

    def _may_live(self, lease: Lease) -> bool:
        if lease.state == DriverState.CLOSED or lease.driver == self.identity:
            return False
        lives = sees_alive(lease.pid, lease.pid_start) if lease.host == self.identity.host else None
        if lives is not None:
            return lives
        # Another host's driver, or hidden: it renews every two seconds, so a lease that stands still is dead.
        self._ended.wait(_RENEW_SECONDS * 4)
        return read_lease(self.submit / LEASE_NAME) != lease

    def _note(self, event: JournalEvent, *, evidence: dict[str, object] | None = None) -> None:
        record = JournalRecord(event=event, host=self.identity.host, pid=self.identity.pid)
        self.journal.write(record._replace(pid_start=self.identity.pid_start, evidence=evidence or {}))

    def _renew(self) -> None:
        while not self._ended.wait(_RENEW_SECONDS):
            # A full or absent disk for a moment must not end the lease for good.
            with suppress(OSError):
                self._renew_once()
            if (self.submit / CANCEL_NAME).exists():
                self._on_cancel()

    def _renew_once(self) -> None:
        with self._write:
            self._counter += 1
            who = self.identity
            lease = Lease(
                host=who.host, pid=who.pid, pid_start=who.pid_start, counter=self._counter, state=self._state
            )
            write_lease(self.submit / LEASE_NAME, lease)
