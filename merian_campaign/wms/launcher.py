"""Making Parsl calls of jobs, and making sense of those whose worker went away."""

import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

from lsst.ctrl.bps import BpsConfig, GenericWorkflowJob
from lsst.ctrl.bps.parsl import ParslJob
from lsst.ctrl.bps.parsl.configuration import get_bps_config_value
from parsl.app.app import python_app

from merian_campaign.domain.execution.journal import JobVerdict, JournalEvent, JournalRecord
from merian_campaign.wms.driver import Driver
from merian_campaign.wms.hold_list import held_quanta, read_hold_list, within_cluster
from merian_campaign.wms.input_requests import own_requests
from merian_campaign.wms.job_outcome import JobFailedError, JobHeldError, JobOutcome
from merian_campaign.wms.journal_writer import JOURNAL_NAME, Journal
from merian_campaign.wms.lost_jobs import LostJobs
from merian_campaign.wms.node.command import quanta_of
from merian_campaign.wms.sites.base import LOST_WORKER, CampaignSite
from merian_campaign.wms.stages import current
from merian_campaign.wms.worker_app import run_job

__all__ = ["LOCAL_JOBS", "Launcher", "StageError", "retries_asked", "seconds_asked"]

LOCAL_JOBS = frozenset({"pipetaskInit", "mergeExecutionButler"})
"""Jobs of a workflow that the driver runs itself."""


class StageError(RuntimeError):
    """A stage of the submission itself (initialization, ingest) failed."""


class _Workflow(Protocol):
    """What a launcher asks of the workflow of a submission."""

    site: CampaignSite
    jobs: Mapping[str, ParslJob]
    parents: Mapping[str, Iterable[str]]
    bps_config: BpsConfig

    @property
    def submit(self) -> Path:
        """Its directory."""


