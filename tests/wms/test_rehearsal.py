"""The forkserver's rehearsal of quanta: what it does beforehand, and that nothing else comes of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wms_support as support
from wms_support import Rendering

from merian_campaign.wms.node.forkserver import _PAYS_AFTER

_SCRIPT = """
import json, logging, os, sys
from itertools import chain
from pathlib import Path

graph_file, repository, quantum = sys.argv[1:]
from merian_campaign.wms.node.forkserver import preload
preload()
from merian_campaign.host.processes import threads
from merian_campaign.wms.node import child, graph_preload, rehearsal, rehearsal_task

made = []
build = rehearsal_task.rehearsal_graph
rehearsal_task.rehearsal_graph = lambda universe: made.append(build(universe)) or made[-1]


def state():
    import lsst.daf.butler._quantum_backed as backed
    from lsst.daf.butler import StorageClassFactory
    from lsst.daf.butler.cli.cliLog import CliLog
    from lsst.pipe.base.quantum_graph import PredictedQuantumGraph
    root, theirs = logging.getLogger(), logging.getLogger("lsst")
    return {
        "environment": dict(os.environ),
        "streams": [id(sys.stdout), id(sys.stderr)],
        "arguments": sys.argv,
        "logging": [list(map(id, root.handlers)), root.level, theirs.level, list(CliLog.configState)],
        "factory": id(logging.getLogRecordFactory()),
        "warnings": id(__import__("warnings").showwarning),
        "theirs": [
            id(backed.ButlerConfig),
            id(backed.instantiate_standalone_datastore),
            id(vars(StorageClassFactory)["addFromConfig"]),
            id(vars(PredictedQuantumGraph)["read_execution_quanta"]),
        ],
        "threads": threads(),
        "temporary": sorted(map(str, Path(os.environ["TMPDIR"]).iterdir())),
        "repository": sorted(map(str, Path(repository).rglob("*"))),
    }


prepared = graph_preload.prepare(graph=graph_file, repository=repository)
before = state()
prepared.rehearse([quantum])
after = state()
datastore, _ = prepared.datastore
from merian_campaign.wms import upstream
upstream.answer_from_emptiness(datastore)
empty = sum(len(list(datastore._table.fetch())) for _ in range(2))
prepared.rehearse([quantum])  # its second quantum reads what the first wrote
asks = "fetch" not in vars(datastore._table)
refs = [
    ref
    for graph in made for one in graph.build_execution_quanta().values()
    for ref in chain.from_iterable(one.outputs.values())
]
random = "numpy.random" in sys.modules
child._fresh_randomness()
lazy = not random and "numpy.random" not in sys.modules
import numpy.random
words = numpy.random.bytes(8)
numpy.random.seed(1)
first = numpy.random.bytes(8)
numpy.random.seed(1)
child._fresh_randomness()
print(json.dumps({
    "changed": [name for name in before if before[name] != after[name]],
    "datasets": sorted({ref.datasetType.name for ref in refs}),
    "known": [str(ref) for ref in refs if datastore.knows(ref)],
    "used": prepared.used,
    "empty": empty,
    "asks": asks,
    "lazy": lazy,
    "reseeded": numpy.random.bytes(8) != first,
}))
"""

_FORKSERVER = """
import json, os, socket, sys
from merian_campaign.wms.node.forkserver import run_forkserver

ours, theirs = socket.socketpair()
supervisor = os.getpid()
if os.fork() == 0:
    ours.close()
    run_forkserver(
        theirs, supervisor=supervisor, warm=True, prepare_graphs=True, environment=dict(os.environ)
    )
theirs.close()
heard = []
with ours.makefile("r") as lines:
    for order in json.loads(sys.argv[1]):
        ours.sendall(json.dumps(order).encode() + b"\\n")
        while not heard or heard[-1].get("id") != order["id"] or "status" not in heard[-1]:
            heard.append(json.loads(lines.readline()))
ours.close()
os.wait()
print(json.dumps(heard))
"""


@pytest.mark.e2e
def test_a_rehearsal_leaves_nothing_but_warmth(repo: Path, folder: Path) -> None:
    choices = Rendering(query=f"instrument='Toy' AND detector < {_PAYS_AFTER}")
    submission = support.render(folder, repo=repo, name="plain", choices=choices)
    done = support.submit(submission)
    assert done.returncode == 0, done.stderr
    assert len(submission.ended()) == 2 * _PAYS_AFTER
    assert all(record.evidence["warm"] for record in submission.ended())
    logs = [path.read_text() for path in submission.submit.glob("supervisor-*.log")]
    assert not any("rehearsed:" in text or "shared" in text for text in [*logs, done.stderr])
    for record in submission.ended():
        text = _log(submission, record.job).read_text()
        assert "rehears" not in text.replace(str(folder), "").lower()
        assert text.count("Executed 1 quanta successfully") == 1
    _in_a_process_of_its_own(submission)
    _once_for_a_graph(submission)


def _in_a_process_of_its_own(submission: support.Submission) -> None:
    """Check what it changed of a process, by looking at one before and after."""
    temporary = submission.folder / "tmp"
    temporary.mkdir()
    [graph] = submission.submit.glob("*.qg")
    quantum = submission.ended()[0].quanta[0]
    call = [sys.executable, "-c", _SCRIPT, str(graph), str(submission.repo), quantum]
    assert _run(*call, TMPDIR=str(temporary)) == {
        "changed": [],
        "datasets": [
            "rehearsal1",
            "rehearsal1_log",
            "rehearsal1_metadata",
            "rehearsal2",
            "rehearsal2_log",
            "rehearsal2_metadata",
        ],
        "known": [],
        "used": False,
        "empty": 0,
        "asks": True,
        "lazy": True,
        "reseeded": True,
    }


def _once_for_a_graph(submission: support.Submission) -> None:
    """Check that a forkserver that is given many quanta of a graph rehearses once, without a thread left."""
    orders = [
        {
            "id": number,
            "command": (command := _command(submission, record.job)),
            "words": command.split(),
            "stdout": str(submission.folder / "again.log"),
            "stderr": str(submission.folder / "again.log"),
            "header": True,
        }
        for number, record in enumerate([*submission.ended("first"), *submission.ended("second")], start=1)
    ]
    messages = _run(sys.executable, "-c", _FORKSERVER, json.dumps(orders))
    ends = [message["status"] for message in messages if "status" in message]
    assert ends == [0] * len(orders)
    told = [message for message in messages if "rehearsed" in message]
    [graph] = submission.submit.glob("*.qg")
    assert told == [{"rehearsed": str(graph), "error": None, "threads": 1}]
    assert [m.get("id") for m in messages[: messages.index(told[0])] if "pid" in m] == [1, 2, 3]


def _log(submission: support.Submission, job: str) -> Path:
    [log] = submission.submit.glob(f"logs/*/{job}.stderr")
    return log


def _command(submission: support.Submission, job: str) -> str:
    return _log(submission, job).read_text().splitlines()[1]


def _run(*words: str, **more: str) -> Any:
    """Run a script; return what it printed last, decoded."""
    environment = support.environment(**more)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
