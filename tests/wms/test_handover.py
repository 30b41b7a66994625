"""Handing jobs to Parsl costs what there are jobs and edges, not paths; so does failing."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any

import parsl
import pytest
from lsst.ctrl.bps import BpsConfig
from parsl.app.app import python_app
from parsl.executors import ThreadPoolExecutor

from merian_campaign.domain.execution.journal import JobVerdict
from merian_campaign.wms.execution import Execution, JobResult
from merian_campaign.wms.job_outcome import JobFailedError, JobOutcome
from merian_campaign.wms.sites import Local

type Launch = Callable[[str, list[Future[Any]]], Future[Any]]


class Threads(Local):
    """The local site with threads for workers: what is shown here happens in the driver."""

    def get_executors(self) -> list[ThreadPoolExecutor]:
        return [ThreadPoolExecutor(label=self.label, max_threads=1)]


def work(gate: Event | None, inputs: tuple[Any, ...] = ()) -> int:
    """Be a job; one with a gate waits for it, and fails."""
    if gate is not None:
        assert gate.wait(300)
        raise JobFailedError("root", JobOutcome(verdict=JobVerdict.FAILED, exit=1).as_dict())
    return 0


@pytest.fixture
def gate() -> Iterator[Event]:
    """What the roots wait for, so that nothing ends while jobs are handed over."""
    made = Event()
    yield made
    made.set()


@pytest.fixture
def launch(tmp_path: Path, gate: Event) -> Iterator[Launch]:
    """Parsl as a submission configures it, taking jobs; those without a parent fail once the gate opens."""
    site = Threads(BpsConfig({"computeSite": "here", "site": {"here": {"class": f"{__name__}.Threads"}}}))
    config = site.campaign_config(
        submit=tmp_path, socket="", on_failure=lambda *_: None, retries_of=lambda _: 0
    )
    kernel = parsl.load(config)
    app = python_app(executors=[site.label], cache=False)(work)
    yield lambda _, before: app(None if before else gate, inputs=before)
    gate.set()
    kernel.cleanup()
    parsl.DataFlowKernelLoader.clear()


def mesh(*, layers: int, width: int, parents: int) -> dict[str, list[str]]:
    """Return a graph in layers, each job with so many parents in the layer before."""
    return {
        f"{layer}-{n}": [f"{layer - 1}-{(n + k) % width}" for k in range(parents)] if layer else []
        for layer in range(layers)
        for n in range(width)
    }


def counted(work: Callable[[], None]) -> tuple[int, int]:
    """Return how many calls of Python functions this thread makes, and how deep they are nested at most."""
    calls = depth = deepest = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls, depth, deepest
        if event == "call":
            calls, depth = calls + 1, depth + 1
            deepest = max(deepest, depth)
        elif event == "return":
            depth -= 1

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls, deepest


def test_handing_over_is_linear_in_jobs_and_edges(launch: Launch) -> None:
    """Three times the layers: four-to-the-twentieth times the paths, three times the calls."""
    found = {}
    for layers in (10, 30):
        execution = Execution(parents=mesh(layers=layers, width=20, parents=4), launch=launch)
        found[layers] = counted(partial(execution.hand_over, Event()))
    (few, shallow), (many, deep) = found[10], found[30]
    assert many < 3.5 * few
    assert many < 1000 * 30 * 20
    assert deep <= shallow + 5
    assert deep < 100


@pytest.mark.parametrize(
    "graph",
    [mesh(layers=12, width=12, parents=12), mesh(layers=1500, width=1, parents=1)],
    ids=["a trillion paths", "1500 jobs in a row"],
)
def test_a_failure_blocks_all_that_depends_on_it(
    launch: Launch, gate: Event, graph: dict[str, list[str]]
) -> None:
    execution = Execution(parents=graph, launch=launch)
    execution.hand_over(Event())
    gate.set()
    assert execution.wait(Event(), check=lambda: None)
    roots = sum(not before for before in graph.values())
    tally = execution.tally()
    assert (tally[JobResult.FAILED], tally[JobResult.BLOCKED]) == (roots, len(graph) - roots)
