"""Driver processes as a tick sees them: start one detached, and say whether it lives."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from merian_campaign.domain.clock_skew import holds
from merian_campaign.domain.execution import journal
from merian_campaign.domain.execution.journal_lines import JournalLines
from merian_campaign.domain.execution.liveness import Liveness
from merian_campaign.domain.execution.provenance import (
    LineReport,
    Predicted,
    RawQuantum,
    parse_harvest,
    parse_predicted,
)
from merian_campaign.domain.execution.runs import RunResult
from merian_campaign.domain.record.snapshot import SubmissionView
from merian_campaign.domain.record.wall_time import DriverTimes, parse_gaps, parse_stage_times
from merian_campaign.domain.remains import Remains
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.slurm.blocks import BLOCKS_NAME, BlockLine, parse_block_lines
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.domain.stack.stack_versions import sha_of
from merian_campaign.domain.states import SubmissionState
from merian_campaign.host import processes
from merian_campaign.host.atomic_files import write_if_changed
from merian_campaign.host.modes import is_shared, shared_with_group
from merian_campaign.host.ownership import require_submission
from merian_campaign.host.regular_files import (
    MEDIUM,
    DamagedFileError,
    read_appended,
    read_json_object,
    read_lines,
)
from merian_campaign.middleware import environment_check, programs
from merian_campaign.middleware.predicted_lines import PredictedLines
from merian_campaign.middleware.remains import read_remains
from merian_campaign.middleware.submission_run import FOREIGN, read_outcome, require_own


class _LineParser[Q](Protocol):
    def __call__(self, lines: Iterable[str | bytes], *, wrong: LineReport | None) -> tuple[Q, ...]: ...


class LocalDrivers:
    """Drivers as processes on this host.

    What lies in a submission is read, and run, when nobody else can have written it: else the methods raise
    `~merian_campaign.host.ownership.UntrustedError`.

    Parameters
    ----------
    environ : `~collections.abc.Mapping`
        Environment for drivers (database, home, the survey's own variables).
    """

    def __init__(self, *, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._trusted: tuple[str, ...] = ()
        self._shared = False
        self._campaign = ""
        self._predicted_lines = PredictedLines()

    def settle_in(self, *, trusted: Sequence[str], repository: str, shared: bool, campaign: str = "") -> None:
        """Say for which campaign the other methods are called from now on: whom it trusts, what it shares."""
        self._campaign = campaign
        self._trusted = tuple(trusted)
        self._shared = shared or is_shared(repository)

    def _believe(self, directory: str, path: str) -> None:
        """Refuse a file of a submission that others may have written; one that is not there is no matter."""
        if os.path.lexists(path):
            require_submission(directory, path, trusted=self._trusted)

    def require_own(self, directory: str) -> None:
        """Refuse a submission's directory that has come to be another campaign's.

        Raises
        ------
        ForeignError
            Raised if it is: its driver, jobs and files are not to be touched.
        """
        self._believe(directory, SubmissionPaths(directory=directory).identity)
        require_own(directory, campaign=self._campaign)

    def liveness(self, submission: SubmissionView, *, now: datetime) -> Liveness:
        """Say what is known of a submission's driver.

        On this host the process itself is looked at; of another host, and of a process that is hidden here,
        only the lease can be judged.
        """
        if self.outcome(submission.directory) is not None:
            return Liveness.ENDED
        if submission.state is SubmissionState.PREPARED or submission.driver is None:
            return Liveness.UNCLAIMED
        driver = submission.driver
        lives: bool | None = None
        if driver.host == processes.this_host():
            lives = processes.sees_alive(driver.pid, driver.pid_start)
        if lives is None:
            lives = holds(submission.lease_expires_at, now=now)
        return Liveness.ALIVE if lives else Liveness.DEAD

    def prepare(self, *, directory: str, files: Mapping[str, str]) -> None:
        """Write a submission's files, unless its work was begun: then they stay as they were.

        Raises
        ------
        UntrustedError
            Raised if others may write the folder, or have written in it.
        """
        paths = SubmissionPaths(directory=directory)
        require_submission(directory, trusted=self._trusted)
        if Path(paths.started).exists():
            return
        if paths.stack not in files:
            Path(paths.stack).unlink(missing_ok=True)
        with shared_with_group(self._shared):
            for path, text in files.items():
                write_if_changed(Path(path), text)
        # Now that the folders are there: better at once than when hours of work are to be read.
        require_submission(directory, trusted=self._trusted)

    def command(self, submission: SubmissionView) -> tuple[str, ...]:
        """Return the command that drives a submission, in its stack if it has one.

        Raises
        ------
        UntrustedError
            Raised if others may have written what it would run or rest on.
        """
        require_submission(submission.directory, trusted=self._trusted)
        words = ("drive", str(submission.id), "--epoch", str(submission.epoch))
        paths = SubmissionPaths(directory=submission.directory)
        if Path(paths.stack).is_file():
            return in_stack(paths.stack, words=words, output=f"{submission.directory}/stack.out")
        return tuple(programs.own(*words))

    def launch(self, *, submission: SubmissionView, environment: Mapping[str, str]) -> int:
        """Start a driver in a session of its own; return its pid."""
        paths = SubmissionPaths(directory=submission.directory)
        marker = f"{submission.directory}#driver{submission.epoch}"
        environ = programs.environment({**self._environ, **environment}, marker=marker)
        with shared_with_group(self._shared):
            return processes.start_detached(
                self.command(submission),
                directory=Path(submission.directory),
                log=Path(paths.driver_log),
                environment=environ,
            )

    def predicted(
        self, directory: str, *, wrong: LineReport | None = None, only: Collection[str] | None = None
    ) -> tuple[Predicted, ...]:
        """Return the quanta of a submission's graph, as far as they were written down.

        Parameters
        ----------
        directory : `str`
            The submission's.
        wrong : `LineReport`, optional
            Where to say which lines cannot be taken; they are left out in any case.
        only : `~collections.abc.Collection` [`str`], optional
            UUIDs of quanta; no line of another one is parsed, and what was read once is not read again.

        Raises
        ------
        DamagedFileError
            Raised if what is there is no file of lines, or none of its lines can be taken.
        """
        path = SubmissionPaths(directory=directory).predicted
        if only is None:
            return self._quanta(directory, path, parse_predicted, wrong)
        self._believe(directory, path)
        lines = self._predicted_lines.of(path)
        return parse_predicted([lines[uuid] for uuid in only if uuid in lines], wrong=LineReport())

    def harvested(self, directory: str, *, wrong: LineReport | None = None) -> tuple[RawQuantum, ...]:
        """Return the quanta of a submission's provenance graph, none when there is none; as `predicted`."""
        return self._quanta(directory, SubmissionPaths(directory=directory).harvest, parse_harvest, wrong)

    def _quanta[Q](
        self, directory: str, path: str, parse: _LineParser[Q], wrong: LineReport | None
    ) -> tuple[Q, ...]:
        self._believe(directory, path)
        found = LineReport()
        quanta = parse(read_lines(path, follow=False), wrong=found)
        if found.number and not quanta:
            raise DamagedFileError(path, str(found))
        if wrong is not None:
            wrong.join(found)
        return quanta

    def foreign(self, directory: str, *, identity: Mapping[str, object]) -> str:
        """Say in words that a directory is of another database, or of an earlier life; else nothing.

        Parameters
        ----------
        directory : `str`
            Where a submission is to be made.
        identity : `~collections.abc.Mapping`
            What its ``identity.json`` has to say.
        """
        paths = SubmissionPaths(directory=directory)
        what_to_do = "move it away, or give the campaign a work_dir or a name of its own"
        self._believe(directory, paths.identity)
        try:
            found = read_json_object(paths.identity, follow=False)
        except DamagedFileError as error:
            return f"{error}; {what_to_do}"
        if found is None:
            ran = Path(paths.started).exists() or Path(paths.outcome).exists()
            return f"{directory}: something ran there that nobody here knows of; {what_to_do}" if ran else ""
        if all(found.get(key) == value for key, value in identity.items()):
            return ""
        return FOREIGN.format(directory=directory)

    def records(self, directory: str) -> JournalLines:
        """Return a submission's journal, empty while there is none; errors as of `predicted`."""
        lines, _, _ = self._lines(directory, start=0)
        return lines

    def appended(self, directory: str, *, start: int = 0) -> journal.JournalPart:
        """Return what stands in a submission's journal after a byte; errors as of `predicted`."""
        lines, begin, end = self._lines(directory, start=start)
        return journal.JournalPart(records=lines, start=begin, end=end)

    def _lines(self, directory: str, *, start: int) -> tuple[JournalLines, int, int]:
        """Return the lines of a journal after a byte, and between which bytes they stand."""
        path = SubmissionPaths(directory=directory).journal
        self._believe(directory, path)
        lines = JournalLines()
        found, end = read_appended(path, start=start, follow=False)
        begin = end - len(found)
        while found:
            lines.add(found.decode("utf-8", "replace"))
            found, end = read_appended(path, start=end, follow=False)
        return lines, begin, end

    def block_lines(self, directory: str) -> tuple[BlockLine, ...]:
        """Return what a submission wrote down of its Slurm jobs, if anything; errors as of `predicted`."""
        file = Path(SubmissionPaths(directory=directory).bps) / BLOCKS_NAME
        self._believe(directory, str(file))
        return parse_block_lines("\n".join(read_lines(file, limit=MEDIUM, follow=False)))

    def times(self, directory: str) -> DriverTimes:
        """Return when a submission's driver worked; errors as of `predicted`."""
        paths = SubmissionPaths(directory=directory)
        self._believe(directory, paths.stages)
        lines: list[str] = []
        with suppress(DamagedFileError):  # nothing depends on it
            lines = read_lines(paths.stages, limit=MEDIUM, follow=False)
        text = "\n".join(lines)
        return DriverTimes(
            began=_changed(paths.started),
            ended=_changed(paths.outcome),
            stages=parse_stage_times(text),
            gaps=parse_gaps(text),
        )

    def outcome(self, directory: str) -> RunResult | None:
        """Return how a submission's driver ended; `None` while it has not."""
        self._believe(directory, SubmissionPaths(directory=directory).outcome)
        return read_outcome(directory)

    def release(self, *, stack: Stack) -> str:
        """Return the digest of the versions that a driver would find; empty when only the driver can say."""
        if stack.sets_up:
            return ""
        from merian_campaign.wms.version_lookup import take  # noqa: PLC0415 - few ticks ask for it

        return sha_of(take(self._environ))

    def remains(self, folder: str) -> tuple[Remains, ...]:
        """Return what lies in the directories of a campaign's submissions, for a database without them.

        Raises
        ------
        UntrustedError
            Raised if others may have written there.
        """
        return read_remains(folder, trusted=self._trusted)

    def unfit(self, *, stack: Stack, folder: str) -> str:
        """Return in words why no driver could run from here, with what to do; empty when one can."""
        return environment_check.unfit(stack=stack, folder=folder, environ=self._environ)


def in_stack(file: str, *, words: Sequence[str], output: str) -> tuple[str, ...]:
    """Return a command line that runs a command of ours in a stack.

    Parameters
    ----------
    file : `str`
        Bash text that sets the stack up.
    words : sequence of `str`
        The command's own words; it gets ``--no-stack REASON`` when the stack cannot be set up.
    output : `str`
        File for what the set-up says.
    """
    script = str(Path(__file__).with_name("in_stack.sh"))
    return ("/bin/bash", script, file, output, sys.executable, *words)


def _changed(path: str) -> datetime | None:
    """Return when a file was last written; `None` when it is not there."""
    try:
        return datetime.fromtimestamp(Path(path).lstat().st_mtime, tz=UTC)
    except OSError:
        return None
