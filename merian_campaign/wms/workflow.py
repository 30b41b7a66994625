"""The Parsl workflow of a submission: from BPS's jobs to outcomes, and back to a state it can resume from.

The journal is the checkpoint: a job that ended well there is not launched again.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import parsl
from lsst.ctrl.bps.parsl import ParslJob, ParslWorkflow
from lsst.ctrl.bps.parsl.configuration import get_bps_config_value, set_parsl_logging
from parsl.app.app import python_app

from merian_campaign.domain.journal import Event, QuantumState, Record, Verdict, fold
from merian_campaign.wms.app import run_job
from merian_campaign.wms.command import quanta_of
from merian_campaign.wms.driver import Driver
from merian_campaign.wms.execution import Execution, JobResult, Tally
from merian_campaign.wms.hold import held_quanta, read_hold_list, within_cluster
from merian_campaign.wms.journal import JOURNAL_NAME, Journal
from merian_campaign.wms.outcome import JobHeldError
from merian_campaign.wms.process import alive
from merian_campaign.wms.reaping import reap
from merian_campaign.wms.sites.base import LOST_WORKER, CampaignSite
from merian_campaign.wms.sites.trouble import fail_all
from merian_campaign.wms.slurm import UnreachableError, cancel_submission
from merian_campaign.wms.stages import current, final_commands

__all__ = ["CampaignWorkflow", "StageError", "StoppedError"]

_LOCAL = frozenset({"pipetaskInit", "mergeExecutionButler"})
_DRAIN_SECONDS = 5.0


class StageError(RuntimeError):
    """A stage of the submission itself (initialization, ingest) failed."""


class StoppedError(RuntimeError):
    """The submission was stopped by a signal or by ``bps cancel``; it can be restarted.

    Parameters
    ----------
    number
        The signal, SIGTERM for a cancel.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class CampaignWorkflow(ParslWorkflow):  # type: ignore[misc]
    """Parsl workflow with outcomes; constructed by BPS as upstream's."""

    site: CampaignSite

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
        resumed
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
        reason = "failed"
        try:
            with stop.signals():
                if not resumed:
                    self.initialize_jobs()
                stop.check()
                tally = self._run_payload(driver, stop)
                self.finalize_jobs()
            reason = "finished"
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
        launcher = _Launcher(self, driver)
        execution = Execution(parents=launcher.parents, launch=launcher.launch)
        settings = launcher.settings
        if settings.socket:
            current().configure(settings)
        # Parsl writes two kilobytes of log a job, which costs more than handing the job over.
        if get_bps_config_value(self.bps_config, ".parsl.log_level", str) is None:
            logging.getLogger("parsl").setLevel(logging.WARNING)
        else:
            set_parsl_logging(self.bps_config)
        jobs = (job.generic for job in self.jobs.values())
        times = [_seconds(job.request_walltime, label=job.label) for job in jobs]
        self.site.longest_s = max(filter(None, times), default=None)
        self.dfk = parsl.load(
            self.site.campaign_config(
                submit=self.submit, socket=settings.socket, on_failure=launcher.lost_attempt
            )
        )
        launcher.bind()
        try:
            execution.hand_over(stop.event)
            finished = execution.wait(stop.event, check=lambda: _fail_if_broken(self.dfk))
            if not finished:
                driver.stopping()
                _drain(driver.journal)
        finally:
            driver.stopping()  # supervisors end with the payload, also when Parsl broke
            self.shutdown()
        stop.check()
        _say_lost(execution)
        return execution.tally()

    def shutdown(self) -> None:
        """Stop Parsl and its blocks."""
        if self.dfk is not None:
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
            commands = final_commands(Path(script).read_text(), graph=graph, repository=repository)
        self._run_stage(job, commands or [command], traced=commands is not None)

    def _run_stage(self, job: ParslJob, commands: list[str], *, traced: bool = False) -> None:
        for path in (job.stdout, job.stderr):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text("")
        for command in commands:
            # The script has "set -x": its trace is the command line on record.
            trace = f"+ {command.strip()}\n" if traced else ""
            code = current().run(command, stdout=job.stdout, stderr=job.stderr, name=job.name, trace=trace)
            if code != 0:
                raise StageError(f"{job.name} failed with exit status {code}; see {job.stderr}")
        job.done = True


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


def parsl_is_loaded() -> bool:
    """Return whether jobs are with Parsl, so that a stop must go through its shutdown."""
    return parsl.DataFlowKernelLoader._dfk is not None  # noqa: SLF001 - no public question


