"""Slurm's commands as a driver needs them: submit, look, cancel; what their answers mean.

Every call has a time limit, and no answer is never taken for an answer: `UnreachableError` decides nothing.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from merian_campaign.domain.blocks import BlockEvent, BlockLine, block_ids, fold_blocks, whole_state
from merian_campaign.domain.slurm import Refusal, refusal_of
from merian_campaign.wms.blocks import BlockBook

__all__ = [
    "LIVE_STATES",
    "BusyError",
    "RefusedBySlurmError",
    "Seen",
    "UnreachableError",
    "accounting",
    "cancel_all",
    "cancel_submission",
    "queue",
    "read_accounting",
    "read_queue",
    "refusal",
    "submit_script",
]

LIVE_STATES = frozenset(
    {
        *(
            "PENDING",
            "CONFIGURING",
            "RUNNING",
            "COMPLETING",
            "SUSPENDED",
            "STOPPED",
            "SIGNALING",
            "STAGE_OUT",
        ),
        *("RESIZING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"),
    }
)
"""States of jobs that hold or may yet get a node."""

_KEPT = frozenset({"SLURM_CONF", "SLURM_CLUSTERS"})
_GONE_SECONDS = 60.0


class UnreachableError(RuntimeError):
    """Slurm gave no answer, or none that says anything; the question may be asked again."""


class RefusedBySlurmError(RuntimeError):
    """Slurm will never take a job like this; the message is ``sbatch``'s own."""


class BusyError(RuntimeError):
    """Slurm takes no more jobs of this user or account at present; the message is ``sbatch``'s own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What Slurm says of a job, in its own words."""

    slurm_job: str
    state: str
    reason: str = ""

    @property
    def live(self) -> bool:
        """Whether it holds or may yet get a node."""
        return self.state in LIVE_STATES


_REFUSALS: Mapping[Refusal, type[RuntimeError]] = {
    Refusal.FINAL: RefusedBySlurmError,
    Refusal.FOR_NOW: BusyError,
    Refusal.UNSURE: UnreachableError,
}


def refusal(text: str) -> type[RuntimeError]:
    """Return what a failed ``sbatch`` with these words means."""
    return _REFUSALS[refusal_of(text)]


def submit_script(script: Path, *, timeout: float) -> str:
    """Submit a batch script; return the job's id.

    Raises
    ------
    RefusedBySlurmError, BusyError
        No job came of it.
    UnreachableError
        A job may have come of it or not.
    """
    done = _call(["sbatch", "--parsable", str(script)], timeout=timeout)
    job = done.stdout.strip().splitlines()[-1].split(";")[0] if done.stdout.strip() else ""
    if done.returncode == 0 and job:
        return job
    said = "; ".join(line.strip() for line in done.stderr.splitlines() if line.strip())
    raise refusal(said)(said or f"sbatch failed with exit status {done.returncode} and said nothing")


def queue(name: str, *, timeout: float) -> dict[str, Seen]:
    """Return this user's jobs of a name that Slurm holds in mind: alive, or ended a short while ago.

    Raises
    ------
    UnreachableError
        Slurm does not answer.
    """
    words = ["squeue", "--noheader", "--states=all", f"--user={os.getuid()}", f"--name={name}"]
    done = _call([*words, "--format=%i|%T|%r"], timeout=timeout)
    if done.returncode != 0:
        raise UnreachableError(done.stderr.strip() or f"squeue failed with {done.returncode}")
    return {seen.slurm_job: seen for seen in read_queue(done.stdout)}


def read_queue(text: str) -> Iterable[Seen]:
    """Yield what each line of ``squeue --format=%i|%T|%r`` says."""
    for line in text.splitlines():
        job, _, rest = line.strip().partition("|")
        state, _, reason = rest.partition("|")
        if job and state:
            yield Seen(slurm_job=job, state=whole_state(state), reason="" if reason == "None" else reason)


