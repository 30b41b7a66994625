"""What a tick sees of Slurm: asked once, for all live submissions of a campaign and those just ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from merian_campaign.domain.execution.busy_blocks import BusyBlock
from merian_campaign.domain.failures.fault_attribution import Broken, alone
from merian_campaign.domain.record.records import JobRecord, JobRole, OpenJobs
from merian_campaign.domain.record.snapshot import Snapshot, SubmissionView
from merian_campaign.domain.resources import block_usage
from merian_campaign.domain.slurm.blocks import BlockEvent, BlockLine, fold_blocks
from merian_campaign.domain.slurm.sbatch import sbatch_words
from merian_campaign.domain.slurm.slurm_jobs import JobQuery, QueueSnapshot, SlurmJob, describe
from merian_campaign.domain.slurm.slurm_states import JobEnd
from merian_campaign.domain.tick import driver_jobs
from merian_campaign.services.ports import Drivers, Scheduler, Store

FORGOTTEN = timedelta(minutes=10)
"""After so long, a job that neither the queue nor the accounting knows is no longer waited for."""

_ANSWERS = {BlockEvent.SUBMITTED, BlockEvent.REFUSED, BlockEvent.DEFERRED}
_ENDED_BY_SLURM = {
    JobEnd.OUT_OF_MEMORY,
    JobEnd.WALLTIME,
    JobEnd.NODE_LOST,
    JobEnd.PREEMPTED,
    JobEnd.CANCELLED,
}
_WOULD_STAY = {"PENDING", "RUNNING", "SUSPENDED", "REQUEUED"}


@dataclass(frozen=True, kw_only=True)
class SlurmView:
    """What was seen.

    Parameters
    ----------
    sight : `QueueSnapshot` or `None`
        The scheduler's answer; `None` when there was nothing to ask.
    lines : `~collections.abc.Mapping`
        What the submissions wrote down of their blocks, by submission id.
    pending : `tuple` [`OpenJobs`, ...]
        Jobs of finished submissions that had not ended when last seen.
    damaged : `~collections.abc.Mapping`
        By submission id, why what it wrote down cannot be read.
    ended : `frozenset` [`int`]
        Submissions, by id, whose drivers had ended before anything else was looked at: of those alone, all
        that was seen is their last word.
    """

    sight: QueueSnapshot | None = None
    lines: Mapping[int, tuple[BlockLine, ...]] = field(default_factory=dict)
    pending: tuple[OpenJobs, ...] = ()
    damaged: Mapping[int, str] = field(default_factory=dict)
    ended: frozenset[int] = frozenset()

    @property
    def unreachable(self) -> str:
        """Why the scheduler did not answer; empty when it did, or was not asked."""
        return "" if self.sight is None else self.sight.unreachable

    def jobs(self, submission: SubmissionView) -> tuple[tuple[SlurmJob, str], ...]:
        """Return a submission's jobs with their roles, as the scheduler showed them."""
        if self.sight is None:
            return ()
        names = _block_names(self.lines.get(submission.id, ()))
        return driver_jobs.of_submission(
            self.sight.jobs, submission=submission, blocks=names, now=self.sight.at
        )

    def blocks(self, submission: SubmissionView) -> Mapping[str, SlurmJob]:
        """Return a submission's blocks by job id: from the scheduler, else as its driver last saw them."""
        found = {
            job_id: SlurmJob(
                job_id=job_id, name=block.name, state=block.state, submitted=block.submitted,
                started=block.running, ended=block.seen if block.state else None,
            )
            for job_id, block in fold_blocks(self.lines.get(submission.id, ())).items()
        }  # fmt: skip
        shown = {job.job_id: job for job, role in self.jobs(submission) if role == "block"}
        return {**found, **shown}

    def others(self, live: Iterable[SubmissionView]) -> int | None:
        """Return how many jobs of this user in the queue are of none of these; `None` if nobody looked."""
        if self.sight is None or self.sight.unreachable:
            return None
        own = {job.job_id for submission in live for job, _ in self.jobs(submission)}
        return sum(not job.over and job.job_id not in own for job in self.sight.jobs)

    def deferred(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Return in words which submissions Slurm took no block of when last asked, and why."""
        found = [
            (group, deferred_words(self.lines.get(group.live.id, ())))
            for group in snapshot.groups
            if group.live is not None
        ]
        return tuple(
            f"{group.step}/{group.key}: Slurm takes no block for now: {words}"
            for group, words in found
            if words
        )

    def driver_trouble(self, submission: SubmissionView) -> str:
        """Return in words how its driver's job was ended, if Slurm ended it; else nothing."""
        ended = [
            job for job, role in self.jobs(submission) if role == "driver" and job.fate in _ENDED_BY_SLURM
        ]
        return describe(max(ended, key=lambda job: int(job.job_id))) if ended else ""

    def records(
        self,
        submission: SubmissionView,
        *,
        busy: Mapping[str, BusyBlock],
        now: datetime,
        final: bool = False,
    ) -> tuple[JobRecord, ...]:
        """Return what is to be put on record of a submission's jobs, of which blocks worked as ``busy`` says.

        With ``final`` also of blocks that Slurm says nothing of (yet), as their driver saw them last.
        """
        shown = self.jobs(submission)
        if final:
            told = {job.job_id for job, _ in shown}
            unsure = tuple(job for job in self.blocks(submission).values() if job.job_id not in told)
            return self._records(shown, busy, now) + tuple(
                JobRecord(job=job, role=JobRole.BLOCK, sure=False) for job in unsure
            )
        return self._records(shown, busy, now)

    @staticmethod
    def _records(
        shown: tuple[tuple[SlurmJob, str], ...], busy: Mapping[str, BusyBlock], now: datetime
    ) -> tuple[JobRecord, ...]:
        return tuple(
            JobRecord(
                job=job,
                role=role,
                busy_seconds=block_usage.busy_seconds(job, busy.get(job.job_id), now=now)
                if role == "block"
                else None,
            )
            for job, role in shown
        )


def _block_names(lines: Iterable[BlockLine]) -> frozenset[str]:
    return frozenset(line.name for line in lines if line.name)


def refused_words(lines: Iterable[BlockLine]) -> str:
    """Return ``sbatch``'s words if Slurm's last answer to a submission was that it takes no block of it."""
    last = ""
    for line in lines:
        if line.event == BlockEvent.REFUSED:
            last = sbatch_words(line.text)
        elif line.event in {BlockEvent.SUBMITTED, BlockEvent.STATE}:
            last = ""
    return last


def deferred_words(lines: Iterable[BlockLine]) -> str:
    """Return ``sbatch``'s words if it took no block of a submission when last asked, but may later."""
    asked = [line for line in lines if line.event in _ANSWERS]
    return sbatch_words(asked[-1].text) if asked and asked[-1].event == BlockEvent.DEFERRED else ""


def view_slurm(
    snapshot: Snapshot,
    *,
    store: Store,
    drivers: Drivers,
    scheduler: Scheduler,
    fresh_seconds: float,
    on_slurm: bool,
    count: bool = False,
) -> SlurmView:
    """Ask the scheduler about everything of a campaign that may be alive.

    Nothing is asked when nothing of it ever was a Slurm job, unless the jobs of others count.

    Parameters
    ----------
    snapshot : `Snapshot`
        The campaign.
    store, drivers, scheduler
        To look at.
    fresh_seconds : `float`
        An earlier answer that is not older will do, unless a driver has just ended.
    on_slurm : `bool`
        Whether its site is on Slurm now.
    count : `bool`
        Whether it matters how many jobs of the user the queue holds, whatever they belong to.
    """
    live = [group.live for group in snapshot.groups if group.live is not None]
    # First of all; what cannot be read counts as ended: then it is looked at afresh.
    over = {entry.id for entry in live if alone(partial(drivers.outcome, entry.directory)) is not None}
    lines, damaged = _read_lines(live, drivers)
    relevant = [entry for entry in live if entry.driver_job or lines[entry.id]]
    ended = frozenset(entry.id for entry in relevant if entry.id in over)
    was_there = on_slurm or any(entry.driver_job for group in snapshot.groups for entry in group.submissions)
    finished = {entry.id for group in snapshot.groups for entry in group.submissions} - {
        entry.id for entry in live
    }
    pending: tuple[OpenJobs, ...] = ()
    if was_there:
        found = store.open_jobs(snapshot.campaign.name)
        pending = tuple(entry for entry in found if entry.submission_id in finished)
    if not relevant and not pending and not count:
        return SlurmView(lines=lines, damaged=damaged)
    watch = _watch(relevant, lines=lines, pending=pending, ended=ended)
    sight = scheduler.look(watch, fresh_seconds=0.0 if ended else fresh_seconds)
    return SlurmView(sight=sight, lines=lines, pending=pending, damaged=damaged, ended=ended)


def _read_lines(
    live: Iterable[SubmissionView], drivers: Drivers
) -> tuple[dict[int, tuple[BlockLine, ...]], dict[int, str]]:
    """Return what submissions wrote down of their blocks, and why that of some cannot be read."""
    lines: dict[int, tuple[BlockLine, ...]] = {}
    damaged: dict[int, str] = {}
    for submission in live:
        found = alone(partial(drivers.block_lines, submission.directory))
        if isinstance(found, Broken):
            damaged[submission.id] = found.reason
        lines[submission.id] = () if isinstance(found, Broken) else found
    return lines, damaged


def look_at(live: Sequence[SubmissionView], *, drivers: Drivers, scheduler: Scheduler) -> SlurmView:
    """Ask the scheduler about some submissions; nothing is asked when none of them has anything there."""
    lines, damaged = _read_lines(live, drivers)
    relevant = [entry for entry in live if entry.driver_job or lines[entry.id]]
    if not relevant:
        return SlurmView(lines=lines, damaged=damaged)
    sight = scheduler.look(_watch(relevant, lines=lines, pending=()))
    return SlurmView(sight=sight, lines=lines, damaged=damaged)


def _watch(
    live: Iterable[SubmissionView],
    *,
    lines: Mapping[int, tuple[BlockLine, ...]],
    pending: Iterable[OpenJobs],
    ended: frozenset[int] = frozenset(),
) -> JobQuery:
    """Return what to look for: what should be alive, and every block of what has just ended."""
    names: set[str] = set()
    jobs: dict[str, str] = {}
    moments: list[datetime] = []
    for submission in live:
        names |= {submission.driver_job} - {""}
        moments.append(submission.created_at)
        for job_id, block in fold_blocks(lines[submission.id]).items():
            job = SlurmJob(job_id=job_id, name=block.name, state=block.state or "PENDING")
            if block.name and (not job.over or submission.id in ended):
                jobs[job_id] = block.name
    for entry in pending:
        for record in entry.jobs:
            jobs[record.job.job_id] = record.job.name
            moments += [record.job.submitted] if record.job.submitted is not None else []
    return JobQuery(names=frozenset(names), jobs=jobs, since=min(moments, default=None))


@dataclass(frozen=True, kw_only=True)
class QueueLeftovers:
    """What is left in Slurm of submissions that are over.

    Parameters
    ----------
    alive : `int`
        Jobs that have not ended.
    leaked : `tuple` [`str`, ...]
        Those that must be cancelled.
    trouble : `tuple` [`str`, ...]
        What could not be put on record, in words.
    """

    alive: int = 0
    leaked: tuple[str, ...] = ()
    trouble: tuple[str, ...] = ()


def settle(slurm_view: SlurmView, *, store: Store, now: datetime) -> QueueLeftovers:
    """Put on record what became of jobs whose submission is over."""
    sight = slurm_view.sight
    if sight is None or sight.unreachable:
        return QueueLeftovers()
    shown = {(job.job_id, job.name): job for job in sight.jobs}
    alive = 0
    leaked: list[str] = []
    trouble: list[str] = []
    for entry in slurm_view.pending:
        seen = []
        for record in entry.jobs:
            job = shown.get((record.job.job_id, record.job.name))
            since = record.job.started or record.job.submitted
            # A moment to come was written by a clock that was ahead: as good as none.
            if job is None and (since is None or abs(now - since) > FORGOTTEN):
                job = SlurmJob(job_id=record.job.job_id, name=record.job.name, state="")
            if job is None or not job.over:
                alive += 1
            if job is not None:
                seen.append(JobRecord(job=job, role=record.role))
                # Its driver cancels a block when the work is done; this one it has left behind.
                leaked += [job.job_id] if record.role == "block" and job.state in _WOULD_STAY else []
        put = partial(store.record_jobs, submission_id=entry.submission_id, jobs=seen, now=now)
        done = alone(put)
        if isinstance(done, Broken):
            trouble.append(f"{entry.directory}: its Slurm jobs cannot be put on record: {done.reason}")
    return QueueLeftovers(alive=alive, leaked=tuple(leaked), trouble=tuple(trouble))
