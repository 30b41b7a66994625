"""Slurm jobs as values: reading what ``squeue`` and ``sacct`` print, and saying how a job ended.

Commands are run elsewhere, with ``TZ=UTC`` and the formats given here. Readers are tolerant: a line that
cannot be read is left out, a word that is not known means nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from merian_campaign.domain.safe_text.text import clean
from merian_campaign.domain.slurm.slurm_states import JobEnd, Stage, meaning_of, state_word

SQUEUE_FORMAT = (
    "JobID:|,State:|,Reason:|,NodeList:|,SubmitTime:|,StartTime:|,EndTime:|,RestartCnt:|,Name:|,Comment:"
)
"""What is asked of ``squeue --Format``, not cut; names and comments come last, for they are free text."""

SACCT_FIELDS = "JobIDRaw,State,Reason,NodeList,Submit,Start,End,ExitCode,JobName,Comment"
"""What is asked of ``sacct --format --parsable2``."""

_LONGEST = 4096  # a path

COMMENT_PREFIX = "merian-campaign:"
"""Beginning of the comment of every Slurm job of a campaign; a directory follows."""


@dataclass(frozen=True, kw_only=True)
class SlurmJob:
    """One Slurm job as last seen.

    Parameters
    ----------
    job_id, name, comment : `str`
        As Slurm has them; the comment may be empty, not every cluster keeps it.
    state : `str`
        Slurm's own word, whole; empty when it is not known.
    reason : `str`
        Why it waits or failed, a word of Slurm's; empty for none.
    cancelled_by : `str`
        User id of whoever cancelled it, where the accounting says so.
    exit_code, signal : `int` or `None`
        Of its script.
    nodes : `str`
        Slurm's list of nodes, e.g. ``n[1-2]``.
    submitted, started, ended : `datetime.datetime` or `None`
        UTC.
    restarts : `int`
        How often it had been requeued.
    """

    job_id: str
    name: str
    state: str
    comment: str = ""
    reason: str = ""
    cancelled_by: str = ""
    exit_code: int | None = None
    signal: int | None = None
    nodes: str = ""
    submitted: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    restarts: int = 0

    @property
    def fate(self) -> JobEnd:
        """How it ended."""
        return meaning_of(self.state).fate

    @property
    def alive(self) -> bool:
        """Whether it surely is not over."""
        return self.fate is JobEnd.ALIVE

    @property
    def over(self) -> bool:
        """Whether it surely is over; what is neither alive nor over must be asked about again."""
        return meaning_of(self.state).over


@dataclass(frozen=True, kw_only=True)
class QueueSnapshot:
    """What the scheduler answered at one moment.

    Parameters
    ----------
    at : `datetime.datetime`
        When it was asked, UTC.
    jobs : `tuple` [`SlurmJob`, ...]
        This user's jobs that were asked for.
    unreachable : `str`
        Why there is no answer, in words; empty when there is one. Then nothing may be concluded from a
        job that is not in ``jobs``.
    """

    at: datetime
    jobs: tuple[SlurmJob, ...] = ()
    unreachable: str = ""


@dataclass(frozen=True, kw_only=True)
class JobQuery:
    """What is to be looked for.

    Parameters
    ----------
    names : `frozenset` [`str`]
        Names of jobs that should be there.
    jobs : `~collections.abc.Mapping`
        Names by id of jobs that were alive when last seen.
    since : `datetime.datetime` or `None`
        Before this, UTC, none of them was submitted.
    """

    names: frozenset[str] = frozenset()
    jobs: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:  # Unknown, None, N/A
        return None


def _word(text: str) -> str:
    return "" if text in {"(null)", "None", "None assigned", "N/A", "Unknown"} else text


def _job(fields: list[str], *, tail: str) -> SlurmJob:
    """Return a job from the fields that both commands share and from ``name|comment``."""
    job_id, state, reason, nodes, submitted, started, ended = fields
    word, by = state_word(state)
    meaning = meaning_of(word)
    name, _, comment = tail.partition("|")
    return SlurmJob(
        job_id=job_id,
        name=clean(name, limit=_LONGEST),
        comment=clean(_word(comment), limit=_LONGEST),
        state=word,
        reason=_word(reason),
        cancelled_by=by,
        nodes=_word(nodes),
        submitted=_time(submitted),
        # Of a job that waits or runs, squeue gives the times that are expected.
        started=None if meaning.stage is Stage.WAITING else _time(started),
        ended=_time(ended) if meaning.over else None,
    )


def parse_squeue(text: str) -> tuple[SlurmJob, ...]:
    """Read what ``squeue`` prints in `SQUEUE_FORMAT`."""
    found = []
    for line in text.splitlines():
        fields = line.split("|", 8)
        if len(fields) == 9 and fields[0].isdigit():  # noqa: PLR2004 - eight and the free text
            job = _job(fields[:7], tail=fields[8])
            found.append(replace(job, restarts=int(fields[7]) if fields[7].isdecimal() else 0))
    return latest(found)


def parse_sacct(text: str) -> tuple[SlurmJob, ...]:
    """Read what ``sacct --parsable2`` prints for `SACCT_FIELDS`, requeued jobs several times.

    A job one of whose steps was ended for its memory ended so itself, whatever its own line says.
    """
    found = []
    hungry: set[str] = set()
    for line in text.splitlines():
        fields = line.split("|", 8)
        if len(fields) != 9:  # noqa: PLR2004 - eight and the free text
            continue
        job_id, dot, _ = fields[0].partition(".")
        if dot:
            if state_word(fields[1])[0] == "OUT_OF_MEMORY":
                hungry.add(job_id)
        elif job_id.isdigit():
            code, _, number = fields[7].partition(":")
            job = _job(fields[:7], tail=fields[8])
            signal = int(number) if number.isdigit() and int(number) else None
            found.append(
                replace(job, exit_code=int(code) if code.isdigit() and job.over else None, signal=signal)
            )
    return tuple(_starved(job) if job.job_id in hungry else job for job in latest(found))


def _starved(job: SlurmJob) -> SlurmJob:
    return replace(job, state="OUT_OF_MEMORY") if job.fate is JobEnd.FAILED else job


def latest(jobs: Iterable[SlurmJob]) -> tuple[SlurmJob, ...]:
    """Return each job once: of a requeued one (same id, same name) the last run, with its restarts."""
    by_job: dict[tuple[str, str], list[SlurmJob]] = defaultdict(list)
    for job in jobs:
        by_job[job.job_id, job.name].append(job)
    zero = datetime.min.replace(tzinfo=UTC)
    chosen = []
    for same in by_job.values():
        # A resized job has a line for each size; the one that has not ended, or ended last, is the job.
        kept = [job for job in same if job.state != "RESIZING"] or same
        last = max(kept, key=lambda job: (not job.over, job.submitted or zero, job.started or zero))
        chosen.append(replace(last, restarts=max(last.restarts, len(kept) - 1)))
    return tuple(chosen)


def merge(queue: Iterable[SlurmJob], accounting: Iterable[SlurmJob]) -> tuple[SlurmJob, ...]:
    """Join what the queue and the accounting say of the same jobs.

    The queue knows at once what is alive and how often it was requeued; the accounting lags, may hold on to
    jobs that are long gone, and knows best how a job ended.
    """
    merged = {(job.job_id, job.name): job for job in queue}
    for job in accounting:
        key = (job.job_id, job.name)
        queued = merged.get(key)
        said_by_queue = queued is not None and queued.fate is not JobEnd.UNSURE
        if not said_by_queue or queued is None or (queued.over and job.over):
            restarts = max(job.restarts, queued.restarts if queued else 0)
            comment = job.comment or (queued.comment if queued else "")
            merged[key] = replace(job, restarts=restarts, comment=comment)
        else:
            merged[key] = replace(queued, restarts=max(queued.restarts, job.restarts))
    return tuple(merged.values())


def comment_of(directory: str) -> str:
    """Return the comment of the Slurm jobs of a submission, drivers and blocks."""
    return COMMENT_PREFIX + directory


def belongs(job: SlurmJob, *, directory: str, names: Iterable[str]) -> bool:
    """Say whether a job is of a submission: by its name, or by the directory in its comment."""
    where = job.comment.removeprefix(COMMENT_PREFIX)
    inside = where != job.comment and (where == directory or where.startswith(f"{directory}/"))
    return job.name in names or inside


_WORDS = {
    JobEnd.ALIVE: "is {state}",
    JobEnd.COMPLETED: "had ended",
    JobEnd.OUT_OF_MEMORY: "was ended by Slurm for its memory",
    JobEnd.WALLTIME: "reached its time limit",
    JobEnd.NODE_LOST: "lost its node",
    JobEnd.PREEMPTED: "was preempted",
    JobEnd.CANCELLED: "was cancelled",
    JobEnd.FAILED: "failed",
    JobEnd.UNKNOWN: "is not known to Slurm any more",
    JobEnd.UNSURE: "is in a state that is not known here",
}


def describe(job: SlurmJob) -> str:
    """Say in words how a job stands or ended, e.g. ``Slurm job 12 reached its time limit (TIMEOUT ...)``."""
    what = _WORDS[job.fate].format(state=job.state)
    if job.cancelled_by:
        what += f" by user {job.cancelled_by}"
    details = [job.state]
    if job.fate is JobEnd.FAILED:
        details.append(f"signal {job.signal}" if job.signal else f"exit code {job.exit_code}")
    if job.reason and job.fate is not JobEnd.COMPLETED:
        details.append(job.reason)
    if job.nodes:
        details.append(f"on {job.nodes}")
    if job.started is not None:
        ended = f" to {job.ended:%H:%M:%S}" if job.ended else ""
        details.append(f"{job.started:%Y-%m-%d %H:%M:%S}{ended} UTC")
    return f"Slurm job {job.job_id} {what} ({', '.join(filter(None, details))})"
