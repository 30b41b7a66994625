"""Count quanta from quantum graphs and the butler alone, as a check on whoever keeps books of them.

A quantum counts once however many graphs predict it, and as succeeded once its metadata is registered.  What
lies between the two (failed, blocked, pending) cannot be told apart this way, and this module does not try.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lsst.daf.butler import Butler, MissingCollectionError, MissingDatasetTypeError
from lsst.pipe.base.pipeline_graph import TaskImportMode
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

__all__ = ["QuantumCount", "count_quanta"]

DataId = tuple[int | str, ...]


@dataclass(frozen=True, kw_only=True)
class QuantumCount:
    """Quanta of one task, or of all.

    Parameters
    ----------
    expected : `int`
        Quanta that the graphs predict.
    succeeded : `int`
        Those whose metadata the butler has.
    """

    expected: int
    succeeded: int


@dataclass(frozen=True, kw_only=True)
class _Graph:
    output_run: str
    quanta: dict[str, set[DataId]]


def count_quanta(*, repository: Path, graphs: Iterable[Path]) -> dict[str, QuantumCount]:
    """Count the quanta of some predicted quantum graphs.

    Parameters
    ----------
    repository : `pathlib.Path`
        Butler repository.
    graphs : `~collections.abc.Iterable` [`pathlib.Path`]
        Predicted quantum graphs (``.qg`` files).  Pass those of one group of a campaign, or of several
        groups whose quanta are different ones.

    Returns
    -------
    counts : `dict` [`str`, `QuantumCount`]
        Counts by task label; sum them for the total.
    """
    expected: dict[str, set[DataId]] = defaultdict(set)
    succeeded: dict[str, set[DataId]] = defaultdict(set)
    with Butler.from_config(os.fspath(repository), writeable=False) as butler:
        for graph in map(_read, graphs):
            for label, quanta in graph.quanta.items():
                expected[label] |= quanta
                succeeded[label] |= quanta & _with_metadata(butler, label, graph.output_run)
    return {
        label: QuantumCount(expected=len(quanta), succeeded=len(succeeded[label]))
        for label, quanta in sorted(expected.items())
    }


def _read(path: Path) -> _Graph:
    """Read what a predicted quantum graph predicts."""
    with PredictedQuantumGraph.open(os.fspath(path), import_mode=TaskImportMode.DO_NOT_IMPORT) as reader:
        reader.read_thin_graph()
        components = reader.components
    quanta = {
        label: {tuple(quantum.data_coordinate) for quantum in thin}
        for label, thin in components.thin_graph.quanta.items()
    }
    return _Graph(output_run=components.header.output_run, quanta=quanta)


def _with_metadata(butler: Butler, label: str, run: str) -> set[DataId]:
    """Return the data IDs whose metadata is registered in a RUN collection."""
    try:
        refs = butler.query_datasets(f"{label}_metadata", collections=run, explain=False, limit=None)
    except (MissingCollectionError, MissingDatasetTypeError):
        return set()
    # As graphs do, with the values of implied dimensions.
    return {tuple(ref.dataId.full_values) for ref in refs}
