"""Slurm as a driver needs it: errors that say what came of an ``sbatch``, an end to all of a submission."""

import os
import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from merian_campaign.domain.slurm.blocks import BlockEvent, BlockLine, block_ids, fold_blocks
from merian_campaign.domain.slurm.slurm_jobs import SlurmJob
from merian_campaign.host.slurm_client import SECONDS, SlurmClient, UnreachableError, outside_of_jobs
from merian_campaign.wms.block_records import BlockRecords

__all__ = [
    "RefusedBySlurmError",
    "SlurmBusyError",
    "UnreachableError",
    "accounting",
    "cancel_submission",
    "client",
    "queue",
    "submit_script",
]

_GONE_SECONDS = 60.0


class RefusedBySlurmError(RuntimeError):
    """Slurm will never take a job like this; the message is ``sbatch``'s own."""


class SlurmBusyError(RuntimeError):
    """Slurm takes no more jobs of this user or account at present; the message is ``sbatch``'s own."""


def client(*, timeout: float) -> SlurmClient:
    """Return Slurm as this process's blocks see it."""
    return SlurmClient(environ=outside_of_jobs(os.environ), seconds=timeout)


def submit_script(script: Path, *, timeout: float) -> str:
    """Submit a batch script; return the job's id.

    Raises
    ------
    RefusedBySlurmError, BusyError
        No job came of it.
    UnreachableError
        A job may have come of it or not.
    """
    answer = client(timeout=timeout).submit(str(script))
    if answer.refused:
        raise RefusedBySlurmError(answer.refused)
    if answer.deferred:
        raise SlurmBusyError(answer.deferred)
    if answer.unsure:
        raise UnreachableError(answer.unsure)
    return answer.job_id


def queue(name: str, *, timeout: float) -> dict[str, SlurmJob]:
    """Return this user's jobs of a name that Slurm holds in mind, by id: alive, or ended a short while ago.

    Raises
    ------
    UnreachableError
        Slurm does not answer.
    """
    return {job.job_id: job for job in client(timeout=timeout).queue(name=name)}


def accounting(ids: Collection[str], *, name: str, timeout: float) -> dict[str, SlurmJob]:
    """Return what the accounting knows of jobs; nothing where it is absent, late or purged.

    Parameters
    ----------
    ids : collection of `str`
        The jobs, asked for in one call.
    name : `str`
        Their name: an id may have been used again for another job.
    """
    try:
        found = client(timeout=timeout).accounting(ids=ids)
    except UnreachableError:
        return {}
    return {job.job_id: job for job in found if job.name == name}


def cancel_submission(submit: Path, *, wait: bool = True, timeout: float = SECONDS) -> None:
    """Cancel every Slurm job of a submission, recorded or not, and see that it is gone.

    Jobs are found by their name, which is written down before each is submitted; jobs in records of an
    earlier release by their id.  Without Slurm's commands on this host nothing is done.

    Parameters
    ----------
    submit : `pathlib.Path`
        The submit directory.
    wait : `bool`
        Wait until none of them is in the queue.

    Raises
    ------
    TimeoutError
        Some are still there after a minute.
    UnreachableError
        Slurm does not answer.
    """
    book = BlockRecords(submit)
    lines = book.read()
    names = {line.name for line in lines if line.name}
    ids = () if names else block_ids(lines)
    if not (names or ids) or shutil.which("scancel") is None:
        return
    client(timeout=timeout).cancel(names=names, ids=ids)
    deadline = time.monotonic() + _GONE_SECONDS
    while wait and (left := _living(names, ids, timeout=timeout)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Slurm jobs {', '.join(sorted(left))} were cancelled and are still there")
        time.sleep(0.2)
    for name in names:
        _note_ends(book, queue(name, timeout=timeout), name=name)


def _note_ends(book: BlockRecords, seen: Mapping[str, SlurmJob], *, name: str) -> None:
    """Record how jobs ended that nobody will look at again."""
    known = fold_blocks(book.read())
    for job_id, now in seen.items():
        if now.over and (job_id not in known or known[job_id].state != now.state):
            line = BlockLine(
                event=BlockEvent.STATE, name=name, slurm_job=job_id, state=now.state, reason=now.reason
            )
            book.write(line)


def _living(names: Iterable[str], ids: Collection[str], *, timeout: float) -> set[str]:
    """Return the jobs that are not surely over."""
    asked = client(timeout=timeout)
    found = {job.job_id for name in names for job in asked.queue(name=name) if not job.over}
    if ids:
        found |= {job.job_id for job in asked.queue(ids=ids) if not job.over}
    return found
