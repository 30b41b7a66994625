"""The harvest of a real run, end to end, against reading its provenance graph alone.

A run of three layers through our service (``BENCH_RUN`` quanta, 1,000 unless it is said). The harvest: the
graph is read, written as lines and read again, judged with the journal and the predicted graph, and stored.
Processor time of this process and of the database's server. The middleware reads as it does in any program:
from some two thousand quanta on the garbage collector takes as long as all else.
"""

# ruff: noqa: T201 - a bench prints what it finds

from __future__ import annotations

import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve()
TESTS = HERE.parents[2]
sys.path[:0] = [
    *(str(TESTS / one) for one in (".", "wms", "store")),
    *(str(HERE.parents[1] / one) for one in (".", "store")),
]

import wms_support as support  # noqa: E402 - of the tests
from bench_results import entry, keep  # noqa: E402 - beside this one
from bench_store import CPU, Clock, database  # noqa: E402
from lsst.pipe.base.quantum_graph import ProvenanceQuantumGraphReader  # noqa: E402
from store_help import Given  # noqa: E402

from merian_campaign.domain.execution.journal_lines import JournalLines  # noqa: E402
from merian_campaign.domain.execution.provenance import parse_harvest, parse_predicted  # noqa: E402
from merian_campaign.domain.execution.queue_wait import queue_waits  # noqa: E402
from merian_campaign.domain.failures.harvest import conclude, unjournalled  # noqa: E402
from merian_campaign.domain.failures.judged_attempts import HarvestContext  # noqa: E402
from merian_campaign.domain.failures.remedy import RequestTable  # noqa: E402
from merian_campaign.domain.record.snapshot import Remedy  # noqa: E402
from merian_campaign.domain.record.wall_time import DriverTimes, wall_time  # noqa: E402
from merian_campaign.host.collector import no_collection  # noqa: E402
from merian_campaign.host.regular_files import read_lines  # noqa: E402
from merian_campaign.middleware import butler_helper  # noqa: E402

LAYERS: dict[str, dict[str, Any]] = {"first": {}, "second": {}, "third": {}}
WIDTH = int(os.environ.get("BENCH_RUN", "1000")) // len(LAYERS)
QUANTA = WIDTH * len(LAYERS)
ROUNDS = 3
FINAL = (
    "butler {finalPreCmdOpts} aggregate-graph {fileDistributionEndPoint}{qgraphFile} {butlerConfig} "
    "-j {requestCpus} --register-dataset-types {updateOutputChain} -o {submitPath}/provenance.qg"
)


def run(folder: Path) -> support.Submission:
    """Run the quanta; return what that left."""
    repo = support.make_repo(folder / "repo", detectors=WIDTH)
    choices = support.Rendering(tasks=LAYERS, extra={"finalJob": {"command1": FINAL}})
    submission = support.render(folder, repo=repo, name="run", choices=choices)
    done = support.submit(submission)
    assert done.returncode == 0, done.stderr[-4000:]
    return submission


def read(provenance: Path) -> None:
    """Read a provenance graph, and do nothing with it."""
    with ProvenanceQuantumGraphReader.open(str(provenance)) as reader:
        reader.read_quanta()
        assert reader.graph.quantum_only_xgraph


@no_collection()
def harvest(submission: support.Submission, *, given: Given, submission_id: int) -> None:
    """Take a run in, from its provenance graph to the rows of the database."""
    place = submission.submit
    lines = place / "harvest.jsonl"
    butler_helper.harvest(
        provenance=str(place / "provenance.qg"),
        logs=str(place / "logs"),
        out=str(lines),
        journal=str(submission.journal),
    )
    journal = JournalLines()
    journal.add(submission.journal.read_text())
    predicted = parse_predicted(read_lines(place / "predicted.jsonl"))
    raw = parse_harvest(read_lines(lines))
    assert not unjournalled(raw, journal)
    quanta = conclude(
        raw,
        predicted=predicted,
        records=journal,
        context=HarvestContext(
            rules=(), requests=RequestTable(default_mb=1024), remedy=Remedy(), driver_lost=False
        ),
    )
    assert len(quanta) == QUANTA
    waits = queue_waits(journal.in_full(), predicted=predicted)
    now = datetime.now(UTC)
    times = DriverTimes(began=now, ended=now)
    assert wall_time(created=now, driver=times, journal=journal, jobs=(), now=now)
    given.harvested(submission_id, *quanta, waits=waits)


def main() -> int:
    """Measure, print, keep."""
    with tempfile.TemporaryDirectory(prefix="merian-bench-") as name, database() as store:
        submission = run(Path(name))
        (graph,) = (one for one in submission.submit.glob("*.q*g*") if one.name != "provenance.qg")
        butler_helper.predicted(graph=str(graph), out=str(submission.submit / "predicted.jsonl"))
        given, clock, pairs = Given(store), Clock(store), []
        groups = given.campaign(tracts=range(1, ROUNDS + 2))
        for group in groups:
            made = given.prepared(group, directory=str(submission.submit))
            alone = clock(lambda: read(submission.submit / "provenance.qg"))
            bare = clock(lambda: no_collection()(read)(submission.submit / "provenance.qg"))
            whole = clock(lambda made=made: harvest(submission, given=given, submission_id=made.id))
            print(
                f"{QUANTA} quanta: graph read in {alone[CPU]:.2f} s ({bare[CPU]:.2f} without the garbage "
                f"collector), harvested in {whole[CPU]:.2f} s CPU"
            )
            pairs.append(whole[CPU] / alone[CPU])
    # The first one imports what it needs.
    found = median(pairs[1:])
    return keep(
        [entry("wms: harvest of a real run against reading its graph alone", found, 1.3, 1.1, less=True)]
    )


if __name__ == "__main__":
    raise SystemExit(main())
