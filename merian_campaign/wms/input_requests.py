"""How much memory single quanta ask for: by the number of their inputs, where the configuration says so."""

from collections.abc import Mapping
from uuid import UUID

from merian_campaign.domain.resources.input_requests import request_of, requests_from

__all__ = ["own_requests"]


def own_requests(graph: str, text: str) -> Mapping[str, int]:
    """Return the requests of the quanta of a graph that have one of their own, MiB by UUID.

    Parameters
    ----------
    graph : `str`
        The submission's quantum graph file.
    text : `str`
        ``campaignMemory`` of its configuration.

    Raises
    ------
    ValueError
        The text is none.
    """
    by_task = requests_from(text)
    if not by_task:
        return {}
    from lsst.pipe.base.pipeline_graph import TaskImportMode  # noqa: PLC0415 - heavy, and rarely needed
    from lsst.pipe.base.quantum_graph import PredictedQuantumGraph  # noqa: PLC0415

    with PredictedQuantumGraph.open(graph, import_mode=TaskImportMode.DO_NOT_IMPORT) as reader:
        reader.read_thin_graph()
        quanta = reader.components.thin_graph.quanta
        tasks: dict[UUID, str] = {
            quantum.quantum_id: task for task in by_task.keys() & quanta.keys() for quantum in quanta[task]
        }
        reader.read_quantum_datasets(tasks)
        known = reader.components.quantum_datasets
        return {
            str(quantum): request_of(
                by_task[task], inputs=sum(1 for _ in known[quantum].iter_input_dataset_ids())
            )
            for quantum, task in tasks.items()
            if quantum in known
        }
