"""Handing a graph in layers to Parsl: 20,000 jobs through our service, and fewer through the stock one too.

Each graph is a real submission: prepared, written, read by a real driver with real workers; measured is how
long it takes from the first job to the last until all are with Parsl, and how long a stop takes then.
The stock service visits every path of a graph, so it is only given one with few layers.
Usage: ``bench_handover.py [JOBS]``; writes into ``build/bench.json``.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "bench")]

from bench_results import keep  # noqa: E402 - beside this one

LAYERS = 10
PARENTS = 4
SMALL = 10
"""The graph of comparison has so many times fewer jobs."""

MESH = (7, 8)
"""Layers and width of the graph for both services; every job needs all of the layer before."""

OURS = ("merian_campaign.wms.CampaignParslService", "merian_campaign.wms.sites.Local")
STOCK = ("lsst.ctrl.bps.parsl.ParslService", "lsst.ctrl.bps.parsl.sites.Local")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds to hand a graph over, and to stop the submission afterwards."""

    handed: float
    stopped: float


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def names(*, layers: int, width: int, parents: int) -> dict[str, list[str]]:
    """Return the jobs of a graph in layers, and the jobs before each."""
    return {
        f"job{layer}_{n}": [f"job{layer - 1}_{(n + 7 * k) % width}" for k in range(parents)] if layer else []
        for layer in range(layers)
        for n in range(width)
    }


def drive(folder: Path, *, stock: bool, graph: dict[str, list[str]]) -> None:
    """Be a driver: make the workflow of a graph as BPS does, and submit it."""
    from lsst.ctrl.bps import (  # noqa: PLC0415 - heavy; only where it is needed
        BpsConfig,
        BpsSubprocessError,
        GenericWorkflow,
        GenericWorkflowExec,
        GenericWorkflowJob,
    )
    from lsst.utils import doImportType  # noqa: PLC0415

    service, site = STOCK if stock else OURS
    submit = folder / "submit"
    submit.mkdir()
    own = {} if stock else {"warm": False}
    config = BpsConfig(
        {
            "submitPath": str(submit),
            "computeSite": "here",
            "wmsServiceClass": service,
            "site": {"here": {"class": site, "cores": 1, **own}},
        }
    )
    workflow = GenericWorkflow("layers")
    executable = GenericWorkflowExec("true", "/bin/true", transfer_executable=False)
    for name, before in graph.items():
        job = GenericWorkflowJob(name, "job")
        job.executable, job.arguments = executable, name
        workflow.add_job(job, parent_names=before)
    made = doImportType(service)(config)
    prepared = made.prepare(config, workflow, str(submit))
    (folder / "prepared").touch()
    if stock:
        prepared.start()
        begin = time.monotonic()
        prepared.run(block=False)
        (folder / "handed").write_text(str(time.monotonic() - begin))
        prepared.shutdown()
        return
    try:
        made.submit(prepared)
    except BpsSubprocessError as error:
        sys.exit(error.errno)


def measure_ours(folder: Path, graph: dict[str, list[str]]) -> Cost:
    """Submit a graph through our service; stop it when every job is with Parsl."""
    from merian_campaign.domain.execution.journal import JournalEvent  # noqa: PLC0415 - needs the path above
    from merian_campaign.wms.journal_writer import Journal  # noqa: PLC0415

    journal = Journal(folder / "submit" / "journal.jsonl")
    with _driver(folder, graph, stock=False) as driver:
        while len(launched := [r for r in journal.read() if r.event == JournalEvent.LAUNCHED]) < len(graph):
            if driver.poll() is not None:
                raise SystemExit(f"the driver ended with {driver.returncode}")
            time.sleep(1)  # between two looks; the figures come from the journal's own times
        begin = time.monotonic()
        driver.send_signal(signal.SIGTERM)
        status = driver.wait(300)
        stopped = time.monotonic() - begin
    if status not in (0, 128 + signal.SIGTERM):
        raise SystemExit(f"the driver ended with {status}")
    times = [record.time for record in launched if record.time is not None]
    return Cost(handed=(max(times) - min(times)).total_seconds(), stopped=stopped)


def measure_stock(folder: Path, graph: dict[str, list[str]]) -> Cost:
    """Submit a graph through the stock service; it stops by itself when every job is with Parsl."""
    with _driver(folder, graph, stock=True) as driver:
        if driver.wait() != 0:
            raise SystemExit(f"the stock driver ended with {driver.returncode}")
    return Cost(handed=float((folder / "handed").read_text()), stopped=0.0)


def _driver(folder: Path, graph: dict[str, list[str]], *, stock: bool) -> subprocess.Popen[bytes]:
    (folder / "graph.json").write_text(json.dumps(graph))
    words = [sys.executable, __file__, "--drive", str(folder), "stock" if stock else "ours"]
    # The stock service looks for Parsl's programs on the PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (folder / "driver.log").open("wb") as log:
        return subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, env={**os.environ, "PATH": path})


def run(jobs: int) -> list[dict[str, object]]:
    """Measure everything; return the entries."""
    costs: dict[int, Cost] = {}
    with tempfile.TemporaryDirectory(prefix="bench-handover-") as name:
        for count in (jobs // SMALL, jobs):
            folder = Path(name) / str(count)
            folder.mkdir()
            graph = names(layers=LAYERS, width=count // LAYERS, parents=PARENTS)
            costs[count] = measure_ours(folder, graph)
            cost = costs[count]
            say(
                f"{len(graph):,} jobs in {LAYERS} layers, {PARENTS} parents each: handed over in "
                f"{cost.handed:.2f} s ({1000 * cost.handed / count:.3f} ms each), "
                f"stopped in {cost.stopped:.1f} s"
            )
        layers, width = MESH
        graph = names(layers=layers, width=width, parents=width)
        mesh = {}
        for service, measure in (("ours", measure_ours), ("stock", measure_stock)):
            folder = Path(name) / service
            folder.mkdir()
            mesh[service] = measure(folder, graph)
            say(f"{service:6s} {len(graph)} jobs, {width**layers:,} paths: {mesh[service].handed:.3f} s")
    each = {count: cost.handed / count for count, cost in costs.items()}
    return [
        {
            "name": "wms.handover_linear",
            "ratio": round(each[jobs // SMALL] / each[jobs], 2),
            "at_least": 0.5,
            "aim": 1.0,
        },
        {
            "name": "wms.handover_mesh",
            "ratio": round(mesh["stock"].handed / mesh["ours"].handed, 2),
            "at_least": 10,
            "aim": 100,
        },
    ]


def main(arguments: list[str]) -> int:
    """Run the benchmark; return 1 if a ratio misses its floor."""
    if arguments[:1] == ["--drive"]:
        folder = Path(arguments[1])
        drive(folder, stock=arguments[2] == "stock", graph=json.loads((folder / "graph.json").read_text()))
        return 0
    rows = run(int(arguments[0]) if arguments else 20_000)
    return keep(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
