"""Jobs as a supervisor holds them: the request, what has been seen of it, and the outcome it comes to.

No files and no sockets here; only the values and the arithmetic on them.
"""

import os
import signal
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from merian_campaign.domain.execution.journal import JobVerdict, JournalEvent, JournalRecord
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.wms.job_outcome import JobOutcome
from merian_campaign.wms.node.admission import NodeRequest
from merian_campaign.wms.node.cgroup import JobCgroup
from merian_campaign.wms.node.child import ForkOrder
from merian_campaign.wms.node.command import changed_variables, plain_words, read_run_qbb
from merian_campaign.wms.node.memory_guard import LimitExceeded, MemoryLimits
from merian_campaign.wms.node.memory_samples import Holding, culprit
from merian_campaign.wms.node.node import SlurmPlace

__all__ = ["JobRequest", "NodeJob", "NodeJobs", "ended_record", "outcome_of", "refused", "started_record"]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRequest:
    """What a client asks a supervisor to run.

    A *stage* is a command of the submission itself (graph building, initialization, ingest): it is not
    journalled, not limited and not admitted, and is run warm whatever its options.  ``words`` are given by
    callers that have no command line to be read.  ``variables`` are what BPS's ``environment`` sets for the
    job, ``<ENV:NAME>`` standing for a variable of the node.
    """

    job: str
    label: str
    command: str
    stdout: str
    stderr: str
    quanta: tuple[str, ...] = ()
    requested_mb: float | None = None
    walltime_s: float | None = None
    cpus: float = 1.0
    stage: bool = False
    header: bool = True
    trace: str = ""
    stdin: str = ""
    words: tuple[str, ...] | None = None
    environment: Mapping[str, str] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "JobRequest":
        """Read a decoded JSON object."""
        words = values.get("words")
        return cls(**{**values, "quanta": tuple(values["quanta"]), "words": tuple(words) if words else None})

    def claim(self) -> NodeRequest:
        """Return what the job asks of the node."""
        return NodeRequest(memory_mb=self.requested_mb or 0.0, cpus=self.cpus)

    def order(
        self, number: int, *, warm: bool, prefix: str, environment: Mapping[str, str], cgroup: str = ""
    ) -> ForkOrder:
        """Return the order for the forkserver: words for a warm child, a command line for bash."""
        changed = changed_variables(self.variables, environment)
        # Libraries read variables when they are loaded, and a forked child's are loaded already.
        warm = warm and not changed
        words = self.words or (plain_words(self.command, environment) if warm else None)
        if words is not None and not self.stage and read_run_qbb(words) is None:
            words = None
        whole = f"{prefix}\n{self.command}" if prefix else self.command
        return ForkOrder(
            id=number,
            command=whole,
            words=words,
            stdout=self.stdout,
            stderr=self.stderr,
            header=self.header,
            trace=self.trace,
            stdin=self.stdin,
            environment={**environment, **changed} if changed else self.environment,
            cgroup=cgroup,
        )


@dataclass(kw_only=True)
class NodeJob:
    """A request on its way through the supervisor."""

    number: int
    request: JobRequest
    client: Any
    pid: int | None = None
    start: int | None = None
    began: float = 0.0
    known: set[tuple[int, int]] = field(default_factory=set)
    peak_mb: float = 0.0
    resident_mb: float = 0.0
    finding: LimitExceeded | None = None
    abandoned: bool = False
    kills_before: int | None = None
    warm: bool = False
    leaf: JobCgroup | None = None
    doubtful: dict[str, Any] | None = None
    began_doubt: float = 0.0

    def holding(self) -> Holding:
        """Return what it holds and has held, as last sampled."""
        asked = self.request.requested_mb
        return Holding(
            job=self.request.job, requested_mb=asked, resident_mb=self.resident_mb, peak_mb=self.peak_mb
        )

    def limits(self, tolerance: float) -> MemoryLimits:
        """Return what the guard holds the job to."""
        requested = self.request.requested_mb
        return MemoryLimits(
            requested_mb=requested,
            memory_mb=round(requested * tolerance, 1) if requested else None,
            walltime_s=self.request.walltime_s,
        )


@dataclass(kw_only=True)
class NodeJobs:
    """Jobs of a node, by what has become of them."""

    waiting: deque[NodeJob] = field(default_factory=deque)
    running: dict[int, NodeJob] = field(default_factory=dict)
    count: int = 0

    def excuse(self, job: NodeJob, *, peak_mb: float) -> LimitExceeded | None:
        """Return the finding for a job that the kernel killed while another held too much."""
        request = job.request
        if request.requested_mb is None or peak_mb > request.requested_mb:
            return None
        guilty = culprit(other.holding() for other in self.running.values() if other is not job)
        if guilty is None:
            return None
        evidence: dict[str, object] = {"ended_by": "kernel", "reached_mb": peak_mb, "memory_of": guilty.job}
        return LimitExceeded(verdict=JobVerdict.NODE_LOST, evidence=evidence)


def refused(why: str) -> JobOutcome:
    """Return the outcome of a job that is not run because something is set up wrongly."""
    return JobOutcome(verdict=JobVerdict.FAILED, evidence={"refused": why})


def outcome_of(job: NodeJob, *, ended: Mapping[str, Any], now: float, kills_after: int | None) -> JobOutcome:
    """Return how a job ended, from its wait status and from what the guard had found.

    Parameters
    ----------
    job : `NodeJob`
        The job.
    ended : `~collections.abc.Mapping`
        The forkserver's report: ``status``, ``cpu_s``, ``maxrss_mb``, ``report``.
    now : `float`
        A monotonic clock, seconds.
    kills_after : `int` or `None`
        `node.kernel_memory_kills` now.
    """
    status = int(ended["status"])
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
    evidence: dict[str, object] = {"warm": job.warm, **ended.get("report", {})}
    if job.finding is not None:
        verdict = job.finding.verdict
        evidence |= job.finding.evidence
    elif code == 0:
        verdict = JobVerdict.OK
    elif number == signal.SIGKILL and job.kills_before is not None and (kills_after or 0) > job.kills_before:
        verdict = JobVerdict.OUT_OF_MEMORY
        evidence["kernel_memory_kills"] = (kills_after or 0) - job.kills_before
    else:
        verdict = JobVerdict.FAILED
    return JobOutcome(
        verdict=verdict,
        exit=code,
        signal=number,
        evidence=evidence,
        peak_mb=round(max(job.peak_mb, float(ended.get("maxrss_mb", 0.0))), 1),
        cpu_s=ended.get("cpu_s"),
        wall_s=round(now - job.began, 3),
    )


def started_record(job: NodeJob, *, here: ProcessIdentity, place: SlurmPlace) -> JournalRecord:
    """Return the journal's line for a start."""
    return JournalRecord(
        event=JournalEvent.STARTED,
        job=job.request.job,
        label=job.request.label,
        quanta=job.request.quanta,
        host=here.host,
        pid=job.pid,
        pid_start=job.start,
        requested_mb=job.request.requested_mb,
        slurm_job=place.job,
        slurm_node=place.node,
    )


def ended_record(
    job: NodeJob, outcome: JobOutcome, *, here: ProcessIdentity, place: SlurmPlace
) -> JournalRecord:
    """Return the journal's line for an end."""
    return started_record(job, here=here, place=place)._replace(
        event=JournalEvent.ENDED,
        exit=outcome.exit,
        signal=outcome.signal,
        verdict=outcome.verdict,
        evidence=outcome.evidence,
        peak_mb=outcome.peak_mb,
        cpu_s=outcome.cpu_s,
        wall_s=outcome.wall_s,
    )
