"""Slurm jobs as Parsl's blocks.

Where Parsl's own provider believes a job finished that Slurm does not know yet, or loses the id of one whose
``sbatch`` gave no answer, this one looks again: jobs are found by their name, and one question is asked for
all of them together.
"""

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parsl.jobs.states import JobState, JobStatus
from parsl.launchers.base import Launcher
from parsl.providers.cluster_provider import ClusterProvider

from merian_campaign.domain.slurm.blocks import BlockEvent, BlockLine
from merian_campaign.domain.slurm.sbatch import directive
from merian_campaign.domain.slurm.slurm_jobs import SlurmJob
from merian_campaign.domain.slurm.slurm_states import FORGOTTEN, JobEnd, Stage, meaning_of
from merian_campaign.host.atomic_files import write_atomically
from merian_campaign.wms.block_records import BlockRecords
from merian_campaign.wms.slurm_blocks import (
    RefusedBySlurmError,
    SlurmBusyError,
    UnreachableError,
    accounting,
    client,
    queue,
    submit_script,
)

__all__ = ["BlockRequest", "CampaignSlurmProvider", "Scaling", "parsl_state"]

_LOG = logging.getLogger("lsst.ctrl.bps.merian_campaign")
_GRACE = 120.0  # seconds in which the accounting may not know yet how a job ended
_AFTER_REFUSAL = 60.0  # seconds until a refused block is asked for again, if there are others
_LOOK_AGAIN = 5.0  # seconds a look at the queue answers questions about lost workers
_STAGES: Mapping[Stage, JobState] = {
    Stage.WAITING: JobState.PENDING,
    Stage.RUNNING: JobState.RUNNING,
    Stage.SUSPENDED: JobState.HELD,
    # Its processes are being ended; a successor may be asked for.
    Stage.ENDING: JobState.COMPLETED,
}
_FATES: Mapping[JobEnd, JobState] = {
    JobEnd.COMPLETED: JobState.COMPLETED,
    # Slurm does not hold it, and nobody told how it ended.
    JobEnd.UNKNOWN: JobState.COMPLETED,
    JobEnd.CANCELLED: JobState.CANCELLED,
    # None of these says anything against the next block.
    **dict.fromkeys((JobEnd.WALLTIME, JobEnd.PREEMPTED), JobState.TIMEOUT),
}


def parsl_state(state: str) -> JobState | None:
    """Return what Parsl calls a state of Slurm's; None of a word that says nothing: then ask again."""
    meaning = meaning_of(state)
    return _FATES.get(meaning.fate, JobState.FAILED) if meaning.over else _STAGES.get(meaning.stage)


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockRequest:
    """What one block asks of Slurm.

    Parameters
    ----------
    directives : `tuple` [`str`, ...]
        Lines for the batch script, ``#SBATCH`` included.
    prelude : `str`
        Bash text run before the workers.
    nodes, cores_per_node : `int`
        As Slurm has them.
    walltime : `str`
        As Slurm has it.
    """

    directives: tuple[str, ...]
    prelude: str
    nodes: int
    cores_per_node: int | None
    walltime: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """How many blocks there may be, and how often they are looked at (seconds)."""

    init_blocks: int
    min_blocks: int
    max_blocks: int
    parallelism: float
    poll_seconds: float


