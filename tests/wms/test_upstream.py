"""Canaries: each fails when the middleware, Parsl or Python changes what ``wms/upstream.py`` uses."""

from __future__ import annotations

import atexit
import functools
import inspect
import re
import subprocess
import sys
import threading
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from parsl.executors import HighThroughputExecutor
from parsl.jobs.states import JobState, JobStatus
from parsl.providers.cluster_provider import ClusterProvider

from merian_campaign.wms import upstream

PACKAGE = Path(upstream.__file__).parents[1]


def _at(place: str) -> Any:
    module, _, path = place.partition(":")
    return functools.reduce(getattr, path.split("."), import_module(module))


@pytest.mark.parametrize(
    ("place", "parameters"),
    [
        ("lsst.ctrl.bps.bps_utils:_dump_env_info", ["filename"]),
        ("lsst.ctrl.bps.drivers:_dump_env_info", ["filename"]),
        ("lsst.ctrl.bps.initialize:_dump_env_info", ["filename"]),
        ("lsst.ctrl.bps.pre_transform:execute", ["command", "filename"]),
        ("lsst.daf.butler._quantum_backed:ButlerConfig", ["other", "searchPaths"]),
        ("lsst.daf.butler._quantum_backed:instantiate_standalone_datastore", ["butler_config", "dimensions"]),
        ("lsst.daf.butler:StorageClassFactory.addFromConfig", ["self", "config"]),
        ("lsst.daf.butler.datastore:Datastore.emptyTrash", ["self"]),
        ("lsst.daf.butler.datastore:Datastore.getManyURIs", ["self", "refs", "predict", "allow_missing"]),
        (
            "lsst.daf.butler.datastores.fileDatastore:FileDatastore._refs_associated_with_artifacts",
            ["self", "paths"],
        ),
        (
            "lsst.pipe.base.quantum_graph:PredictedQuantumGraph.read_execution_quanta",
            ["uri", "quantum_ids"],
        ),
        ("lsst.pipe.base.quantum_graph:AddressRow.read", ["stream", "n_addresses", "int_size"]),
        (
            "lsst.pipe.base.quantum_graph:PredictedQuantumGraphReader",
            ["header", "pipeline_graph", "zf", "decompressor", "address_reader", "page_size"],
        ),
    ],
)
def test_what_is_called_or_replaced_takes_what_we_give(place: str, parameters: list[str]) -> None:
    assert list(inspect.signature(_at(place)).parameters)[: len(parameters)] == parameters


@pytest.mark.parametrize(
    ("place", "call"),
    [
        ("lsst.ctrl.bps.drivers", r"\b_dump_env_info\("),
        ("lsst.ctrl.bps.initialize", r"\b_dump_env_info\("),
        ("lsst.ctrl.bps.pre_transform", r"\bexecute\("),
        ("lsst.daf.butler._quantum_backed", r"= ButlerConfig\(config, searchPaths="),
        ("lsst.daf.butler._quantum_backed", r"= instantiate_standalone_datastore\("),
        ("lsst.daf.butler._quantum_backed", r"\.addFromConfig\(butler_config\)"),
        ("lsst.pipe.base.single_quantum_executor", r"self\._run_quantum\("),
        ("lsst.pipe.base.single_quantum_executor", r"\bget_full_type_name\("),
        ("lsst.ctrl.mpexec.cli.script.run_qbb", r"\bdisable_implicit_threading\(\)"),
        ("lsst.ctrl.mpexec.cli.script.run_qbb", r"\bPredictedQuantumGraph\.read_execution_quanta\("),
        ("lsst.ctrl.mpexec.cli.script.run_qbb", r"\bQuantumBackedButler\.initialize\b"),
        ("lsst.ctrl.mpexec.cli.script.run_qbb", r"\bMPGraphExecutor\("),
    ],
)
def test_what_is_replaced_is_what_the_middleware_calls(place: str, call: str) -> None:
    assert re.search(call, inspect.getsource(import_module(place)))


