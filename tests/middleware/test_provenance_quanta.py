"""The records of a provenance graph say of each quantum what the middleware's own graph of it says.

Where one of these fails with a new release of the middleware, its file has changed: look at what reads it.
"""

from __future__ import annotations

import json
import logging
import os
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard
from lsst.daf.butler.logging import ButlerLogRecord, ButlerLogRecords
from lsst.pipe.base import QuantumSuccessCaveats, TaskMetadata
from lsst.pipe.base.log_on_close import LogOnClose
from lsst.pipe.base.pipeline_graph import TaskImportMode
from lsst.pipe.base.quantum_graph import (
    FORMAT_VERSION,
    PredictedQuantumGraphComponents,
    ProvenanceQuantumGraphReader,
    ProvenanceQuantumGraphWriter,
    ProvenanceQuantumScanModels,
)
from lsst.pipe.base.tests.mocks import DynamicConnectionConfig, InMemoryRepo

from merian_campaign.domain.execution.provenance import SUCCESSFUL, parse_harvest
from merian_campaign.domain.execution.quanta import COLUMN_DIMENSIONS, canonical_data_id
from merian_campaign.domain.states import QuantumState
from merian_campaign.middleware import butler_helper, provenance_quanta
from merian_campaign.middleware.harvest_lines import log_files
from merian_campaign.middleware.provenance_quanta import ProvenanceQuantum

type Left = tuple[TaskMetadata | None, ButlerLogRecords | None]


def metadata(*, caveats: int = 0, failure: dict[str, Any] | None = None) -> TaskMetadata:
    """What a task leaves."""
    found = TaskMetadata()
    found["quantum"] = TaskMetadata.from_dict(
        {
            "prepUtc": "2026-11-22T15:00:00.25+00:00",
            "initUtc": "2026-11-22T15:00:01+00:00",
            "startUtc": "2026-11-22T15:00:02+00:00",
            "endUtc": "2026-11-22T15:00:12.5+00:00",
            "startCpuTime": 1.5,
            "endCpuTime": 9.25,
            "endMaxResidentSetSize": 5 * 2**28,
            "caveats": caveats,
            "outputs": [],
        }
    )
    if failure is not None:
        found["isr"] = TaskMetadata.from_dict({"failure": failure})
    return found


def log(**extra: Any) -> ButlerLogRecords:
    """What an executor leaves."""
    plain = logging.LogRecord("isr", logging.INFO, "isr.py", 1, "worked", None, None)
    record = ButlerLogRecord.from_record(plain)
    return ButlerLogRecords([record], extra=extra)


RAISED = {"type_name": "x.y.NoStars", "message": "no\x1b stars", "metadata": {"stars": 0}}
USED = {"exception": RAISED, "metadata": metadata().model_dump(), "logs": []}
PARTLY = {"type": "x.y.Partly", "message": "half of it"}
NO_WORK = QuantumSuccessCaveats.NO_WORK | QuantumSuccessCaveats.ANY_OUTPUTS_MISSING
ENDINGS: dict[str, Left] = {
    "succeeded": (metadata(), log()),
    "no work found": (metadata(caveats=NO_WORK.value), log()),
    "partly": (metadata(caveats=QuantumSuccessCaveats.PARTIAL_OUTPUTS_ERROR.value, failure=PARTLY), log()),
    "failed": (None, log(exception=RAISED, metadata=metadata().model_dump())),
    "failed without usage": (None, log(exception=RAISED)),
    "failed, then succeeded": (metadata(), log(previous_attempts=[USED])),
    "failed three times": (None, log(exception=RAISED, previous_attempts=[USED, USED])),
    "killed": (None, None),
    "killed after its end": (metadata(), None),
}


