"""The quanta of a provenance graph, one after the other, without making a graph of them.

Of what the middleware does to read one, nine parts in ten go into networks of quanta and datasets. A harvest
asks for neither: it reads the same records by the same classes. What it cannot read so, of another version
of the file or the middleware, it reads through the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

__all__ = ["VERSION", "ProvenanceQuantum", "read", "read_graph", "read_records"]

VERSION: Final = 1
"""Of files whose records are read by themselves."""

_RECORDS: Final = "quanta"


class ProvenanceQuantum(NamedTuple):
    """A quantum of a provenance graph; identifiers and attempts are the middleware's.

    Parameters
    ----------
    uuid : `uuid.UUID`
        Its id in that graph.
    task : `str`
        Task label.
    required, values : `~collections.abc.Mapping`
        Its data ID: the required dimensions, and all of them.
    attempts : sequence
        In order; none if it was blocked.
    inputs : `int`
        Datasets that the graph has as its inputs.
    """

    uuid: Any
    task: str
    required: Mapping[str, int | str]
    values: Mapping[str, int | str]
    attempts: Sequence[Any]
    inputs: int


def read(path: str) -> list[ProvenanceQuantum]:
    """Return the quanta of a provenance graph, by task."""
    from lsst.pipe.base.quantum_graph import ProvenanceQuantumGraphReader  # noqa: PLC0415 - costs seconds

    with ProvenanceQuantumGraphReader.open(path) as reader:
        if reader.header.version == VERSION:
            try:
                return _by_task(read_records(reader), tasks=reader.pipeline_graph.tasks)
            except Exception:  # noqa: BLE001, S110 - whatever it is, theirs can do it or says what it is
                pass
        return list(read_graph(reader))


def _by_task(quanta: Iterable[ProvenanceQuantum], *, tasks: Mapping[str, Any]) -> list[ProvenanceQuantum]:
    found: dict[str, list[ProvenanceQuantum]] = {label: [] for label in tasks}
    for quantum in quanta:
        found[quantum.task].append(quantum)
    return [quantum for of_task in found.values() for quantum in of_task]


def read_records(reader: Any) -> Iterator[ProvenanceQuantum]:  # noqa: ANN401 - lsst type
    """Yield the quanta of a graph from the records of its file.

    Parameters
    ----------
    reader : `lsst.pipe.base.quantum_graph.ProvenanceQuantumGraphReader`
        Open, and nothing read yet.
    """
    from lsst.pipe.base.quantum_graph import MultiblockReader, ProvenanceQuantumModel  # noqa: PLC0415

    tasks = reader.pipeline_graph.tasks
    names = {label: tuple(node.dimensions.data_coordinate_keys) for label, node in tasks.items()}
    required = {label: tuple(node.dimensions.required) for label, node in tasks.items()}
    for record in MultiblockReader.read_all_models_in_zip(
        reader.zf,
        _RECORDS,
        ProvenanceQuantumModel,
        reader.decompressor,
        int_size=reader.header.int_size,
        page_size=reader.page_size,
    ):
        task = record.task_label
        values = dict(zip(names[task], record.data_coordinate, strict=True))
        yield ProvenanceQuantum(
            uuid=record.quantum_id,
            task=task,
            required={name: values[name] for name in required[task]},
            values=values,
            attempts=record.attempts,
            inputs=len(set().union(*record.inputs.values())),
        )


def read_graph(reader: Any) -> Iterator[ProvenanceQuantum]:  # noqa: ANN401 - lsst type
    """Yield the quanta of a graph as the middleware reads it; parameters as of `read_records`."""
    reader.read_quanta()
    nodes, datasets = reader.graph.quantum_only_xgraph.nodes, reader.graph.bipartite_xgraph
    for task, quanta in reader.graph.quanta_by_task.items():
        for data_id, uuid in quanta.items():
            yield ProvenanceQuantum(
                uuid=uuid,
                task=task,
                required=dict(data_id.required),
                values=dict(data_id.mapping if data_id.hasFull() else data_id.required),
                attempts=nodes[uuid]["attempts"],
                inputs=datasets.in_degree(uuid),
            )
