"""Slurm jobs as values: reading what ``squeue`` and ``sacct`` print, and saying how a job ended.

Commands are run elsewhere, with ``TZ=UTC`` and the formats given here. Readers are tolerant: a line that
cannot be read is left out, a word that is not known means nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

from merian_campaign.domain.blocks import whole_state

SQUEUE_FORMAT = "%A|%T|%r|%N|%V|%S|%e|%j|%k"
"""What is asked of ``squeue --format``; names and comments come last, for they are free text."""

SACCT_FIELDS = "JobIDRaw,State,Reason,NodeList,Submit,Start,End,ExitCode,JobName,Comment"
"""What is asked of ``sacct --format --parsable2``."""

COMMENT_PREFIX = "merian-campaign:"
"""Beginning of the comment of every Slurm job of a campaign; a directory follows."""


class Fate(StrEnum):
    """How a Slurm job ended, if it has."""

    ALIVE = "alive"
    """It waits, runs, or ends just now."""
    COMPLETED = "completed"
    """Its script ended well."""
    OUT_OF_MEMORY = "out_of_memory"
    """Slurm or the kernel ended it, or a step of it, for its memory."""
    WALLTIME = "walltime"
    """Its time limit was up."""
    NODE_LOST = "node_lost"
    """A node of it failed."""
    PREEMPTED = "preempted"
    """It had to make room for a job of higher priority."""
    CANCELLED = "cancelled"
    """A person, an administrator or its own driver cancelled it."""
    FAILED = "failed"
    """Its script failed."""
    UNKNOWN = "unknown"
    """Slurm does not say."""


_FATES = {
    "BOOT_FAIL": Fate.NODE_LOST,
    "CANCELLED": Fate.CANCELLED,
    "COMPLETED": Fate.COMPLETED,
    "DEADLINE": Fate.WALLTIME,
    "FAILED": Fate.FAILED,
    "LAUNCH_FAILED": Fate.NODE_LOST,
    "NODE_FAIL": Fate.NODE_LOST,
    "OUT_OF_MEMORY": Fate.OUT_OF_MEMORY,
    "PREEMPTED": Fate.PREEMPTED,
    "RECONFIG_FAIL": Fate.NODE_LOST,
    "REVOKED": Fate.UNKNOWN,
    "SPECIAL_EXIT": Fate.FAILED,
    "TIMEOUT": Fate.WALLTIME,
    "": Fate.UNKNOWN,
}


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
    def fate(self) -> Fate:
        """How it ended."""
        return _FATES.get(self.state, Fate.ALIVE)

    @property
    def alive(self) -> bool:
        """Whether it is not over."""
        return self.fate is Fate.ALIVE


@dataclass(frozen=True, kw_only=True)
class Sight:
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
class Watch:
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


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What ``sbatch`` answered: an id, a refusal for good or for now, or nothing to rely on.

    The others are empty. After ``unsure`` the job may exist or not: only a look at the queue, by its name,
    tells.
    """

    job_id: str = ""
    refused: str = ""
    deferred: str = ""
    unsure: str = ""


def state_word(text: str) -> tuple[str, str]:
    """Return Slurm's word for a state, whole, and the user id of who cancelled the job.

    Takes ``OUT_OF_ME+`` (cut to a column), ``CANCELLED by 1000`` and lists of flags.
    """
    word, _, rest = text.strip().partition(" ")
    by = rest.removeprefix("by ").strip() if rest.startswith("by ") else ""
    whole = whole_state(word.split(",")[0])
    return ("" if whole.endswith("+") else whole), by


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
    name, _, comment = tail.partition("|")
    over = word in _FATES
    return SlurmJob(
        job_id=job_id,
        name=name,
        comment=_word(comment),
        state=word,
        reason=_word(reason),
        cancelled_by=by,
        nodes=_word(nodes),
        submitted=_time(submitted),
        # Of a job that waits or runs, squeue gives the times that are expected.
        started=None if word in {"PENDING", "CONFIGURING"} else _time(started),
        ended=_time(ended) if over else None,
    )


def parse_squeue(text: str) -> tuple[SlurmJob, ...]:
    """Read what ``squeue`` prints in `SQUEUE_FORMAT`."""
    found = []
    for line in text.splitlines():
        fields = line.split("|", 7)
        if len(fields) == 8 and fields[0].isdigit():  # noqa: PLR2004 - seven and the free text
            found.append(_job(fields[:7], tail=fields[7]))
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
                replace(job, exit_code=int(code) if code.isdigit() and not job.alive else None, signal=signal)
            )
    return tuple(_starved(job) if job.job_id in hungry else job for job in latest(found))