def predicted() -> PredictedQuantumGraphComponents:
    """A graph of two tasks on the detectors of visits, and one that takes what they made of a visit."""
    repo = InMemoryRepo("base.yaml", "spatial.yaml")
    each = ("visit", "detector")
    raw = DynamicConnectionConfig(dataset_type_name="raw", dimensions=each)
    made = DynamicConnectionConfig(dataset_type_name="made", dimensions=each)
    again = DynamicConnectionConfig(dataset_type_name="again", dimensions=each)
    repo.add_task("isr", dimensions=each, inputs={"raw": raw}, outputs={"made": made})
    repo.add_task("calibrate", dimensions=each, inputs={"raw": raw, "made": made}, outputs={"again": again})
    many = DynamicConnectionConfig(dataset_type_name="again", dimensions=each, multiple=True)
    table = DynamicConnectionConfig(dataset_type_name="table", dimensions=("visit",))
    repo.add_task("gather", dimensions=("visit",), inputs={"again": many}, outputs={"table": table})
    repo.insert_datasets("raw")
    return repo.make_quantum_graph_builder(output_run="made").finish(attach_datastore_records=False)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A provenance graph with all ways in which a quantum ends, as the middleware writes it."""
    path = tmp_path_factory.mktemp("graph") / "provenance.qg"
    components = predicted()
    with ExitStack() as stack:
        writer = ProvenanceQuantumGraphWriter(
            str(path), exit_stack=stack, log_on_close=LogOnClose(lambda *_: None), predicted=components
        )
        writer.write_overall_inputs()
        writer.write_init_outputs()
        endings = list(ENDINGS.values())
        for number, (uuid, quantum) in enumerate(components.quantum_datasets.items()):
            if quantum.task_label == "gather":
                writer.write_blocked_quantum_provenance(uuid)
            else:
                ended = ProvenanceQuantumScanModels.from_metadata_and_logs(
                    quantum, *endings[number % len(endings)]
                )
                for dataset in quantum.iter_output_dataset_ids():
                    ended.output_existence.setdefault(dataset, False)
                writer.write_scan_data(ended.to_scan_data(quantum, compressor=writer.compressor))
    return path


@contextmanager
def opened(path: Path) -> Iterator[ProvenanceQuantumGraphReader]:
    with ProvenanceQuantumGraphReader.open(str(path), import_mode=TaskImportMode.DO_NOT_IMPORT) as reader:
        yield reader


def by_uuid(quanta: list[ProvenanceQuantum]) -> dict[str, ProvenanceQuantum]:
    return {str(quantum.uuid): quantum for quantum in quanta}


def test_the_format_is_one_that_is_known() -> None:
    assert FORMAT_VERSION == provenance_quanta.VERSION


def test_records_say_what_the_graph_says(graph: Path) -> None:
    with opened(graph) as reader:
        ours = list(provenance_quanta.read_records(reader))
    with opened(graph) as reader:
        theirs = list(provenance_quanta.read_graph(reader))
        assert len(ours) == reader.header.n_quanta
    assert by_uuid(ours) == by_uuid(theirs)
    assert by_uuid(provenance_quanta.read(str(graph))) == by_uuid(theirs)
    ends = {tuple(attempt.status.name for attempt in quantum.attempts) for quantum in ours}
    assert ends > {(), ("SUCCESSFUL",), ("FAILED",), ("ABORTED_SUCCESS",), ("FAILED", "SUCCESSFUL")}
    assert any(attempt.exception for quantum in ours for attempt in quantum.attempts)
    assert any(attempt.caveats for quantum in ours for attempt in quantum.attempts)
    assert {quantum.inputs for quantum in ours if quantum.task != "gather"} == {1, 2}
    assert max(quantum.inputs for quantum in ours) > 2
    assert all(quantum.values.keys() > quantum.required.keys() for quantum in ours)


def test_a_file_of_another_version_is_read_through_the_graph(graph: Path, tmp_path: Path) -> None:
    later = tmp_path / "later.qg"
    with zipfile.ZipFile(graph) as old, zipfile.ZipFile(later, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "header.json.zst":
                header = json.loads(zstandard.ZstdDecompressor().decompress(content))
                assert header["version"] == provenance_quanta.VERSION
                text = json.dumps(header | {"version": header["version"] + 1})
                content = zstandard.ZstdCompressor().compress(text.encode())
            new.writestr(name, content)
    assert by_uuid(provenance_quanta.read(str(later))) == by_uuid(provenance_quanta.read(str(graph)))


def test_a_file_that_is_damaged_fails_in_the_middlewares_words(graph: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.qg"
    with zipfile.ZipFile(graph) as old, zipfile.ZipFile(cut, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[:-3] if name == "quanta.mb" else content)
    with pytest.raises(Exception, match="decompress") as ours:
        provenance_quanta.read(str(cut))
    with opened(cut) as reader, pytest.raises(type(ours.value), match="decompress"):
        reader.read_quanta()


def test_lines_of_a_harvest_say_how_each_quantum_ended(graph: Path, tmp_path: Path) -> None:
    quanta = by_uuid(provenance_quanta.read(str(graph)))
    logs, torn = tmp_path / "logs", tmp_path / "torn.jsonl"
    logs.mkdir()
    killed = [uuid for uuid, one in quanta.items() if is_failed(one) and not one.attempts[-1].exception]
    for uuid in quanta:
        (logs / f"{uuid}_isr_1.stderr").write_text("Traceback: no stars\n")
    torn.write_text("".join(json.dumps({"uuid": uuid, "words": "is empty"}) + "\n" for uuid in killed))
    out = tmp_path / "harvest.jsonl"
    answer = butler_helper.harvest(provenance=str(graph), logs=str(logs), out=str(out), torn=str(torn))
    found = {entry.uuid: entry for entry in parse_harvest(out.read_text().splitlines())}
    assert answer == {"quanta": len(quanta)}
    assert found.keys() == quanta.keys()
    for uuid, entry in found.items():
        quantum = quanta[uuid]
        assert (entry.task, entry.inputs) == (quantum.task, quantum.inputs)
        assert entry.data_id == canonical_data_id(quantum.required)
        assert entry.dimensions == {k: v for k, v in quantum.values.items() if k in COLUMN_DIMENSIONS}
        assert entry.log == str(logs / f"{uuid}_isr_1.stderr")
        if not quantum.attempts:
            assert (entry.status, entry.caveats, entry.attempts) == ("BLOCKED", "", ())
            continue
        last = quantum.attempts[-1]
        assert (entry.status, len(entry.attempts)) == (last.status.name, len(quantum.attempts))
        assert entry.caveats == (last.caveats.concise() if last.caveats else "")
        assert entry.log_tail == (None if entry.status in SUCCESSFUL else "Traceback: no stars")
        for ours, theirs in zip(entry.attempts, quantum.attempts, strict=True):
            usage, exception = theirs.resource_usage, theirs.exception
            assert (ours.state is QuantumState.SUCCEEDED) == (theirs.status.name in SUCCESSFUL)
            assert ours.started == (usage and usage.start)
            assert ours.ended == (usage and usage.end)
            assert ours.peak_mb == (usage and 1280)
            assert ours.cpu_seconds == (usage and 7.75)
            if exception:
                assert (ours.exception_type, ours.exception_message) == (
                    exception.type_name,
                    exception.message.replace("\x1b", "\\x1b"),
                )
            else:
                torn_one = is_failed(quantum) and theirs is last
                assert ours.exception_type == ("TornFile" if torn_one else None)


def is_failed(quantum: ProvenanceQuantum) -> bool:
    return bool(quantum.attempts) and quantum.attempts[-1].status.name not in SUCCESSFUL


ONE, TWO, THREE, FOUR, FIVE, SIX = (f"01930000-0000-0000-0000-00000000000{number}" for number in range(1, 7))


def test_logs_are_found_by_their_names_and_those_of_clusters_by_their_commands(tmp_path: Path) -> None:
    deep = tmp_path / "logs" / "isr" / "9813"
    deep.mkdir(parents=True)
    alone = deep / f"{ONE}_isr_1.77.stderr"
    alone.write_bytes(b"")
    (deep / f"{ONE}_isr_1.77.stdout").write_text(f"--qgraph-node-id {TWO}")
    cluster = deep / "visit_7.stderr"
    cluster.write_text(f"pipetask run-qbb --qgraph-node-id '{TWO},{THREE}' more\n")
    (deep / "folder.stderr").mkdir()
    (deep / "dangling.stderr").symlink_to(deep / "nowhere")
    (deep / f"{FOUR}_isr_4.77.stderr").symlink_to(deep / "nowhere")
    (deep / f"{SIX}_isr_6.77.stderr").symlink_to(deep / f"{SIX}_isr_6.77.stderr")
    os.mkfifo(deep / f"{FIVE}_isr_5.77.stderr")
    (deep / "back").symlink_to(tmp_path / "logs", target_is_directory=True)
    other = deep / "pipetaskInit.stderr"
    other.write_text("no quantum\n")
    found = log_files(str(tmp_path / "logs"))
    assert found == {
        ONE: str(alone),
        TWO: str(cluster),
        THREE: str(cluster),
        "pipetaskInit.stderr": str(other),
    }
    assert log_files(str(tmp_path / "none")) == {}
