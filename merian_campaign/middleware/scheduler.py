"""Slurm as a tick sees it: one look at the queue, at most one at the accounting, whatever the number of jobs.

A command that is missing, fails or does not answer in time is an observation («unreachable»), never an
error: nothing is concluded from it.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from merian_campaign.domain import slurm
from merian_campaign.domain.cluster import Asked, Cluster, parse_cluster, test_options
from merian_campaign.domain.slurm import Answer, Refusal, Sight, SlurmJob, Watch
from merian_campaign.host.atomic_files import write_atomically
from merian_campaign.middleware import bps_run, processes

_SECONDS = 60.0
_GONE_SECONDS = 30.0
_POLL_SECONDS = 0.3
_EARLIER = timedelta(days=1)  # clocks differ, and sacct takes local midnights
_NO_ACCOUNTING = "accounting storage is disabled"
_MOST_NAMES = 60_000  # characters on a command line


class SchedulerError(Exception):
    """A scheduler command did not answer; the text says why."""


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
        self, *, environ: Mapping[str, str], clock: Callable[[], datetime], seconds: float = _SECONDS
    ) -> None:
        self._environ = dict(environ)
        self._clock = clock
        self._seconds = seconds
        self._last: tuple[float, Sight] | None = None
        self._full: tuple[float, str] | None = None

    def look(self, watch: Watch, *, fresh_seconds: float = 0.0) -> Sight:
        """Look at this user's jobs in the queue, and in the accounting at those that are not there any more.

        Parameters
        ----------
        watch : `Watch`
            What is expected.
        fresh_seconds : `float`
            An answer that is not older may be given again; of use to those that ask every second.
        """
        if self._last is not None and time.monotonic() - self._last[0] < fresh_seconds:
            return self._last[1]
        sight = self._look(watch)
        self._last = time.monotonic(), sight
        return sight

    def _look(self, watch: Watch) -> Sight:
        at = self._clock()
        try:
            queue = self._queue()
            alive = {job.job_id for job in queue if job.alive}
            names = {job.name for job in queue if job.alive}
            missing = (watch.names - names) | {
                name for job_id, name in watch.jobs.items() if job_id not in alive
            }
            ended = self._accounting(missing, since=watch.since or at) if missing else ()
        except SchedulerError as error:
            return Sight(at=at, unreachable=str(error))
        return Sight(at=at, jobs=slurm.merge(queue, ended))

    def _queue(self) -> tuple[SlurmJob, ...]:
        text = self._run(
            "squeue", "--noheader", "--states=all", f"--user={_me()}", f"--format={slurm.SQUEUE_FORMAT}"
        )
        return slurm.parse_squeue(text)

    def _accounting(self, names: Iterable[str], *, since: datetime) -> tuple[SlurmJob, ...]:
        listed = ",".join(sorted(names))
        # Sorted out afterwards, when there are too many for a command line.
        narrowed = [f"--name={listed}"] if len(listed) < _MOST_NAMES else []
        start = (since - _EARLIER).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        try:
            text = self._run(
                "sacct", "--noheader", "--parsable2", "--duplicates", f"--user={_me()}",
                f"--starttime={start}", f"--format={slurm.SACCT_FIELDS}", *narrowed,
            )  # fmt: skip
        except SchedulerError as error:
            if _NO_ACCOUNTING in str(error).lower():
                return ()
            raise
        return tuple(_named(job) for job in slurm.parse_sacct(text))

    def cluster(self) -> Cluster | str:
        """Return what the cluster allows, or in words why it does not say; one command."""
        asked = "show partition\nshow node\nquit\n"
        try:
            done = self._call(["scontrol", "--oneliner"], text=asked, environ=self._environ)
        except SchedulerError as error:
            return str(error)
        found = parse_cluster(done.stdout)
        # Asked through its standard input, it ends well whatever the answers were.
        return found if found.partitions else f"scontrol: {slurm.sbatch_words(done.stderr)}"

    def would_refuse(self, asked: Asked) -> str:
        """Return in words why Slurm would refuse a job for good: account, QOS and limits included.

        Nothing is submitted; a command that does not answer is no refusal.
        """
        command = ["sbatch", "--test-only", "--job-name=merian-campaign-test", *test_options(asked)]
        try:
            done = self._call([*command, "--wrap=true"], environ=self._environ)
        except SchedulerError:
            return ""
        if done.returncode == 0 or slurm.refusal_of(done.stderr) is not Refusal.FINAL:
            return ""
        words = slurm.sbatch_words(done.stderr).removeprefix("allocation failure: ")
        return f"{asked.what} would be refused: {words} ({' '.join(test_options(asked))})"

    def submit(self, script: str, *, path: str, marker: str, environment: Mapping[str, str]) -> Answer:
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
        environ = bps_run.environment({**self._environ, **environment}, marker=marker)
        try:
            # Dies with this process: an sbatch that nobody waits for could get through much later.
            done = self._call(["sbatch", "--parsable", path], environ=environ)
        except SchedulerError as error:
            return Answer(unsure=str(error))
        if done.returncode == 0 and (job_id := done.stdout.strip().partition(";")[0]).isdigit():
            return Answer(job_id=job_id)
        words = slurm.sbatch_words(done.stderr or done.stdout)
        match slurm.refusal_of(done.stderr):
            case Refusal.FINAL:
                return Answer(refused=words)
            case Refusal.FOR_NOW:
                self._full = time.monotonic(), words
                return Answer(deferred=words)
        return Answer(unsure=words)

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
            self._run("scancel", *job_ids)
            deadline = time.monotonic() + _GONE_SECONDS
            while left := [job.job_id for job in self._queue() if job.alive and job.job_id in job_ids]:
                if time.monotonic() > deadline:
                    return f"still in the queue: {', '.join(left)}"
                time.sleep(_POLL_SECONDS)
        except SchedulerError as error:
            return str(error)
        return ""

    def _run(self, *command: str, text: str | None = None) -> str:
        done = self._call(list(command), text=text, environ=self._environ)
        if done.returncode != 0:
            raise SchedulerError(f"{command[0]}: {slurm.sbatch_words(done.stderr)}")
        return done.stdout

    def _call(
        self, command: list[str], *, environ: Mapping[str, str], text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        own = {**environ, "TZ": "UTC", "SLURM_TIME_FORMAT": "standard"} if command[0] != "sbatch" else environ
        try:
            return subprocess.run(
                command,
                input=text if text is not None else "",
                capture_output=True,
                text=True,
                errors="replace",
                env=dict(own),
                timeout=self._seconds,
                check=False,
                preexec_fn=processes.die_with_parent,
            )
        except FileNotFoundError:
            raise SchedulerError(f"there is no {command[0]} on this host") from None
        except subprocess.TimeoutExpired:
            raise SchedulerError(f"{command[0]} has not answered within {self._seconds:g} s") from None
        except OSError as error:
            raise SchedulerError(f"{command[0]}: {error.strerror}") from None


def _me() -> str:
    return str(os.getuid())


def _named(job: SlurmJob) -> SlurmJob:
    """Put the name of whoever cancelled a job in place of the user id."""
    try:
        return replace(job, cancelled_by=pwd.getpwuid(int(job.cancelled_by)).pw_name)
    except (ValueError, KeyError):
        return job
