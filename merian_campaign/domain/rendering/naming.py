"""One grammar for collections and paths, with its inverse.

::

    step output   <campaign output>/<step>            CHAINED, all RUNs of the step (or as the file says)
    group output  <step output>/<group>               CHAINED, kept by BPS
    RUN           <step output>/<group>/<NNN>         one a submission, NNN = 001, 002 ...
    directory     <root>/<campaign>/<step>/<group key>/<NNN>

``<group>`` is the group's key, and for its generation g, from the second on, ``<group key>.g<g>``: no key has
a dot in it. Submissions are numbered through all generations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_NUMBER = re.compile(r"(?!000)[0-9]{3}|[1-9][0-9]{3,}")
_GENERATION = re.compile(r"(.+)\.g([2-9]|[1-9][0-9]{1,8})", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class RunName:
    """The parts of a RUN collection's name."""

    step_output: str
    group: str
    number: int
    generation: int = 1


def group_output(*, step_output: str, group: str, generation: int = 1) -> str:
    """Return the chain of one generation of a group."""
    return f"{step_output}/{group}" if generation == 1 else f"{step_output}/{group}.g{generation}"


def run_collection(name: RunName) -> str:
    """Return the RUN collection of a submission."""
    chain = group_output(step_output=name.step_output, group=name.group, generation=name.generation)
    return run_below(chain, number=name.number)


def run_below(chain: str, *, number: int) -> str:
    """Return the RUN collection of a submission, below the chain of its group and generation."""
    return f"{chain}/{number:03d}"


def parse_run_collection(run: str) -> RunName:
    """Return the parts of a RUN collection's name; the inverse of `run_collection`.

    Raises
    ------
    ValueError
        Raised if the name was not made by this grammar.
    """
    step_output, _, rest = run.rpartition("/")
    step_output, _, group = step_output.rpartition("/")
    if not step_output or not group or not _NUMBER.fullmatch(rest):
        raise ValueError(f"{run!r} is not <step output>/<group>/<NNN>")
    later = _GENERATION.fullmatch(group)
    group, generation = (group, 1) if later is None else (later[1], int(later[2]))
    return RunName(step_output=step_output, group=group, number=int(rest), generation=generation)


def submission_directory(*, root: str, campaign: str, step: str, group: str, number: int) -> str:
    """Return the directory of a submission."""
    return str(PurePosixPath(root) / campaign / step / group / f"{number:03d}")


@dataclass(frozen=True, kw_only=True)
class SubmissionPaths:
    """Where the files of one submission lie.

    Parameters
    ----------
    directory : `str`
        The submission's own directory.
    """

    directory: str

    def _path(self, name: str) -> str:
        return f"{self.directory.rstrip('/')}/{name}"  # a path of pathlib takes most of the time of rendering

    @property
    def yaml(self) -> str:
        """The rendered BPS submit file."""
        return self._path("submit.yaml")

    @property
    def bps(self) -> str:
        """BPS's submit directory (``submitPath``); made by BPS, must not exist before."""
        return self._path("bps")

    @property
    def journal(self) -> str:
        """One line a quantum event, written while it runs."""
        return self._path("bps/journal.jsonl")

    @property
    def provenance(self) -> str:
        """The provenance graph, the truth about quanta."""
        return self._path("bps/provenance.qg")

    @property
    def stages(self) -> str:
        """When its stages waited for the repository's lock, and worked; one JSON object a line."""
        return self._path("stages.jsonl")

    @property
    def driver_log(self) -> str:
        """Output of the driver and of ``bps submit``."""
        return self._path("driver.log")

    def driver_script(self, epoch: int) -> str:
        """Return the place of the batch script of a driver that is a Slurm job."""
        return self._path(f"driver{epoch}.sh")

    @property
    def stack(self) -> str:
        """How the LSST environment is set up (bash), where a campaign or site says so."""
        return self._path("stack.sh")

    @property
    def versions(self) -> str:
        """The versions of the LSST stack that its driver found (JSON)."""
        return self._path("versions.json")

    @property
    def progress(self) -> str:
        """What the driver has come to (JSON, replaced atomically)."""
        return self._path("progress.json")

    @property
    def outcome(self) -> str:
        """How the driver ended (JSON, written once, atomically)."""
        return self._path("outcome.json")

    @property
    def predicted(self) -> str:
        """The quanta of the graph (JSON lines)."""
        return self._path("predicted.jsonl")

    @property
    def harvest(self) -> str:
        """The quanta with their attempts, out of the provenance graph (JSON lines)."""
        return self._path("harvest.jsonl")

    @property
    def torn(self) -> str:
        """Files of its quanta that could not be read and were set aside (JSON lines)."""
        return self._path("torn.jsonl")

    @property
    def collected(self) -> str:
        """Marker: outputs are in the butler and in the step's chain, quanta are written down."""
        return self._path("collected.json")

    @property
    def hold(self) -> str:
        """Quanta that must not be run again (JSON)."""
        return self._path("hold.json")

    @property
    def preflight(self) -> str:
        """What to look at before the group's first graph is built (JSON)."""
        return self._path("preflight.json")

    @property
    def findings(self) -> str:
        """What was found by looking (JSON)."""
        return self._path("findings.json")

    @property
    def identity(self) -> str:
        """Whose it is: campaign, group and number, and the database that knows them (JSON)."""
        return self._path("identity.json")

    @property
    def started(self) -> str:
        """Marker: the work of this submission was begun (holds the epoch)."""
        return self._path("started")
