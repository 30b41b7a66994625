"""Drivers as Slurm jobs: their names, their scripts, and what the scheduler's answer says of them."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from merian_campaign.domain.clock_skew import holds, is_recent
from merian_campaign.domain.execution.liveness import Liveness
from merian_campaign.domain.record.snapshot import SubmissionView
from merian_campaign.domain.slurm.sbatch import directive
from merian_campaign.domain.slurm.slurm_jobs import QueueSnapshot, SlurmJob, belongs, comment_of, describe
from merian_campaign.domain.slurm.slurm_states import JobEnd
from merian_campaign.domain.spec.site import DriverOptions

OUTCOME_GRACE = timedelta(seconds=90)
"""How long after a driver's job ended well its outcome may take to be seen: network file systems show a new
file late, by default after up to a minute."""

_READABLE = 60
_CLOCKS_DIFFER = timedelta(seconds=60)
_ODD = re.compile(r"[^A-Za-z0-9_.-]")


def driver_job_name(*, readable: str, directory: str, epoch: int) -> str:
    """Return the name of a driver's Slurm job: readable, unique to its directory and epoch."""
    digest = hashlib.sha256(directory.encode()).hexdigest()[:10]
    return f"{_ODD.sub('_', readable)[:_READABLE]}-{digest}-driver{epoch}"


def driver_job_of(*, campaign: str, step: str, group: str, number: int, directory: str, epoch: int) -> str:
    """Return the name of the Slurm job of a submission's driver."""
    readable = f"{campaign}.{step}.{group}.{number}"
    return driver_job_name(readable=readable, directory=directory, epoch=epoch)


def script(
    *,
    name: str,
    directory: str,
    log: str,
    options: DriverOptions,
    command: Sequence[str],
) -> str:
    """Return the batch script of a driver's Slurm job.

    Parameters
    ----------
    name : `str`
        Of the job.
    directory : `str`
        The submission's directory; where it runs.
    log : `str`
        File that its output is added to.
    options : `DriverOptions`
        What it asks of Slurm.
    command : sequence of `str`
        What it runs.
    """
    asked = {
        "job-name": name,
        "comment": comment_of(directory),
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "time": options.time,
        "mem": None if options.mem_mb is None else f"{options.mem_mb}M",
        "cpus-per-task": options.cpus,
        "ntasks": 1,
        "nodes": 1,
        "output": log,
        "open-mode": "append",
        "chdir": directory,
        "export": "ALL",
        # Should two be submitted after all, they run one after the other, and the second finds nothing to do.
        "dependency": "singleton",
    }
    lines = [directive(key, value) for key, value in asked.items() if value is not None]
    lines += [line for line in options.scheduler_options.splitlines() if line.strip()]
    return "\n".join(
        [
            "#!/bin/bash",
            *lines,
            "#SBATCH --no-requeue",
            # What Slurm set for this job must not reach the jobs that it submits.
            "for name in $(compgen -e SLURM_) $(compgen -e SBATCH_); do",
            '    [ "$name" = SLURM_CONF ] || unset "$name"',
            "done",
            *options.prelude.splitlines(),
            f"exec {shlex.join(command)}",
            "",
        ]
    )


@dataclass(frozen=True, kw_only=True)
class DriverStatus:
    """What was seen of a submission's driver, and in words what that rests on."""

    liveness: Liveness
    words: str = ""


def of_submission(
    jobs: Iterable[SlurmJob], *, submission: SubmissionView, blocks: Iterable[str], now: datetime
) -> tuple[tuple[SlurmJob, str], ...]:
    """Return a submission's jobs among many, each with its role: ``driver`` or ``block``."""
    names = frozenset(blocks)
    own = frozenset({submission.driver_job} - {""})
    stem = submission.driver_job.rstrip("0123456789")
    found = []
    for job in jobs:
        if _is_of_now(job, submission, now=now) and belongs(
            job, directory=submission.directory, names=names | own
        ):
            is_driver = bool(stem) and job.name.rstrip("0123456789") == stem
            found.append((job, "driver" if is_driver else "block"))
    return tuple(found)


def _is_of_now(job: SlurmJob, submission: SubmissionView, *, now: datetime) -> bool:
    """Tell a submission's jobs from those of an earlier one that had the same directory, and so the names.

    One that was made at a moment to come, by a clock that was ahead, cannot be told: then the name counts.
    """
    created = submission.created_at - _CLOCKS_DIFFER
    return job.submitted is None or job.submitted >= created or created > now


def look(submission: SubmissionView, *, sight: QueueSnapshot, now: datetime) -> DriverStatus:
    """Say what is known of a submission whose driver is a Slurm job and has left no outcome.

    A scheduler that does not answer decides nothing; a job in the queue is alive however long it waits.
    """
    if sight.unreachable:
        return DriverStatus(liveness=Liveness.UNSEEN, words=f"Slurm does not answer: {sight.unreachable}")
    launched = submission.launched_at
    # A moment to come was written by a clock that was ahead: Slurm was asked since.
    if launched is not None and sight.at < launched <= now:
        return DriverStatus(liveness=Liveness.UNSEEN, words="started since Slurm was last asked")
    jobs = [
        job
        for job in sight.jobs
        if job.name == submission.driver_job and _is_of_now(job, submission, now=now)
    ]
    alive = [job for job in jobs if job.alive]
    unsure = [job for job in jobs if not job.alive and not job.over]
    claimed = submission.driver is not None and launched is None
    if alive:
        return DriverStatus(liveness=Liveness.ALIVE if claimed else Liveness.QUEUED, words=describe(alive[0]))
    if unsure:
        return DriverStatus(liveness=Liveness.UNSEEN, words=describe(unsure[0]))
    ended = sorted(jobs, key=lambda job: int(job.job_id))
    words = describe(ended[-1]) if ended else "Slurm does not know its job"
    return DriverStatus(liveness=_gone(submission, ended=ended, claimed=claimed, now=now), words=words)


def _gone(submission: SubmissionView, *, ended: Sequence[SlurmJob], claimed: bool, now: datetime) -> Liveness:
    """Judge a driver that has no living job; those of its name that are over are ``ended``, oldest first."""
    if not claimed:
        return Liveness.UNCLAIMED
    if not ended:
        # Purged from the queue, not in the accounting yet: its last sign of life still counts.
        return Liveness.ALIVE if holds(submission.lease_expires_at, now=now) else Liveness.DEAD
    last = ended[-1]
    # It ended well, so it has written its outcome: that is on its way to this host. Unless it was requeued:
    # then it only found that its first run had claimed the submission.
    well = last.fate is JobEnd.COMPLETED and not last.restarts
    recent = is_recent(last.ended, within=OUTCOME_GRACE, now=now)
    return Liveness.ALIVE if well and recent else Liveness.DEAD