def test_a_datastore_of_files_keeps_them_where_we_say() -> None:
    source = inspect.getsource(_at("lsst.daf.butler.datastores.fileDatastore:FileDatastore.__init__"))
    assert "self.root = ResourcePath(root)" in source
    assert "self.locationFactory = LocationFactory(self.root)" in source
    assert "self.cacheManager = DatastoreDisabledCacheManager(" in source
    with pytest.raises(TypeError):
        upstream.datastore_below("/nowhere", object())


def test_what_was_replaced_is_put_back() -> None:
    backed = import_module("lsst.daf.butler._quantum_backed")
    graph = _at("lsst.pipe.base.quantum_graph:PredictedQuantumGraph")
    before = (vars(backed)["ButlerConfig"], vars(graph)["read_execution_quanta"])
    undo = upstream.replace_in_run_qbb(
        read_quanta=lambda *_: "ours",
        butler_config=lambda *_: None,
        datastore=lambda *_: None,
        add_storage_classes=lambda *_: None,
        limit_threads=lambda: None,
    )
    assert graph.read_execution_quanta("any") == "ours"
    undo()
    assert (vars(backed)["ButlerConfig"], vars(graph)["read_execution_quanta"]) == before


def test_butler_commands_are_in_a_cache() -> None:
    assert callable(_at("lsst.daf.butler.cli.butler:LoaderCLI._getCommands").cache_clear)
    upstream.forget_butler_commands()


def test_parsl_says_whether_it_is_loaded() -> None:
    assert not upstream.parsl_is_loaded()
    source = inspect.getsource(_at("parsl:DataFlowKernelLoader"))
    assert re.search(r"cls\._dfk = DataFlowKernel\(config\)", source)


def test_an_executor_that_is_put_out_of_use_says_so() -> None:
    executor = HighThroughputExecutor()
    assert upstream.interchange_of(executor) is None
    assert "self.interchange_proc = " in inspect.getsource(HighThroughputExecutor)
    upstream.put_out_of_use(executor, ValueError("why"))
    assert executor.bad_state_is_set
    assert str(executor.executor_exception) == "why"


def test_only_what_came_to_nothing_is_forgotten() -> None:
    executor = HighThroughputExecutor()
    executor.blocks_to_job_id["1"] = "77"
    for block, state in (("1", JobState.FAILED), ("2", JobState.FAILED), ("3", JobState.PENDING)):
        executor._simulated_status[block] = executor._status[block] = JobStatus(state)
    upstream.prune_failed_blocks(executor, JobState.FAILED)
    assert set(executor.status_facade) == {"1", "3"}
    assert set(executor._simulated_status) == {"1", "3"}


def test_parsls_provider_asks_ours_for_states() -> None:
    assert "self._status()" in inspect.getsource(ClusterProvider.status)


def test_the_interpreter_ends_as_we_do() -> None:
    assert list(inspect.signature(threading._shutdown).parameters) == []  # type: ignore[attr-defined]
    assert callable(atexit._run_exitfuncs)
    assert {"seek", "read"} <= set(vars(zipfile._SharedFile))  # type: ignore[attr-defined]


def test_one_that_leaves_has_waited_for_its_threads_and_said_all() -> None:
    script = (
        "import atexit, sys, threading\n"
        "from merian_campaign.wms.upstream import leave\n"
        "go = threading.Event()\n"
        "atexit.register(lambda: sys.stdout.write(' hook'))\n"
        "threading.Thread(target=lambda: (go.wait(), sys.stdout.write('thread'))).start()\n"
        "sys.stderr.write('words')\n"
        "go.set()\n"
        "leave(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "thread hook", "words")


def test_nothing_else_reaches_into_upstream() -> None:
    """What ruff calls private access (SLF001), and imports of private modules."""
    doors = {PACKAGE / "wms/upstream.py", PACKAGE / "wms/zipfix.py"}
    reach = re.compile(
        r"noqa: .*SLF001|^\s*(?:from|import) (?:lsst|parsl)\S*\._|import .*\b_[a-z]", re.MULTILINE
    )
    own = re.compile(r"from merian_campaign.*")
    found = [
        f"{path.relative_to(PACKAGE)}: {match[0]}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path not in doors
        for match in reach.finditer(own.sub("", path.read_text()))
    ]
    assert found == []
