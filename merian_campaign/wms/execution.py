"""Handing the jobs of a submission to Parsl in topological order, and keeping how each of them ended.

Linear in jobs and edges.  Parsl holds the dependencies; this module keeps the outcomes.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from graphlib import TopologicalSorter
from typing import Any

from parsl.dataflow.errors import DependencyError

from merian_campaign.domain.execution.runs import INFRASTRUCTURE_FAILED, PAYLOAD_FAILED
from merian_campaign.wms.job_outcome import JobFailedError, JobHeldError

__all__ = ["Execution", "JobResult", "Tally", "result_of", "topological"]


class JobResult(StrEnum):
    """How a job of the submission ended, seen from the driver."""

    OK = "ok"
    """It succeeded, now or in an earlier run of the same submission."""

    FAILED = "failed"
    """The payload failed, or the guard ended it."""

    BLOCKED = "blocked"
    """Not run, because a job before it did not succeed."""

    HELD = "held"
    """Not run, because of the hold list."""

    LOST = "lost"
    """It could not be run to an end: workers, nodes or Parsl failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """How many jobs ended how."""

    counts: Mapping[JobResult, int]

    def __getitem__(self, result: JobResult) -> int:
        return self.counts.get(result, 0)

    @property
    def exit_code(self) -> int:
        """0 all succeeded; 10 the payload failed; 11 the infrastructure did."""
        if self[JobResult.LOST]:
            return INFRASTRUCTURE_FAILED
        failed = any(self[r] for r in (JobResult.FAILED, JobResult.BLOCKED, JobResult.HELD))
        return PAYLOAD_FAILED if failed else 0

    def __str__(self) -> str:
        return ", ".join(f"{self[result]} {result}" for result in JobResult)


def topological(parents: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the jobs so that each comes after its parents.

    Raises
    ------
    graphlib.CycleError
        There is no such order.
    """
    return list(TopologicalSorter(parents).static_order())


def result_of(error: BaseException | None) -> JobResult:
    """Return what the exception of a job's future means."""
    match error:
        case None:
            return JobResult.OK
        case JobFailedError():
            return JobResult.FAILED
        case JobHeldError():
            return JobResult.HELD
        case DependencyError():
            return JobResult.BLOCKED
        case _:
            return JobResult.LOST


class Execution:
    """The jobs of one run of a submission.

    Parameters
    ----------
    parents : `~collections.abc.Mapping`
        Job names before each job.
    launch : callable
        Hands one job to Parsl, given the futures of its parents; returns its future.
    own_error : callable
        Returns what a job really ended with, given its name and its future's error; by default that error.
    """

    def __init__(
        self,
        *,
        parents: Mapping[str, Iterable[str]],
        launch: Callable[[str, list[Future[Any]]], Future[Any]],
        own_error: Callable[[str, BaseException | None], BaseException | None] = lambda _, error: error,
    ) -> None:
        self._own_error = own_error
        self._parents = parents
        self._launch = launch
        self._lock = threading.Lock()
        self._open = 0
        self._all_launched = False
        self._done = threading.Event()
        self.results: dict[str, JobResult] = {}
        self.errors: dict[str, BaseException] = {}

    def hand_over(self, stop: threading.Event) -> None:
        """Launch every job; returns early when asked to stop."""
        futures: dict[str, Future[Any]] = {}
        for name in topological(self._parents):
            if stop.is_set():
                break
            before = [futures[parent] for parent in self._parents.get(name, ()) if parent in futures]
            future = self._launch(name, before)
            futures[name] = future
            with self._lock:
                self._open += 1
            future.add_done_callback(partial(self._note, name))
        with self._lock:
            self._all_launched = True
            if self._open == 0:
                self._done.set()

    def wait(self, stop: threading.Event, *, check: Callable[[], None]) -> bool:
        """Wait for every job; return False when asked to stop before that.

        Parameters
        ----------
        stop : `threading.Event`
            Set by whoever wants a stop.
        check : callable
            Called several times a second; may fail the jobs of a broken executor.
        """
        while not self._done.wait(0.1):
            if stop.is_set():
                return False
            check()
        return not stop.is_set()

    def tally(self) -> Tally:
        """Return how the jobs ended so far."""
        counts: dict[JobResult, int] = {}
        with self._lock:
            for result in self.results.values():
                counts[result] = counts.get(result, 0) + 1
        return Tally(counts=counts)

    def _note(self, name: str, future: Future[Any]) -> None:
        error = self._own_error(name, future.exception())
        with self._lock:
            self.results[name] = result_of(error)
            if error is not None:
                self.errors[name] = error
            self._open -= 1
            if self._all_launched and self._open == 0:
                self._done.set()
