"""Slurm as a tick sees it: one look at the queue, at most one at the accounting, whatever the number of jobs.

A command that is missing, fails or does not answer in time is an observation («unreachable»), never an
error: nothing is concluded from it.
"""

from __future__ import annotations

import pwd
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from merian_campaign.domain.resources.cluster import Cluster, ResourceRequest, parse_cluster, test_options
from merian_campaign.domain.slurm import slurm_jobs
from merian_campaign.domain.slurm.sbatch import SbatchRefusal, SubmitResult, refusal_of, sbatch_words
from merian_campaign.domain.slurm.slurm_jobs import JobQuery, QueueSnapshot, SlurmJob
from merian_campaign.host import termination
from merian_campaign.host.atomic_files import write_atomically
from merian_campaign.host.slurm_client import SECONDS, SlurmClient, UnreachableError
from merian_campaign.middleware import programs

_GONE_SECONDS = 30.0
_POLL_SECONDS = 0.3
_EARLIER = timedelta(days=1)  # clocks differ, and sacct takes local midnights


class SlurmScheduler:
    """Slurm's own commands, run on this host.

    Parameters
    ----------
    environ : `~collections.abc.Mapping`
        Environment of the commands and of the drivers that are submitted.
    clock : callable
        Returns the time, UTC.
    seconds : `float`
        How long a command may take.
    """

    def __init__(
        self, *, environ: Mapping[str, str], clock: Callable[[], datetime], seconds: float = SECONDS
    ) -> None:
        self._environ = dict(environ)
        self._clock = clock
        # Dies with this process: an sbatch that nobody waits for could get through much later.
        self._client = SlurmClient(environ=environ, seconds=seconds, before=termination.die_with_parent)
        self._last: tuple[float, QueueSnapshot] | None = None
        self._full: tuple[float, str] | None = None

    def look(self, watch: JobQuery, *, fresh_seconds: float = 0.0) -> QueueSnapshot:
        """Look at this user's jobs in the queue, and in the accounting at those that are not there any more.

        Parameters
        ----------
        watch : `JobQuery`
            What is expected.
        fresh_seconds : `float`
            An answer that is not older may be given again; of use to those that ask every second.
        """
        if self._last is not None and time.monotonic() - self._last[0] < fresh_seconds:
            return self._last[1]
        sight = self._look(watch)
        self._last = time.monotonic(), sight
        return sight

    def _look(self, watch: JobQuery) -> QueueSnapshot:
        at = self._clock()
        try:
            queue = self._client.queue()
            # Of what the queue has no sure word, the accounting is asked too.
            alive = {job.job_id for job in queue if job.alive}
            names = {job.name for job in queue if job.alive}
            missing = (watch.names - names) | {
                name for job_id, name in watch.jobs.items() if job_id not in alive
            }
        except UnreachableError as error:
            return QueueSnapshot(at=at, unreachable=str(error))
        try:
            ended = self._accounting(missing, since=watch.since or at) if missing else ()
        except UnreachableError:
            ended = ()  # it may be away for days: the queue's last word counts, and the leases
        return QueueSnapshot(at=at, jobs=slurm_jobs.merge(queue, ended))

    def _accounting(self, names: Iterable[str], *, since: datetime) -> tuple[SlurmJob, ...]:
        return tuple(map(_named, self._client.accounting(names=names, since=since - _EARLIER)))

    def cluster(self) -> Cluster | str:
        """Return what the cluster allows, or in words why it does not say; one command."""
        asked = "show partition\nshow node\nquit\n"
        try:
            done = self._client.call(["scontrol", "--all", "--oneliner"], text=asked)
        except UnreachableError as error:
            return str(error)
        found = parse_cluster(done.stdout)
        # Asked through its standard input, it ends well whatever the answers were.
        return found if found.partitions else f"scontrol: {sbatch_words(done.stderr, who='scontrol')}"

    def would_refuse(self, asked: ResourceRequest) -> str:
        """Return in words why Slurm would refuse a job for good: account, QOS and limits included.

        Nothing is submitted; a command that does not answer is no refusal.
        """
        done = self._tested(asked)
        if done is None or done.returncode == 0 or refusal_of(done.stderr) is not SbatchRefusal.FINAL:
            return ""
        words = sbatch_words(done.stderr).removeprefix("allocation failure: ")
        return f"{asked.what} would be refused: {words} ({' '.join(test_options(asked))})"

    def would_take(self, asked: ResourceRequest) -> bool:
        """Say whether Slurm would take a job, whatever its partitions' limits look like from here."""
        done = self._tested(asked)
        return done is not None and done.returncode == 0

    def _tested(self, asked: ResourceRequest) -> subprocess.CompletedProcess[str] | None:
        command = ["sbatch", "--test-only", "--job-name=merian-campaign-test", *test_options(asked)]
        try:
            return self._client.call([*command, "--wrap=true"])
        except UnreachableError:
            return None

    def submit(self, script: str, *, path: str, marker: str, environment: Mapping[str, str]) -> SubmitResult:
        """Write a batch script and submit it.

        Parameters
        ----------
        script : `str`
            Its text.
        path : `str`
            Where it is kept.
        marker : `str`
            What the processes of the job carry in their environment.
        environment : `~collections.abc.Mapping`
            Variables on top of the caller's own.
        """
        where = Path(path)
        where.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(where, script)
        environ = programs.environment({**self._environ, **environment}, marker=marker)
        answer = self._client.submit(path, environ=environ)
        if answer.deferred:
            self._full = time.monotonic(), answer.deferred
        return answer

    def full(self, *, fresh_seconds: float) -> str:
        """Return what ``sbatch`` said when it last took no more jobs for now, if that is not older."""
        if self._full is None or time.monotonic() - self._full[0] > fresh_seconds:
            return ""
        return self._full[1]

    def cancel(self, job_ids: Sequence[str]) -> str:
        """Cancel jobs and wait until none is in the queue; return in words what went wrong, if anything."""
        if not job_ids:
            return ""
        self._last = None
        try:
            self._client.cancel(ids=job_ids)
            deadline = time.monotonic() + _GONE_SECONDS
            while left := [job.job_id for job in self._client.queue(ids=job_ids) if not job.over]:
                if time.monotonic() > deadline:
                    return f"still in the queue: {', '.join(left)}"
                time.sleep(_POLL_SECONDS)
        except UnreachableError as error:
            return str(error)
        return ""


def _named(job: SlurmJob) -> SlurmJob:
    """Put the name of whoever cancelled a job in place of the user id."""
    try:
        return replace(job, cancelled_by=pwd.getpwuid(int(job.cancelled_by)).pw_name)
    except (ValueError, KeyError):
        return job