class Launcher:
    """Makes one Parsl call of each job.

    Parameters
    ----------
    workflow : `_Workflow`
        The workflow, with its site.
    driver : `Driver`
        The driver of this run.
    """

    def __init__(self, workflow: _Workflow, driver: Driver) -> None:
        self._workflow = workflow
        self._driver = driver
        self._site = workflow.site
        times = (seconds_asked(job) for job in workflow.jobs.values())
        self._site.longest_s = max((t for t in times if t is not None), default=None)
        for job in workflow.jobs.values():
            retries_asked(job.generic, exit_code=None)
        self.settings = self._site.node_settings(
            submit=workflow.submit, driver=driver.identity, socket=current().socket
        )
        self._condemned: dict[str, JobFailedError] = {}
        self._casualties: LostJobs | None = None
        self._text = self.settings.to_json()
        self._done = _jobs_done(Journal(workflow.submit / JOURNAL_NAME))
        self._held, self._edges = self._read_hold()
        self._own_requests = self._read_requests()
        self._app: Any = None
        self.parents = {
            name: [p for p in workflow.parents[name] if p not in LOCAL_JOBS]
            for name in workflow.jobs
            if name not in LOCAL_JOBS
        }

    def bind(self) -> None:
        """Make the Parsl app, once Parsl is loaded."""
        self._app = python_app(executors=[self._site.label], cache=False)(run_job)
        self._casualties = LostJobs(self._workflow.submit, view=self._site.blocks())

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
            self._note(JournalEvent.HELD, job, held)
            if not left:
                return _ended(JobHeldError(name))
            command = command.replace(",".join(quanta), ",".join(left))
        misfit = self._misfit(job, left)
        if misfit is not None:
            return _ended(misfit)
        self._note(JournalEvent.LAUNCHED, job, left)
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
            "requested_mb": self._requested(job, quanta),
            "walltime_s": seconds_asked(job),
            "cpus": generic.request_cpus or 1,
            "variables": dict(generic.environment or {}),
        }
        priority = {"priority": generic.priority} if generic.priority is not None else {}
        future: Future[Any] = self._app(
            self._text, request, inputs=before, parsl_resource_specification=priority
        )
        return future

    def lost_attempt(self, error: Exception, task: Any) -> bool:  # noqa: ANN401 - Parsl's task record
        """Write the end of an attempt that no supervisor lived to write; return whether it was the last."""
        if not isinstance(error, LOST_WORKER) or len(task["args"]) < 2 or self._casualties is None:  # noqa: PLR2004
            return False
        request = task["args"][1]
        record = self._casualties.judge(request["job"], error=f"{type(error).__name__}: {error}")
        if record is None:
            return False
        self._driver.journal.write(record)
        if record.verdict == JobVerdict.NODE_LOST:
            return False
        outcome = JobOutcome(
            verdict=JobVerdict.OUT_OF_MEMORY, evidence=record.evidence, peak_mb=record.peak_mb
        )
        self._condemned[record.job] = JobFailedError(record.job, outcome.as_dict())
        return True

    def retries_of(self, error: JobFailedError) -> int:
        """Return how often a job that ended so may be run again, by what BPS says of it."""
        return retries_asked(self._workflow.jobs[error.job].generic, exit_code=error.outcome.exit)

    def own_error(self, name: str, error: BaseException | None) -> BaseException | None:
        """Return what a job really ended with: Parsl only knows that its worker is gone."""
        return self._condemned.get(name, error) if error is not None else None

    def _misfit(self, job: ParslJob, quanta: tuple[str, ...]) -> JobFailedError | None:
        """Return the failure of a job that no node can ever run, or None; it is in the journal then."""
        generic = job.generic
        why = self._site.misfit(
            memory_mb=self._requested(job, quanta),
            walltime_s=seconds_asked(job),
            cpus=generic.request_cpus or 1,
        )
        if not why:
            return None
        record = JournalRecord(
            event=JournalEvent.ENDED,
            job=job.name,
            label=generic.label,
            quanta=quanta,
            verdict=JobVerdict.FAILED,
            evidence={"refused": why},
            requested_mb=self._requested(job, quanta),
        )
        self._driver.journal.write(record)
        sys.stderr.write(f"{job.name}: {why}\n")
        return JobFailedError(
            job.name, JobOutcome(verdict=JobVerdict.FAILED, evidence=record.evidence).as_dict()
        )

    def _requested(self, job: ParslJob, quanta: tuple[str, ...]) -> int | None:
        """Return what a job asks for: where all its quanta have requests of their own, the largest."""
        asked: int | None = job.generic.request_memory
        own = [self._own_requests.get(quantum) for quantum in quanta] if self._own_requests else []
        found = [request for request in own if request is not None]
        if not found or len(found) < len(own):
            return asked
        return max(found) if asked is None else min(asked, max(found))

    def _note(self, event: JournalEvent, job: ParslJob, quanta: tuple[str, ...]) -> None:
        label = job.generic.label
        self._driver.journal.write(JournalRecord(event=event, job=job.name, label=label, quanta=quanta))

    def _read_hold(self) -> tuple[frozenset[str], dict[str, set[str]]]:
        path = get_bps_config_value(self._workflow.bps_config, "campaignHold", str)
        hold = read_hold_list(Path(path)) if path else ()
        if not hold:
            return frozenset(), {}
        return held_quanta(self._workflow.bps_config["runQgraphFile"], hold)

    def _read_requests(self) -> Mapping[str, int]:
        text = get_bps_config_value(self._workflow.bps_config, "campaignMemory", str)
        if not text:
            return {}
        try:
            return own_requests(self._workflow.bps_config["runQgraphFile"], text)
        except ValueError as error:
            raise StageError(str(error)) from None


def seconds_asked(job: ParslJob) -> float | None:
    """Return the ``requestWalltime`` of a job in seconds; None when there is none.

    Raises
    ------
    StageError
        It is no number of minutes.
    """
    minutes = job.generic.request_walltime if job.generic is not None else None
    try:
        return float(str(minutes)) * 60 if minutes else None
    except ValueError:
        label = job.generic.label
        raise StageError(f"requestWalltime of {label} is {minutes!r}; give minutes, as a number") from None


def retries_asked(job: GenericWorkflowJob, *, exit_code: int | None) -> int:
    """Return the ``numberOfRetries`` of a job; 0 for an exit status that is in its ``retryUnlessExit``.

    Raises
    ------
    StageError
        One of them is no whole number, or no list of such.
    """
    number, unless = job.number_of_retries, job.retry_unless_exit
    codes = unless if isinstance(unless, list) else [] if unless is None else [unless]
    for key, value in (("numberOfRetries", number or 0), *(("retryUnlessExit", code) for code in codes)):
        if type(value) is not int:
            raise StageError(f"{key} of {job.label} is {value!r}; give a whole number")
    return 0 if exit_code in codes else max(0, number or 0)


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
    return frozenset(r.job for r in records if r.event == JournalEvent.ENDED and r.verdict == JobVerdict.OK)
