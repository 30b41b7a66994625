"""Parsl's Slurm provider with the defects mended that make blocks look finished when they are not.

As shipped, a block that ``sacct`` does not know yet, or that has ended while another is active, is called
completed for good; a node lost from a job that goes on makes every later poll fail.
"""

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from parsl.jobs.states import JobState, JobStatus
from parsl.providers import SlurmProvider

__all__ = ["BLOCKS_NAME", "CampaignSlurmProvider", "block_ids"]

BLOCKS_NAME = "blocks.jsonl"
"""File in the submit directory with one line a Slurm job, so that a later driver can cancel it."""

_GRACE = 120.0  # seconds in which the accounting may not know a new job yet


class CampaignSlurmProvider(SlurmProvider):  # type: ignore[misc]
    """The provider.

    Parameters
    ----------
    record
        File that gets the id of every Slurm job; None for no record.
    poll_seconds
        How often blocks are looked at.
    **kwargs
        As `parsl.providers.SlurmProvider`.
    """

    def __init__(self, *, record: Path | None, poll_seconds: float, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self._record = record
        self._poll_seconds = poll_seconds
        self._submitted: dict[str, float] = {}

    @property
    def status_polling_interval(self) -> float:
        """Seconds between two looks at the blocks."""
        return self._poll_seconds

    def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.slurm") -> str:
        """Submit a block and write its id down."""
        job_id = str(super().submit(command, tasks_per_node, job_name))
        self._submitted[job_id] = time.monotonic()
        if self._record is not None:
            with suppress(OSError), self._record.open("a") as stream:
                stream.write(json.dumps({"slurm_job": job_id}) + "\n")
        return job_id

    def _status(self) -> None:
        active = [job_id for job_id, job in self.resources.items() if not job["status"].terminal]
        for start in range(0, len(active), self.status_batch_size):
            batch = active[start : start + self.status_batch_size]
            code, out, _ = self.execute_wait(self._cmd.format(",".join(batch)))
            if code != 0:
                return  # Slurm does not answer now; believe nothing new
            self._believe(batch, dict(_states(out)))

    def _believe(self, batch: Iterable[str], states: dict[str, str]) -> None:
        for job_id in batch:
            state = states.get(job_id)
            if state is not None:
                self._set(job_id, self._translate_table.get(state, JobState.UNKNOWN))
            elif time.monotonic() - self._submitted.get(job_id, 0.0) > _GRACE:
                self._set(job_id, JobState.MISSING)

    def _set(self, job_id: str, state: JobState) -> None:
        job = self.resources[job_id]
        job["status"] = JobStatus(
            state, stdout_path=job["job_stdout_path"], stderr_path=job["job_stderr_path"]
        )


def _states(text: str) -> Iterable[tuple[str, str]]:
    """Yield (job id, state) of each line; the last line of a job counts."""
    for line in text.splitlines():
        job_id, *state = line.split()[:2]
        if state:
            yield job_id, state[0]


def block_ids(submit: Path) -> list[str]:
    """Return the Slurm jobs a submission has ever had."""
    found: list[str] = []
    with suppress(OSError):
        for line in (submit / BLOCKS_NAME).read_text().splitlines():
            with suppress(ValueError, KeyError, TypeError):
                found.append(str(json.loads(line)["slurm_job"]))
    return found
