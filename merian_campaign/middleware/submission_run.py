"""What a driver does for one submission: run it, collect what it left, and clean up after dead drivers.

Every method may be repeated: a driver that takes over from a dead one goes through the same calls.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

from merian_campaign.domain.errors import ForeignError
from merian_campaign.domain.execution.journal import JournalEvent, parse_lines
from merian_campaign.domain.execution.runs import RunEnd, RunResult, Salvaged, from_json
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.safe_text.json_values import WrongValueError
from merian_campaign.domain.stack.stack_versions import Versions
from merian_campaign.host import termination
from merian_campaign.host.atomic_files import open_append, write_atomically, write_json
from merian_campaign.host.ownership import require_submission
from merian_campaign.host.regular_files import DamagedFileError, read_bytes, read_json_object, read_lines
from merian_campaign.host.stage_times import STAGE_TIMES, note_times, timed
from merian_campaign.middleware import bps_run, programs
from merian_campaign.middleware.helper_client import ButlerHelper, HelperError
from merian_campaign.middleware.submit_in_process import Target
from merian_campaign.wms import version_lookup

_POLL_SECONDS = 0.3
_STOP_SECONDS = 3.0
"""How long a command of an action may take to end when it is cancelled."""


class SubmissionRun:
    """The work of one submission under one driver.

    Parameters
    ----------
    directory : `str`
        The submission's directory.
    epoch : `int`
        The driver's epoch.
    campaign : `str`, optional
        UUID of the campaign, which the directory must be of.
    target : `Target`
        Where its outputs belong.
    warm : `bool`
        Whether our WMS service runs it, stages included.
    environ : `~collections.abc.Mapping`
        The driver's environment.
    trusted : `~collections.abc.Sequence` [`str`], optional
        Groups whose members may write the submission.
    """

    def __init__(
        self,
        *,
        directory: str,
        epoch: int,
        campaign: str = "",
        target: Target,
        warm: bool,
        environ: Mapping[str, str],
        trusted: Sequence[str] = (),
    ) -> None:
        self.paths = SubmissionPaths(directory=directory)
        self._trusted = tuple(trusted)
        self._epoch = epoch
        self._campaign = campaign
        self._target = target
        self._warm = warm
        self._environ = {
            **programs.environment(environ, marker=f"{directory}#run{epoch}"),
            STAGE_TIMES: self.paths.stages,
        }
        helper_environ = programs.environment(environ, marker=f"{directory}#helper{epoch}")
        self._helper = ButlerHelper(environ=helper_environ, log=self.paths.driver_log)
        # The driver was started under the epoch before its claim.
        self._own = frozenset({f"driver{epoch - 1}", f"helper{epoch}"})
        self._predicting = False

    def reap(self) -> int:
        """End all processes of the submission on this host but this driver's own two."""
        return termination.reap(self.paths.directory, keep=self._own)

    def stop_all(self) -> None:
        """End every process of this submission on this host, but this one."""
        termination.reap(self.paths.directory)

    def was_started(self) -> bool:
        """Say whether an earlier driver had begun the work."""
        return Path(self.paths.started).exists()

    def ended(self) -> bool:
        """Say whether a driver has written how it ended: then all is done.

        Raises
        ------
        UntrustedError
            Raised if others may have written what lies in the submission.
        ForeignError
            Raised if the directory is of another campaign: what runs there is not ours to end.
        """
        require_submission(self.paths.directory, trusted=self._trusted)
        require_own(self.paths.directory, campaign=self._campaign)
        return read_outcome(self.paths.directory) is not None

    def mark_started(self) -> None:
        """Note that the work begins."""
        write_atomically(Path(self.paths.started), f"{self._epoch}\n")

    def follows(self, *, left: datetime, claimed: datetime) -> None:
        """Note since when the submission had no driver, and when this one took over."""
        note_times(self.paths.stages, name="driver", left=left, claimed=claimed)

    def timed(self, lock: AbstractContextManager[None], *, name: str) -> AbstractContextManager[None]:
        """Return a lock of the repository with which it is written down how long it was waited for."""
        return timed(lock, file=self.paths.stages, name=name)

    def run(self, *, go_on: Callable[[], bool]) -> RunResult:
        """Run the submission to its end; the predicted quanta are written down once the graph is there.

        Raises
        ------
        DamagedFileError
            Raised if what is to be submitted is no file any more: BPS would wait for a FIFO.
        """
        if not read_bytes(self.paths.yaml).strip():
            raise DamagedFileError(self.paths.yaml, "there is nothing in it")
        why = "" if self._warm else self._preflight()
        if why:
            return bps_run.refused(why)

        def tend() -> bool:
            if not self._warm and not self._predicting and bps_run.find_graph(self.paths) is not None:
                self._ask_predicted()
            return go_on()

        return bps_run.submit(self.paths, command=self._command(), environ=self._environ, tend=tend)

    def _preflight(self) -> str:
        """Return why no graph should be built, if so; our own service looks for itself."""
        if not Path(self.paths.preflight).exists():
            return ""
        try:
            return str(self._helper.ask("preflight", directory=self.paths.directory)["refused"])
        except HelperError as error:
            self._log(f"preflight: note: it failed: {error}")
            return ""

    def _command(self) -> list[str]:
        if not self._warm:
            bps = [sys.executable, "-P", "-m", "merian_campaign.wms.scrubbed_bps"]
            return [*bps, "--long-log", "submit", self.paths.yaml]
        target = self._target
        return programs.own(
            "submit", self.paths.directory,
            "--repository", target.repository, "--run", target.run, "--chain", target.chain,
        )  # fmt: skip

    def _ask_predicted(self) -> None:
        graph = bps_run.find_graph(self.paths)
        if graph is not None and not self._predicting:
            self._predicting = True
            self._helper.send("predicted", graph=str(graph), out=self.paths.predicted)

    def collect(self) -> str | None:
        """Bring the outputs into the butler and the quanta into files.

        Returns
        -------
        error : `str` or `None`
            Why it could not be done; `None` too when there is no graph and so nothing to collect.
        """
        require_submission(self.paths.directory, trusted=self._trusted)
        if bps_run.find_graph(self.paths) is None or Path(self.paths.collected).exists():
            return None
        try:
            self._ask_predicted()
            self._helper.answer()
            if Path(self.paths.provenance).exists():
                try:
                    self._harvest()
                except HelperError as error:
                    # A final job that failed may leave a part of the graph, which opens for nobody.
                    self._log(f"{self.paths.provenance} cannot be read, ingest is done again: {error}")
                else:
                    return None
            why = self._ingest()
            if why is None:
                self._harvest()
        except HelperError as error:
            return str(error)
        return why

    def _ingest(self) -> str | None:
        """Bring the outputs into the butler; return why that failed."""
        self._set_aside_torn()
        error = bps_run.aggregate(self.paths, repository=self._target.repository, environ=self._environ)
        return None if error is None else f"ingest failed: {error}"

    def _harvest(self) -> None:
        paths = self.paths
        logs = str(Path(paths.bps) / "logs")
        self._helper.ask(
            "harvest",
            provenance=paths.provenance, logs=logs, out=paths.harvest, journal=paths.journal, torn=paths.torn,
        )  # fmt: skip

    def _set_aside_torn(self) -> None:
        """Move files out of the way that ingest could not read: they cost their quantum, not the run."""
        graph = bps_run.find_graph(self.paths)
        repository = self._target.repository
        answer = self._helper.ask("set_aside", graph=str(graph), repository=repository, out=self.paths.torn)
        if answer["found"]:
            self._log(
                f"{answer['found']} files that cannot be read were set aside; {self.paths.torn} says which"
            )

    def ran(self) -> bool:
        """Say whether any quantum was started."""
        lines = "\n".join(read_lines(self.paths.journal))
        return any(record.event == JournalEvent.STARTED for record in parse_lines(lines))

    def salvage(self) -> Salvaged:
        """Take from the butler what an earlier driver had made whose directory is gone."""
        target = self._target
        try:
            found = self._helper.ask(
                "salvage", directory=self.paths.directory, repository=target.repository, run=target.run
            )
        except HelperError as error:
            return Salvaged(trouble=str(error))
        return Salvaged(source=found["source"], quanta=found["quanta"])

    def prepend(self) -> None:
        """Put the submission's RUN first in its step's chain."""
        target = self._target
        if not Path(self.paths.collected).exists():
            self._helper.ask("prepend", repository=target.repository, chain=target.chain, run=target.run)

    def versions(self) -> Versions:
        """Take the versions of the LSST stack that this driver sees, and keep them in a file."""
        found = version_lookup.take(self._environ)
        version_lookup.keep(Path(self.paths.versions), found)
        return found

    def act(self, *, name: str, arguments: Mapping[str, Any], go_on: Callable[[], bool]) -> RunResult:
        """Do a butler action; when ``go_on`` says `False`, end it with all that it started."""
        helper = self._helper
        try:
            helper.send("action", name=name, repository=self._target.repository, arguments=dict(arguments))
            while not helper.has_answered(within=_POLL_SECONDS):
                if not go_on():
                    helper.stop(patience=_STOP_SECONDS)
                    self.reap()
                    return RunResult(end=RunEnd.CANCELLED, reason="cancelled on request")
            answer = helper.answer()
        except HelperError as error:
            reason = str(error).removeprefix("ActionError: ")
            return RunResult(end=RunEnd.FAILED, reason=reason, needs_person=error.needs_person)
        self._log(f"{answer['command']}\n{answer['found']}")
        return RunResult(
            end=RunEnd.RAN,
            reason=answer["found"] if not answer["changed"] else answer["command"],
            needs_person=bool(answer.get("unfinished")),
        )

    def _log(self, text: str) -> None:
        with os.fdopen(open_append(self.paths.driver_log), "a", encoding="utf-8", errors="replace") as log:
            log.write(text + "\n")

    def write_outcome(self, value: Mapping[str, Any]) -> None:
        """Write how the driver ended, once and whole."""
        write_json(Path(self.paths.outcome), dict(value))

    def close(self) -> None:
        """End the helper process."""
        self._helper.close()