class _Launcher:
    """Makes one Parsl call of each job."""

    def __init__(self, workflow: CampaignWorkflow, driver: Driver) -> None:
        self._workflow = workflow
        self._driver = driver
        self.settings = workflow.site.node_settings(
            submit=workflow.submit, driver=driver.identity, socket=current().socket
        )
        self._text = self.settings.to_json()
        self._done = _jobs_done(Journal(workflow.submit / JOURNAL_NAME))
        self._held, self._edges = self._read_hold()
        self._app: Any = None
        self.parents = {
            name: [p for p in workflow.parents[name] if p not in _LOCAL]
            for name in workflow.jobs
            if name not in _LOCAL
        }

    def bind(self) -> None:
        """Make the Parsl app, once Parsl is loaded."""
        self._app = python_app(executors=[self._workflow.site.label], cache=False)(run_job)

    def launch(self, name: str, before: list[Future[Any]]) -> Future[Any]:
        """Hand one job to Parsl, or say at once how it ended."""
        job = self._workflow.jobs[name]
        command = job.evaluate_command_line(job.get_command_line())
        quanta = quanta_of(command)
        if name in self._done:
            return _ended(None)
        held, left = (
            within_cluster(quanta, held=self._held, edges=self._edges) if self._held else ((), quanta)
        )
        if held:
            self._note(Event.HELD, job, held)
            if not left:
                return _ended(JobHeldError(name))
            command = command.replace(",".join(quanta), ",".join(left))
        self._note(Event.LAUNCHED, job, left)
        future = self._call(job, command=command, quanta=left, before=before)
        return _failing(future, name) if held else future

    def _call(
        self, job: ParslJob, *, command: str, quanta: tuple[str, ...], before: list[Future[Any]]
    ) -> Future[Any]:
        generic = job.generic
        request = {
            "job": job.name,
            "label": generic.label,
            "quanta": list(quanta),
            "command": command,
            "stdout": job.stdout,
            "stderr": job.stderr,
            "requested_mb": generic.request_memory,
            "walltime_s": _seconds(generic.request_walltime, label=generic.label),
            "cpus": generic.request_cpus or 1,
        }
        priority = {"priority": generic.priority} if generic.priority is not None else {}
        future: Future[Any] = self._app(
            self._text, request, inputs=before, parsl_resource_specification=priority
        )
        return future

    def lost_attempt(self, error: Exception, task: Any) -> None:  # noqa: ANN401 - Parsl's task record
        """Write the end of an attempt that no supervisor lived to write."""
        if isinstance(error, LOST_WORKER) and len(task["args"]) > 1:
            request = task["args"][1]
            record = Record(
                event=Event.ENDED,
                job=request["job"],
                label=request["label"],
                quanta=tuple(request["quanta"]),
                verdict=Verdict.NODE_LOST,
                evidence={"driver": f"{type(error).__name__}: {error}"},
            )
            self._driver.journal.write(record)

    def _note(self, event: Event, job: ParslJob, quanta: tuple[str, ...]) -> None:
        label = job.generic.label
        self._driver.journal.write(Record(event=event, job=job.name, label=label, quanta=quanta))

    def _read_hold(self) -> tuple[frozenset[str], dict[str, set[str]]]:
        path = get_bps_config_value(self._workflow.bps_config, "campaignHold", str)
        hold = read_hold_list(Path(path)) if path else ()
        if not hold:
            return frozenset(), {}
        return held_quanta(self._workflow.bps_config["runQgraphFile"], hold)


def _seconds(minutes: object, *, label: str) -> float | None:
    """Return a ``requestWalltime`` in seconds; None when there is none.

    Raises
    ------
    StageError
        It is no number of minutes.
    """
    try:
        return float(str(minutes)) * 60 if minutes else None
    except ValueError:
        raise StageError(f"requestWalltime of {label} is {minutes!r}; give minutes, as a number") from None


class BrokenExecutorError(RuntimeError):
    """Parsl's interchange is gone; nothing more will come from its workers."""


def _fail_if_broken(dfk: parsl.DataFlowKernel) -> None:
    """Fail every job of an executor whose interchange died: Parsl itself would wait for ever."""
    for executor in dfk.executors.values():
        process = getattr(executor, "interchange_proc", None)
        if process is not None and process.poll() is not None and not executor.bad_state_is_set:
            fail_all(
                executor, BrokenExecutorError(f"interchange of {executor.label} ended ({process.returncode})")
            )


def _say_lost(execution: Execution) -> None:
    """Write why jobs were lost; a reason that many share is written once."""
    lost: dict[str, list[str]] = {}
    for name, error in execution.errors.items():
        if execution.results[name] is JobResult.LOST:
            lost.setdefault(f"{type(error).__name__}: {error}", []).append(name)
    for why, names in lost.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        sys.stderr.write(f"{names[0]}{others}: {why}\n")


def _ended(error: Exception | None) -> Future[Any]:
    future: Future[Any] = Future()
    if error is None:
        future.set_result(0)
    else:
        future.set_exception(error)
    return future


def _failing(future: Future[Any], name: str) -> Future[Any]:
    """Return a future that fails when the given one ends, because part of the job was held."""
    held: Future[Any] = Future()
    future.add_done_callback(lambda done: held.set_exception(done.exception() or JobHeldError(name)))
    return held


def _jobs_done(journal: Journal) -> frozenset[str]:
    """Return the jobs that ended well in an earlier run of the submission."""
    records = journal.read()
    return frozenset(r.job for r in records if r.event == Event.ENDED and r.verdict == Verdict.OK)


def _drain(journal: Journal) -> None:
    """Wait until every quantum of this host has ended by the journal, for a few seconds at most."""
    deadline = time.monotonic() + _DRAIN_SECONDS
    while time.monotonic() < deadline:
        going = [
            progress.record
            for progress in fold(journal.read()).values()
            if progress.state is QuantumState.RUNNING
        ]
        here = os.uname().nodename
        if not any(r.host != here or (r.pid is not None and alive(r.pid, r.pid_start or 0)) for r in going):
            return
        time.sleep(0.1)
