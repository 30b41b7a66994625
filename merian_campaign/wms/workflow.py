"""The Parsl workflow of a submission: from BPS's jobs to outcomes, and back to a state it can resume from.

The journal is the checkpoint: a job that ended well there is not launched again.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

import parsl
from lsst.ctrl.bps.parsl import ParslJob, ParslWorkflow
from lsst.ctrl.bps.parsl.configuration import get_bps_config_value, set_parsl_logging
from parsl.executors.errors import BadStateException

from merian_campaign.domain.execution.journal import JobVerdict, JournalEvent, JournalRecord
from merian_campaign.domain.execution.quantum_progress import JournalState, fold
from merian_campaign.domain.safe_text.last_error import last_error
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.host.atomic_files import open_append
from merian_campaign.host.processes import alive, identity, this_host
from merian_campaign.host.regular_files import read_tail, read_text
from merian_campaign.wms.driver import Driver
from merian_campaign.wms.execution import Execution, JobResult, Tally
from merian_campaign.wms.journal_writer import Journal
from merian_campaign.wms.launcher import Launcher, StageError
from merian_campaign.wms.node.process_cleanup import reap, register
from merian_campaign.wms.sites.base import CampaignSite
from merian_campaign.wms.sites.block_error_handler import fail_all
from merian_campaign.wms.slurm_blocks import UnreachableError, cancel_submission
from merian_campaign.wms.stages import current, final_commands
from merian_campaign.wms.upstream import interchange_of, parsl_is_loaded

__all__ = ["FINISHED", "STOPPED", "CampaignWorkflow", "StageError", "StoppedError"]

FINISHED = "finished"
"""The reason in the journal's last line when all went well, ingest included."""

STOPPED = "stopped by"
"""How that reason begins when somebody stopped the submission."""

_DRAIN_SECONDS = 5.0
_BY_SIGNAL = 128


class StoppedError(RuntimeError):
    """The submission was stopped by a signal or by ``bps cancel``; it can be restarted.

    Parameters
    ----------
    number : `int`
        The signal, SIGTERM for a cancel.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"{STOPPED} {signal.Signals(number).name}")
        self.number = number


class CampaignWorkflow(ParslWorkflow):  # type: ignore[misc]
    """Parsl workflow with outcomes; constructed by BPS as upstream's."""

    site: CampaignSite
    _note_stage: Callable[[JournalRecord], None] | None = None

    @cached_property
    def submit(self) -> Path:
        """The submit directory."""
        return Path(get_bps_config_value(self.bps_config, "submitPath", str, required=True))

    def start(self) -> None:
        """Do nothing yet; `run` does everything, so that a failure anywhere is journalled."""

    def execute_all(self, *, resumed: bool) -> Tally:
        """Run the submission to its end.

        Parameters
        ----------
        resumed : `bool`
            Leave out the initialization, which an earlier run has done.

        Raises
        ------
        StageError
            Initialization or ingest failed.
        StoppedError
            It was stopped before the end.
        DriverRunningError, TimeoutError
            Another driver runs it, or its leftovers would not go.
        """
        stop = _Stop()
        spare = current().pids
        driver = Driver(submit=self.submit, on_cancel=stop.cancel, spare=spare)
        driver.open()
        self._note_stage = driver.note_stage
        reason = "failed"
        try:
            with stop.signals():
                if not resumed:
                    self.initialize_jobs()
                stop.check()
                tally = self._run_payload(driver, stop)
                self.finalize_jobs()
            reason = FINISHED
        except StoppedError as stopped:
            reason = str(stopped)
            raise
        else:
            return tally
        finally:
            self._leave_nothing(spare)
            driver.close(reason=reason)

    def _leave_nothing(self, spare: Collection[int]) -> None:
        """End what still runs of the submission, in Slurm and on this host."""
        try:
            cancel_submission(self.submit)
        except (TimeoutError, UnreachableError) as error:
            # Its workers end by themselves: the driver's lease and the interchange are gone.
            sys.stderr.write(f"Slurm jobs of {self.submit} may be left: {error}\n")
        with suppress(TimeoutError):
            reap(self.submit, spare=spare)

    def _run_payload(self, driver: Driver, stop: "_Stop") -> Tally:
        launcher = Launcher(self, driver)
        execution = Execution(parents=launcher.parents, launch=launcher.launch, own_error=launcher.own_error)
        settings = launcher.settings
        if settings.socket:
            current().configure(settings)
        # Parsl writes two kilobytes of log a job, which costs more than handing the job over.
        if get_bps_config_value(self.bps_config, ".parsl.log_level", str) is None:
            logging.getLogger("parsl").setLevel(logging.WARNING)
            logging.getLogger("parsl.dataflow.dflow").addFilter(_in_one_line)
        else:
            set_parsl_logging(self.bps_config)
        self.dfk = parsl.load(
            self.site.campaign_config(
                submit=self.submit,
                socket=settings.socket if self.site.own_host else current().socket,
                on_failure=launcher.lost_attempt,
                retries_of=launcher.retries_of,
            )
        )
        _register_interchanges(self.dfk, self.submit)
        launcher.bind()
        try:
            execution.hand_over(stop.event)
            finished = execution.wait(stop.event, check=lambda: _fail_if_broken(self.dfk))
            if not finished:
                driver.stopping()
                _drain(driver.journal)
        finally:
            driver.stopping()  # supervisors end with the payload, also when Parsl broke
            if self.dfk is not None:
                self.shutdown()
        stop.check()
        _say_lost(execution)
        return execution.tally()

    def shutdown(self) -> None:
        """Stop Parsl and its blocks.

        Raises
        ------
        RuntimeError
            Raised before `start`, as the stock service does.
        """
        if self.dfk is None:
            raise RuntimeError("Workflow not started.")
        dfk, self.dfk = self.dfk, None
        dfk.cleanup()
        parsl.DataFlowKernelLoader.clear()

    def initialize_jobs(self) -> None:
        """Run the initialization, warm if possible.

        Raises
        ------
        StageError
            It failed.
        """
        job = self.jobs.get("pipetaskInit")
        if job is not None and not job.done:
            self._run_stage(job, [job.evaluate_command_line(job.get_command_line(allow_stage=False))])

    def finalize_jobs(self) -> None:
        """Run the final job (ingest), warm if it is nothing but plain commands.

        Raises
        ------
        StageError
            It failed.
        """
        job = self.final
        if job is None or job.done:
            return
        command = job.evaluate_command_line(job.get_command_line(allow_stage=False))
        script, *arguments = command.split()
        commands: list[str] | None = None
        if len(arguments) == 2 and Path(script).suffix == ".bash":  # noqa: PLR2004 - graph and repository
            graph, repository = arguments
            commands = final_commands(read_text(script), graph=graph, repository=repository)
        self._run_stage(job, commands or [command], traced=commands is not None)

    def _run_stage(self, job: ParslJob, commands: list[str], *, traced: bool = False) -> None:
        for path in (job.stdout, job.stderr):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            os.close(open_append(path, empty=True))
        self._note(job, verdict=None)
        verdict, code = JobVerdict.FAILED, None
        try:
            code = self._run_commands(job, commands, traced=traced)
            verdict = JobVerdict.OK if code == 0 else JobVerdict.FAILED
        except StoppedError:
            verdict = JobVerdict.CANCELLED
            raise
        finally:
            self._note(job, verdict=verdict, code=code)
        if code != 0:
            why = one_line(last_error(read_tail(job.stderr), read_tail(job.stdout)), limit=300)
            raise StageError(f"{job.name} failed with exit status {code}, see {job.stderr}: {why}")
        job.done = True

    def _run_commands(self, job: ParslJob, commands: list[str], *, traced: bool) -> int:
        """Run commands of a stage until one fails; return the last exit status."""
        for command in commands:
            # The script has "set -x": its trace is the command line on record.
            trace = f"+ {command.strip()}\n" if traced else ""
            code = current().run(command, stdout=job.stdout, stderr=job.stderr, name=job.name, trace=trace)
            if code != 0:
                return code
        return 0

    def _note(self, job: ParslJob, *, verdict: JobVerdict | None, code: int | None = None) -> None:
        """Write into the journal that a stage began, or how it ended."""
        if self._note_stage is not None:
            signalled = code is not None and code > _BY_SIGNAL
            self._note_stage(
                JournalRecord(
                    event=JournalEvent.STAGE,
                    job=job.name,
                    label=job.name,
                    verdict=verdict,
                    exit=None if signalled else code,
                    signal=code - _BY_SIGNAL if code is not None and signalled else None,
                )
            )