class CampaignSlurmProvider(ClusterProvider):  # type: ignore[misc]
    """The provider.

    Parameters
    ----------
    book : `BlockRecords`
        Record of the submission's Slurm jobs.
    request : `BlockRequest`
        What a block asks for.
    scaling : `Scaling`
        How many blocks.
    cmd_timeout : `int`
        Seconds Slurm's commands may take.
    launcher : `Launcher`
        Starts the workers on every node of a block.

    Attributes
    ----------
    refusal : `str`
        What ``sbatch`` said when it refused a block for good; empty so far.
    """

    def __init__(
        self,
        *,
        book: BlockRecords,
        request: BlockRequest,
        scaling: Scaling,
        cmd_timeout: int,
        launcher: Launcher,
    ) -> None:
        super().__init__(
            "slurm",
            request.nodes,
            scaling.init_blocks,
            scaling.min_blocks,
            scaling.max_blocks,
            scaling.parallelism,
            request.walltime,
            launcher,
            cmd_timeout=cmd_timeout,
        )
        self.cores_per_node = request.cores_per_node
        self.refusal = ""
        self._request = request
        self._poll_seconds = scaling.poll_seconds
        self._book = book
        self._lock = threading.RLock()
        self._submitted: dict[str, float] = {}
        self._released: set[str] = set()
        self._seen: dict[str, SlurmJob] = {}
        self._looked = 0.0
        self._silent = False
        self._in_doubt = False
        self._not_before = 0.0

    @property
    def status_polling_interval(self) -> float:
        """Seconds between two looks at the blocks."""
        return self._poll_seconds

    # Submitting ---------------------------------------------------------------------------------------

    def submit(self, command: str, tasks_per_node: int, job_name: str = "block") -> str:
        """Submit a block; the intention is on record before, the id after.

        Raises
        ------
        RefusedBySlurmError
            Slurm will not have it.
        BusyError, UnreachableError
            Not now; no job came of it, or one that is found and cancelled before the next is submitted.
        OSError
            The record or the script cannot be written.
        """
        with self._lock:
            if time.monotonic() < self._not_before:
                raise SlurmBusyError("waiting before the next sbatch")
            self.refusal = ""
            self._settle_doubt()
            script = self._write(command, tasks_per_node, job_name)
            self._note(BlockEvent.SUBMITTING, comment=self._book.comment)
            self._in_doubt = True
            job = self._ask(script)
            self._note(BlockEvent.SUBMITTED, slurm_job=job)
            self._in_doubt = False
            self._submitted[job] = time.monotonic()
            paths = {"job_stdout_path": f"{script}.out", "job_stderr_path": f"{script}.out"}
            self.resources[job] = {"job_id": job, **paths}
            self._set(job, JobState.PENDING)
            return job

    def _ask(self, script: Path) -> str:
        try:
            return submit_script(script, timeout=self.cmd_timeout)
        except RefusedBySlurmError as error:
            self.refusal = str(error)
            self._in_doubt = False
            # Blocks that run may finish the work; then it is worth another try.
            self._not_before = time.monotonic() + max(self._poll_seconds, _AFTER_REFUSAL)
            self._note(BlockEvent.REFUSED, text=str(error))
            _LOG.error("Slurm refuses the block: %s", error)
            raise
        except SlurmBusyError as error:
            self._in_doubt = False
            self._defer(error)
            raise
        except UnreachableError as error:
            return self._find_lost(error)

    def _find_lost(self, error: UnreachableError) -> str:
        """Return the job that came of an ``sbatch`` without an answer; raise when there is none."""
        with suppress(UnreachableError):
            seen = queue(self._book.name, timeout=self.cmd_timeout)
            found = [job.job_id for job in seen.values() if not job.over]
            unknown = [job for job in found if job not in self.resources]
            if unknown:
                return unknown[-1]
            self._in_doubt = False
            self._defer(error)
            raise error
        self._wait_before_next(error)
        raise error

    def _settle_doubt(self) -> None:
        """Cancel what may have come of an ``sbatch`` whose answer was lost, so that nothing runs twice."""
        if not self._in_doubt:
            return
        try:
            seen = queue(self._book.name, timeout=self.cmd_timeout)
            unknown = [j.job_id for j in seen.values() if not j.over and j.job_id not in self.resources]
            if unknown:
                client(timeout=self.cmd_timeout).cancel(ids=unknown)
        except UnreachableError as error:
            self._wait_before_next(error)
            raise
        self._in_doubt = False

    def _defer(self, error: Exception) -> None:
        self._note(BlockEvent.DEFERRED, text=str(error))
        self._wait_before_next(error)

    def _wait_before_next(self, error: Exception) -> None:
        self._not_before = time.monotonic() + self._poll_seconds
        self._say_silent(error)

    def _write(self, command: str, tasks_per_node: int, job_name: str) -> Path:
        """Write the batch script of a block; return its path."""
        script = Path(self.script_dir).absolute() / f"{job_name}.{time.time():.3f}"
        asked = self._request
        directives = [
            directive("job-name", self._book.name),
            directive("comment", self._book.comment),
            directive("output", f"{script}.out"),
            directive("open-mode", "append"),
            directive("nodes", asked.nodes),
            directive("ntasks-per-node", tasks_per_node),
            directive("time", asked.walltime),
            *asked.directives,
        ]
        body = self.launcher(command, tasks_per_node, asked.nodes, str(self.script_dir))
        write_atomically(script, "\n".join(["#!/bin/bash", *directives, "", asked.prelude, "", body, ""]))
        return script

    # Looking ------------------------------------------------------------------------------------------

    def states(self, *, fresh: bool) -> dict[str, str]:
        """Return Slurm's word for each block, by job id.

        Parameters
        ----------
        fresh : `bool`
            Look now, unless that was done a moment ago.
        """
        with self._lock:
            if fresh and time.monotonic() - self._looked > _LOOK_AGAIN:
                self._status()
            return {job: seen.state for job, seen in self._seen.items()}

    def output(self, job: str) -> Path | None:
        """Return the file with what a block's script, its workers and Slurm wrote; None for no such block."""
        known = self.resources.get(job)
        return Path(known["job_stdout_path"]) if known is not None else None

    def _status(self) -> None:
        with self._lock:
            self._looked = time.monotonic()
            try:
                seen = queue(self._book.name, timeout=self.cmd_timeout)
            except UnreachableError as error:
                self._say_silent(error)
                return  # believe nothing new
            if self._silent:
                self._silent = False
                _LOG.info("Slurm answers again")
            ended = [j for j in self.resources if j not in seen and not self._known_end(j)]
            if ended:
                known = accounting(ended, name=self._book.name, timeout=self.cmd_timeout)
                seen |= {job: found for job, found in known.items() if found.over}
            for job in self.resources:
                self._believe(job, seen.get(job))

    def _known_end(self, job: str) -> bool:
        return job in self._seen and self._seen[job].over

    def _believe(self, job: str, seen: SlurmJob | None) -> None:
        if seen is None and not self._known_end(job):
            # Slurm answers and does not hold it: it has ended; how, the accounting may say a little later.
            self._set(job, JobState.COMPLETED)
            if time.monotonic() - self._submitted[job] < _GRACE:
                return
            seen = SlurmJob(job_id=job, name=self._book.name, state=FORGOTTEN)
        seen = seen or self._seen[job]
        before = self._seen.get(job)
        if before is None or (seen.state, seen.reason) != (before.state, before.reason):
            self._note(BlockEvent.STATE, slurm_job=job, state=seen.state, reason=seen.reason)
        self._seen[job] = seen
        self._set(job, parsl_state(seen.state) or self.resources[job]["status"].state)

    def _set(self, job: str, state: JobState) -> None:
        # Always a new object: Parsl writes its own conclusions into the one it was given.
        known = self.resources[job]
        if job in self._released:
            state = JobState.CANCELLED
        known["status"] = JobStatus(
            state, stdout_path=known["job_stdout_path"], stderr_path=known["job_stderr_path"]
        )

    def _say_silent(self, error: Exception) -> None:
        if not self._silent:
            _LOG.warning("Slurm takes no part at present: %s", error)
        self._silent = True

    # Ending -------------------------------------------------------------------------------------------

    def cancel(self, job_ids: list[str]) -> list[bool]:
        """Cancel blocks; return for each whether Slurm took note."""
        if not job_ids:
            return []
        with self._lock:
            try:
                client(timeout=self.cmd_timeout).cancel(ids=job_ids)
            except UnreachableError as error:
                self._say_silent(error)
                return [False] * len(job_ids)
            self._released.update(job_ids)
            for job in job_ids:
                self._set(job, JobState.CANCELLED)
            return [True] * len(job_ids)

    def _note(self, event: BlockEvent, **values: Any) -> None:  # noqa: ANN401 - fields of a line
        self._book.write(BlockLine(event=event, name=self._book.name, **values))
