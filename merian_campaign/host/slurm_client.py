"""Slurm's commands, run on this host with a time limit: the one place that calls them.

No answer is never taken for an answer: `UnreachableError` decides nothing. What the answers mean is said by
`~merian_campaign.domain.slurm.slurm_jobs`, `~merian_campaign.domain.slurm.slurm_states` and
`~merian_campaign.domain.slurm.sbatch`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from merian_campaign.domain.slurm.sbatch import SubmitResult, answer_of, sbatch_words
from merian_campaign.domain.slurm.slurm_jobs import (
    SACCT_FIELDS,
    SQUEUE_FORMAT,
    SlurmJob,
    parse_sacct,
    parse_squeue,
)

__all__ = ["SECONDS", "SlurmClient", "UnreachableError", "outside_of_jobs"]

SECONDS: Final = 60.0
"""How long a command may take unless a site says otherwise."""

_NO_ACCOUNTING: Final = "accounting storage is disabled"
_MOST_NAMES: Final = 60_000  # characters on a command line
_KEPT: Final = frozenset({"SLURM_CONF", "SLURM_CLUSTERS", "SBATCH_CLUSTERS"})
_OWN: Final = ("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_")


class UnreachableError(RuntimeError):
    """Slurm gave no answer, or none that says anything; the question may be asked again."""


class SlurmClient:
    """Slurm as one process sees it.

    Parameters
    ----------
    environ : `~collections.abc.Mapping`
        Environment of the commands.
    seconds : `float`
        How long a command may take.
    before : callable, optional
        Called in the child before a command runs, e.g. so that it dies with its parent.
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str],
        seconds: float = SECONDS,
        before: Callable[[], None] | None = None,
    ) -> None:
        self._environ = dict(environ)
        self._seconds = seconds
        self._before = before

    def queue(self, *, name: str = "", ids: Collection[str] = ()) -> tuple[SlurmJob, ...]:
        """Return this user's jobs that Slurm holds in mind: alive, or ended a short while ago.

        Parameters
        ----------
        name : `str`, optional
            Only those of this name.
        ids : collection of `str`, optional
            Only these; it is no error that none of them is there any more.

        Raises
        ------
        UnreachableError
            Raised if Slurm does not answer.
        """
        whose = f"--user={os.getuid()}"
        # All partitions: a hidden one shows nobody's jobs otherwise, not even one's own.
        words = ["squeue", "--all", "--noheader", "--states=all", whose, f"--Format={SQUEUE_FORMAT}"]
        if name:
            words.append(f"--name={name}")
        jobs = parse_squeue(self.run(*words))
        return tuple(job for job in jobs if not ids or job.job_id in ids)

    def accounting(
        self, *, names: Iterable[str] = (), ids: Collection[str] = (), since: datetime | None = None
    ) -> tuple[SlurmJob, ...]:
        """Return what the accounting knows of jobs, requeued ones with their restarts; nothing without one.

        Parameters
        ----------
        names : iterable of `str`
            Names of the jobs; sorted out afterwards when there are too many for a command line.
        ids : collection of `str`
            Or their ids.
        since : `datetime.datetime`, optional
            When the first of them was submitted.

        Raises
        ------
        UnreachableError
            Raised if it does not answer.
        """
        words = ["sacct", "--noheader", "--parsable2", "--duplicates", f"--format={SACCT_FIELDS}"]
        listed = ",".join(sorted(names))
        if ids:
            words.append(f"--jobs={','.join(ids)}")
        else:
            words.append(f"--user={os.getuid()}")
        if listed and len(listed) < _MOST_NAMES:
            words.append(f"--name={listed}")
        if since is not None:
            words.append(f"--starttime={since.astimezone(UTC):%Y-%m-%dT%H:%M:%S}")
        try:
            return parse_sacct(self.run(*words))
        except UnreachableError as error:
            if _NO_ACCOUNTING in str(error).lower() or str(error) == _absent("sacct"):
                return ()
            raise

    def submit(self, script: str, *, environ: Mapping[str, str] | None = None) -> SubmitResult:
        """Submit a batch script that is in a file.

        Parameters
        ----------
        script : `str`
            The file.
        environ : `~collections.abc.Mapping`, optional
            Environment that the job gets in place of this client's.
        """
        try:
            done = self.call(["sbatch", "--parsable", script], environ=environ)
        except UnreachableError as error:
            return SubmitResult(unsure=str(error))
        return answer_of(status=done.returncode, output=done.stdout, errors=done.stderr)

    def cancel(self, *, ids: Collection[str] = (), names: Iterable[str] = ()) -> None:
        """Cancel jobs by id, and this user's jobs of some names; those that are gone already are no error.

        Raises
        ------
        UnreachableError
            Raised if Slurm does not answer.
        """
        calls = [["scancel", f"--user={os.getuid()}", f"--name={name}"] for name in sorted(set(names))]
        if ids:
            calls.append(["scancel", *ids])
        for call in calls:
            done = self.call(call)
            answer = answer_of(status=done.returncode, output="", errors=done.stderr)
            if done.returncode != 0 and done.stderr.strip() and answer.unsure:
                raise UnreachableError(f"scancel: {answer.unsure}")

    def run(self, *words: str) -> str:
        """Run a command; return what it printed.

        Raises
        ------
        UnreachableError
            Raised if it cannot be run, is not done in time, or fails.
        """
        done = self.call(words)
        if done.returncode != 0:
            raise UnreachableError(f"{words[0]}: {sbatch_words(done.stderr, who=words[0])}")
        return done.stdout

    def call(
        self, words: Sequence[str], *, text: str = "", environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever it returns.

        Raises
        ------
        UnreachableError
            Raised if it cannot be run or is not done in time.
        """
        # What a user's profile has for own jobs would change limits, partitions and formats of ours.
        own = outside_of_jobs(self._environ if environ is None else environ)
        if words[0] != "sbatch":  # whose environment is the job's
            own |= {"TZ": "UTC", "SLURM_TIME_FORMAT": "standard"}
        try:
            return subprocess.run(
                list(words),
                input=text,
                capture_output=True,
                text=True,
                errors="replace",
                env=own,
                timeout=self._seconds,
                check=False,
                preexec_fn=self._before,
            )
        except FileNotFoundError:
            raise UnreachableError(_absent(words[0])) from None
        except subprocess.TimeoutExpired:
            raise UnreachableError(f"{words[0]} has not answered within {self._seconds:g} s") from None
        except (OSError, subprocess.SubprocessError) as error:
            raise UnreachableError(f"{words[0]}: {getattr(error, 'strerror', None) or error}") from None


def _absent(command: str) -> str:
    return f"there is no {command} on this host"


def outside_of_jobs(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for Slurm's commands without what Slurm's commands read in it.

    A driver that is a Slurm job itself has its own job's sizes in its environment; blocks would inherit them.
    The variables of a user's profile (``SBATCH_PARTITION``, ``SQUEUE_FORMAT`` ...) go before what a batch
    script says. Which configuration and which clusters are meant stays.
    """
    return {k: v for k, v in environ.items() if k in _KEPT or not k.startswith(_OWN)}