def whose(directory: str) -> str:
    """Return the UUID of the campaign that a directory says it is of; empty when it does not say."""
    try:
        found = read_json_object(SubmissionPaths(directory=directory).identity, follow=False)
    except DamagedFileError:
        return ""
    campaign = "" if found is None else found.get("campaign", "")
    return campaign if isinstance(campaign, str) else ""


def require_own(directory: str, *, campaign: str) -> None:
    """Refuse a directory that says it is of another campaign.

    Raises
    ------
    ForeignError
        Raised if it is: what lies and runs there is another's.
    """
    found = whose(directory)
    if found and campaign and found != campaign:
        raise ForeignError(FOREIGN.format(directory=directory))


FOREIGN = (
    "{directory}: is of another tracking database, or of an earlier campaign of this name; move it away, or "
    "give the campaign a work_dir or a name of its own"
)


def read_outcome(directory: str) -> RunResult | None:
    """Return what a submission's outcome file says; `None` while there is none.

    One that a driver of another campaign has written, e.g. of an earlier life of this one, counts as none.

    Raises
    ------
    DamagedFileError
        Raised if it is not what a driver writes.
    """
    path = SubmissionPaths(directory=directory).outcome
    # Through no link: what some of them lead to fails as a failing disk does, which is no group's fault.
    found = read_json_object(path, follow=False)
    try:
        result = None if found is None else from_json(found)
    except WrongValueError as error:
        raise DamagedFileError(path, str(error)) from None
    wrote = (found or {}).get("campaign") or ""
    return None if wrote and whose(directory) not in {"", wrote} else result
