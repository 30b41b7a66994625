"""When blocks in trouble end a run: when Slurm refuses them for good, or none of them ever works.

A block that was lost, preempted, cancelled or cut off says nothing against the next one: its jobs are run
again elsewhere, and their own budget of lost workers bounds that.
"""

from collections.abc import Mapping
from concurrent.futures import InvalidStateError
from contextlib import suppress
from pathlib import Path
from typing import Any

from parsl.executors.errors import BadStateException
from parsl.jobs.states import JobState, JobStatus

from merian_campaign.domain.safe_text.text import clean
from merian_campaign.host.regular_files import read_tail
from merian_campaign.wms.upstream import prune_failed_blocks, put_out_of_use

__all__ = ["BlocksFailedError", "SubmissionRefusedError", "blocks_in_trouble", "fail_all"]

_LIVE = (JobState.PENDING, JobState.RUNNING, JobState.HELD, JobState.UNKNOWN)
_TAIL = 1500


class SubmissionRefusedError(RuntimeError):
    """Slurm refuses every block of this submission; the message is ``sbatch``'s own."""


class BlocksFailedError(RuntimeError):
    """Several blocks in a row ended before a worker of them reached the driver."""


def blocks_in_trouble(executor: Any, status: Mapping[str, JobStatus], *, threshold: int) -> None:  # noqa: ANN401
    """End an executor whose blocks cannot work; Parsl calls this after every look at them.

    Parameters
    ----------
    executor : `parsl.executors.HighThroughputExecutor`
        Parsl's executor, with our provider.
    status : `~collections.abc.Mapping`
        By block.
    threshold : `int`
        So many blocks in a row that never reached the driver are a reason to give up.
    """
    prune_failed_blocks(executor, JobState.FAILED)
    if executor.bad_state_is_set:
        fail_all(executor, executor.executor_exception)  # jobs that were handed over meanwhile
        return
    if any(block.state in _LIVE for block in status.values()):
        return
    if executor.provider.refusal:
        fail_all(executor, SubmissionRefusedError(executor.provider.refusal))
        return
    real = sorted((b for b in executor.blocks_to_job_id if b in status), key=int)
    last = [block for block in real if status[block].state != JobState.SCALED_IN][-threshold:]
    if len(last) == threshold and all(status[block].state == JobState.MISSING for block in last):
        job = executor.blocks_to_job_id[last[-1]]
        words = executor.provider.states(fresh=False).get(job, "ended")
        output = Path(executor.provider.resources[job]["job_stdout_path"])
        fail_all(
            executor,
            BlocksFailedError(
                f"{threshold} blocks in a row ended before a worker reached the driver; the last, Slurm job "
                f"{job} ({words}), wrote to {output}: {_tail(output)}"
            ),
        )


def fail_all(executor: Any, error: Exception) -> None:  # noqa: ANN401 - Parsl's executor
    """Put an executor out of use: every job it has or is given fails with this error.

    Parsl's own way of doing it logs a traceback, and stops half way when a job ends meanwhile.
    """
    if not executor.bad_state_is_set:
        put_out_of_use(executor, error)
    for future in list(executor.tasks.values()):
        with suppress(InvalidStateError):
            future.set_exception(BadStateException(executor, error))


def _tail(path: Path) -> str:
    return clean(read_tail(path, size=_TAIL)).strip() or "nothing"
