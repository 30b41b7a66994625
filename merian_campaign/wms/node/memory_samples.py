"""A supervisor's last look at its jobs, on disk: it tells, after a block was killed, whose memory it was.

``{submitPath}/samples/HOST-PID-START.json``, replaced with every sample of the guard while there is a Slurm
block to lose, removed by a supervisor that ends in good order.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.host.atomic_files import write_atomically
from merian_campaign.host.regular_files import DamagedFileError, read_json_object

__all__ = ["SAMPLES_NAME", "Holding", "NodeSample", "SamplesFile", "culprit", "read_samples"]

SAMPLES_NAME = "samples"
"""Folder in the submit directory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """What one running job held, MiB; ``requested_mb`` is None when it asked for no particular amount."""

    job: str
    requested_mb: float | None
    resident_mb: float
    peak_mb: float

    @property
    def excess_mb(self) -> float:
        """How far it went past what it asked for."""
        return self.peak_mb - (self.requested_mb or 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeSample:
    """One look at the jobs of a node.

    Parameters
    ----------
    host, slurm_job, slurm_node : `str`
        Where.
    shares_mb, granted_mb : `float`
        What the supervisor shares out, and what Slurm gave the block there; 0 when unknown.
    jobs : `tuple` [`Holding`, ...]
        Those running then.
    """

    host: str
    slurm_job: str
    slurm_node: str
    shares_mb: float
    granted_mb: float
    jobs: tuple[Holding, ...]


def culprit(jobs: Iterable[Holding]) -> Holding | None:
    """Return the job that went furthest past its request; None when none did."""
    worst = max(jobs, key=lambda job: job.excess_mb, default=None)
    return worst if worst is not None and worst.excess_mb > 0 else None


class SamplesFile:
    """The file of one supervisor.

    Parameters
    ----------
    submit : `pathlib.Path`
        The submit directory.
    owner : `ProcessIdentity`
        The supervisor.
    """

    def __init__(self, submit: Path, *, owner: ProcessIdentity) -> None:
        self._path = submit / SAMPLES_NAME / f"{owner.host}-{owner.pid}-{owner.pid_start}.json"
        self._empty = True

    def write(self, sample: NodeSample) -> None:
        """Replace the file; one that cannot be written costs evidence and nothing else."""
        if self._empty and not sample.jobs:
            return
        self._empty = not sample.jobs
        with suppress(OSError):
            write_atomically(self._path, json.dumps(asdict(sample)), durable=False)

    def remove(self) -> None:
        """Take the file away: nothing was lost with this supervisor."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def read_samples(submit: Path) -> Sequence[NodeSample]:
    """Return the last looks of all supervisors that did not end in good order; what is torn is left out."""
    found: list[NodeSample] = []
    for path in (submit / SAMPLES_NAME).glob("*.json"):
        with suppress(OSError, DamagedFileError, TypeError, KeyError):
            values = read_json_object(path) or {}
            jobs = tuple(Holding(**job) for job in values.pop("jobs"))
            found.append(NodeSample(**values, jobs=jobs))
    return found