def accounting(ids: Collection[str], *, name: str, timeout: float) -> dict[str, Seen]:
    """Return what the accounting knows of jobs; nothing where it is absent, late or purged.

    Parameters
    ----------
    ids
        The jobs, asked for in one call.
    name
        Their name: an id may have been used again for another job.
    """
    words = ["sacct", "--allocations", "--noheader", "--parsable2", f"--jobs={','.join(ids)}"]
    try:
        done = _call([*words, "--format=JobIDRaw,State,JobName"], timeout=timeout)
    except UnreachableError:
        return {}
    return {seen.slurm_job: seen for seen in read_accounting(done.stdout, name=name)}


def read_accounting(text: str, *, name: str) -> Iterable[Seen]:
    """Yield what each line of ``sacct --parsable2 --format=JobIDRaw,State,JobName`` says of jobs of a name.

    A job may have several lines (it lost a node and went on, or was requeued); the last one counts.
    """
    for line in text.splitlines():
        parts = line.strip().split("|", 2)
        if len(parts) == 3 and parts[2] == name and parts[1].strip():  # noqa: PLR2004 - the fields asked for
            yield Seen(slurm_job=parts[0], state=whole_state(parts[1]))


def cancel_all(*, names: Iterable[str], ids: Collection[str] = (), timeout: float) -> None:
    """Cancel this user's jobs of some names, and jobs by id.

    Raises
    ------
    UnreachableError
        Slurm does not answer.
    """
    calls = [["scancel", f"--user={os.getuid()}", f"--name={name}"] for name in sorted(set(names))]
    if ids:
        calls.append(["scancel", *ids])
    for call in calls:
        done = _call(call, timeout=timeout)
        if done.returncode != 0 and done.stderr.strip() and refusal(done.stderr) is UnreachableError:
            raise UnreachableError(done.stderr.strip())


def cancel_submission(submit: Path, *, wait: bool = True, timeout: float = 60.0) -> None:
    """Cancel every Slurm job of a submission, recorded or not, and see that it is gone.

    Jobs are found by their name, which is written down before each is submitted; jobs in records of an
    earlier release by their id.  Without Slurm's commands on this host nothing is done.

    Parameters
    ----------
    submit
        The submit directory.
    wait
        Wait until none of them is in the queue.

    Raises
    ------
    TimeoutError
        Some are still there after a minute.
    UnreachableError
        Slurm does not answer.
    """
    book = BlockBook(submit)
    lines = book.read()
    names = {line.name for line in lines if line.name}
    ids = () if names else block_ids(lines)
    if not (names or ids) or shutil.which("scancel") is None:
        return
    cancel_all(names=names, ids=ids, timeout=timeout)
    deadline = time.monotonic() + _GONE_SECONDS
    while wait and (left := _living(names, ids, timeout=timeout)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Slurm jobs {', '.join(sorted(left))} were cancelled and are still there")
        time.sleep(0.2)
    for name in names:
        _note_ends(book, queue(name, timeout=timeout), name=name)


def _note_ends(book: BlockBook, seen: Mapping[str, Seen], *, name: str) -> None:
    """Record how jobs ended that nobody will look at again."""
    known = fold_blocks(book.read())
    for job, now in seen.items():
        if not now.live and (job not in known or known[job].state != now.state):
            line = BlockLine(
                event=BlockEvent.STATE, name=name, slurm_job=job, state=now.state, reason=now.reason
            )
            book.write(line)


def _living(names: Iterable[str], ids: Sequence[str], *, timeout: float) -> set[str]:
    found = {seen.slurm_job for name in names for seen in queue(name, timeout=timeout).values() if seen.live}
    if ids:
        done = _call(
            ["squeue", "--noheader", "--format=%i|%T|%r", f"--jobs={','.join(ids)}"], timeout=timeout
        )
        # squeue fails when it knows none of the ids any more, which is the answer hoped for.
        found |= {seen.slurm_job for seen in read_queue(done.stdout)}
    return found


def _call(words: Sequence[str], *, timeout: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=_environment(os.environ),
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(f"{words[0]} gave no answer within {timeout:g} s") from error
    except OSError as error:
        raise UnreachableError(f"{words[0]} cannot be run: {error}") from error


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for Slurm's commands.

    A driver that is a Slurm job itself has its own job's sizes in its environment; blocks would inherit them.
    """
    ours = ("SLURM_", "SQUEUE_", "SACCT_", "SCANCEL_")
    return {k: v for k, v in environment.items() if k in _KEPT or not k.startswith(ours)}