class _Stop:
    """A request to stop, from a signal or from the submit directory."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._number = int(signal.SIGTERM)

    def cancel(self) -> None:
        self.event.set()

    def check(self) -> None:
        if self.event.is_set():
            raise StoppedError(self._number)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Turn SIGTERM and SIGINT into requests; a stage that waits is interrupted."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handler(number: int, frame: object) -> None:
            del frame
            self._number = number
            first = not self.event.is_set()
            self.event.set()
            if first and not parsl_is_loaded():
                raise StoppedError(number)

        before = {n: signal.signal(n, handler) for n in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)


class BrokenExecutorError(RuntimeError):
    """Parsl's interchange is gone; nothing more will come from its workers."""


def _fail_if_broken(dfk: parsl.DataFlowKernel) -> None:
    """Fail every job of an executor whose interchange died: Parsl itself would wait for ever."""
    for executor in dfk.executors.values():
        process = interchange_of(executor)
        if process is not None and process.poll() is not None and not executor.bad_state_is_set:
            fail_all(
                executor, BrokenExecutorError(f"interchange of {executor.label} ended ({process.returncode})")
            )


def _register_interchanges(dfk: parsl.DataFlowKernel, submit: Path) -> None:
    """Record Parsl's interchange: it writes its title over its environment, so that no mark is left there."""
    for executor in dfk.executors.values():
        process = interchange_of(executor)
        if process is not None:
            register(submit, role="interchange", identity=identity(process.pid))


def _in_one_line(record: logging.LogRecord) -> bool:
    """Cut Parsl's tracebacks of failed jobs to their last line; what fails all of them is said once."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        record.msg, record.args = f"{record.getMessage()}: {error}", ()
        record.exc_info = record.exc_text = None
    return not isinstance(error, BadStateException)


def _say_lost(execution: Execution) -> None:
    """Write why jobs were lost; a reason that many share is written once."""
    lost: dict[str, list[str]] = {}
    for name, error in execution.errors.items():
        if execution.results[name] is JobResult.LOST:
            lost.setdefault(f"{type(error).__name__}: {error}", []).append(name)
    for why, names in lost.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        sys.stderr.write(f"{names[0]}{others}: {why}\n")


def _drain(journal: Journal) -> None:
    """Wait until every quantum of this host has ended by the journal, for a few seconds at most."""
    deadline = time.monotonic() + _DRAIN_SECONDS
    while time.monotonic() < deadline:
        going = [
            progress.record
            for progress in fold(journal.read()).values()
            if progress.state is JournalState.RUNNING
        ]
        here = this_host()
        if not any(r.host != here or (r.pid is not None and alive(r.pid, r.pid_start or 0)) for r in going):
            return
        time.sleep(0.1)