def _starved(job: SlurmJob) -> SlurmJob:
    return replace(job, state="OUT_OF_MEMORY") if job.fate is Fate.FAILED else job


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
        last = max(kept, key=lambda job: (job.alive, job.submitted or zero, job.started or zero))
        chosen.append(replace(last, restarts=len(kept) - 1))
    return tuple(chosen)


def merge(queue: Iterable[SlurmJob], accounting: Iterable[SlurmJob]) -> tuple[SlurmJob, ...]:
    """Join what the queue and the accounting say of the same jobs.

    The queue knows at once what is alive; the accounting lags, may hold on to jobs that are long gone,
    and knows best how a job ended, and alone how often it was requeued.
    """
    merged = {(job.job_id, job.name): job for job in queue}
    for job in accounting:
        key = (job.job_id, job.name)
        queued = merged.get(key)
        if queued is None or (not queued.alive and not job.alive):
            merged[key] = replace(job, comment=job.comment or (queued.comment if queued else ""))
        else:
            merged[key] = replace(queued, restarts=max(queued.restarts, job.restarts))
    return tuple(merged.values())


def belongs(job: SlurmJob, *, directory: str, names: Iterable[str]) -> bool:
    """Say whether a job is of a submission: by its name, or by the directory in its comment."""
    where = job.comment.removeprefix(COMMENT_PREFIX)
    inside = where != job.comment and (where == directory or where.startswith(f"{directory}/"))
    return job.name in names or inside


_WORDS = {
    Fate.ALIVE: "is {state}",
    Fate.COMPLETED: "had ended",
    Fate.OUT_OF_MEMORY: "was ended by Slurm for its memory",
    Fate.WALLTIME: "reached its time limit",
    Fate.NODE_LOST: "lost its node",
    Fate.PREEMPTED: "was preempted",
    Fate.CANCELLED: "was cancelled",
    Fate.FAILED: "failed",
    Fate.UNKNOWN: "is not known to Slurm any more",
}


def describe(job: SlurmJob) -> str:
    """Say in words how a job stands or ended, e.g. ``Slurm job 12 reached its time limit (TIMEOUT ...)``."""
    what = _WORDS[job.fate].format(state=job.state)
    if job.cancelled_by:
        what += f" by user {job.cancelled_by}"
    details = [job.state]
    if job.fate is Fate.FAILED:
        details.append(f"signal {job.signal}" if job.signal else f"exit code {job.exit_code}")
    if job.reason and job.fate is not Fate.COMPLETED:
        details.append(job.reason)
    if job.nodes:
        details.append(f"on {job.nodes}")
    if job.started is not None:
        ended = f" to {job.ended:%H:%M:%S}" if job.ended else ""
        details.append(f"{job.started:%Y-%m-%d %H:%M:%S}{ended} UTC")
    return f"Slurm job {job.job_id} {what} ({', '.join(filter(None, details))})"


class Refusal(StrEnum):
    """What it means that ``sbatch`` failed."""

    FINAL = "final"
    """Slurm will never take a job like this: account, partition, limits on its size."""
    FOR_NOW = "for_now"
    """No job came of it, and the same one may be taken later: too many are in the queue, or a partition is
    closed."""
    UNSURE = "unsure"
    """No answer, or none that says anything: a job may have come of it."""


_UNSURE = (
    "unable to contact", "connection refused", "connection reset", "communication connection failure",
    "timed out", "zero bytes were transmitted", "transport endpoint is not connected", "no route to host",
    "resource temporarily unavailable", "backup controller", "in standby mode", "unable to establish",
    "protocol authentication error", "slurmctld", "cannot allocate memory", "try again",
)  # fmt: skip
_FOR_NOW = (
    # AssocMaxSubmitJobLimit, AssocGrpSubmitJobsLimit, QOSMaxSubmitJobPerUserLimit ...
    "submitjob", "maxjobcount", "max job count", "temporarily unable to accept job",
    "partition not available (inactive or drain)",
)  # fmt: skip


def refusal_of(text: str) -> Refusal:
    """Return what a failed ``sbatch`` with these words means.

    Several lines may say several things. No answer to the last of its tries decides before a refusal of an
    earlier one, and the name of a limit before the general words after it.
    """
    words = text.lower()
    if not words.strip():
        return Refusal.UNSURE
    if any(phrase in words for phrase in _UNSURE):
        return Refusal.UNSURE
    return Refusal.FOR_NOW if any(phrase in words for phrase in _FOR_NOW) else Refusal.FINAL


def sbatch_words(text: str) -> str:
    """Return what ``sbatch`` said, on one line, without its own prefix."""
    lines = [line.strip().removeprefix("sbatch: ").removeprefix("error: ") for line in text.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line))[:600] or "sbatch said nothing"
