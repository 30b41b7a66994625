"""The task of a rehearsal, and its graph: two quanta one after another, of no dimensions, that do nothing.

Not for campaigns: only `rehearsal` runs it, in the forkserver.
"""
# mypy: disallow-subclassing-any=False, disable-error-code="call-arg"
# lsst ships no types that mypy may follow: base classes are Any, and their class keywords unknown.

import uuid
from collections.abc import Iterable
from typing import Any, ClassVar

from lsst.daf.butler import DimensionDataAttacher, DimensionUniverse
from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from lsst.pipe.base import connectionTypes as ct  # noqa: N813 - as everybody writes it
from lsst.pipe.base.pipeline_graph import PipelineGraph
from lsst.pipe.base.quantum_graph import (
    HeaderModel,
    PredictedDatasetModel,
    PredictedInitQuantaModel,
    PredictedQuantumDatasetsModel,
    PredictedQuantumGraph,
    PredictedQuantumGraphComponents,
)

__all__ = ["RehearsalTask", "rehearsal_graph"]

_RUN = "rehearsal"
_FIRST, _SECOND = "rehearsal1", "rehearsal2"


class RehearsalConnections(PipelineTaskConnections, dimensions=()):
    """One small dataset out."""

    product = ct.Output(doc="Nothing.", name=_FIRST, storageClass="StructuredDataDict", dimensions=())


class RehearsalConfig(PipelineTaskConfig, pipelineConnections=RehearsalConnections):
    """Nothing to choose."""


class RehearsalTask(PipelineTask):
    """Read what there is to read and write a word."""

    ConfigClass: ClassVar = RehearsalConfig
    _DefaultName: ClassVar = "rehearsal"

    def runQuantum(  # noqa: N802 - upstream's name
        self,
        butlerQC: QuantumContext,  # noqa: N803 - upstream's name
        inputRefs: InputQuantizedConnection,  # noqa: N803 - upstream's name
        outputRefs: OutputQuantizedConnection,  # noqa: N803 - upstream's name
    ) -> None:
        """Do it."""
        butlerQC.get(inputRefs)
        self.log.info("Rehearsing")
        self.metadata["rehearsal"] = 1
        butlerQC.put(Struct(product={"rehearsal": 1}), outputRefs)


class SecondConnections(RehearsalConnections, dimensions=()):
    """The dataset of another task in, one out."""

    source = ct.Input(doc="Nothing.", name=_FIRST, storageClass="StructuredDataDict", dimensions=())
    product = ct.Output(doc="Nothing.", name=_SECOND, storageClass="StructuredDataDict", dimensions=())


class SecondConfig(PipelineTaskConfig, pipelineConnections=SecondConnections):
    """Nothing to choose."""


class SecondTask(RehearsalTask):
    """The same after another."""

    ConfigClass: ClassVar = SecondConfig


def rehearsal_graph(universe: DimensionUniverse) -> PredictedQuantumGraph:
    """Return a graph of two quanta, of which the second reads what the first writes."""
    pipeline = PipelineGraph(universe=universe)
    pipeline.add_task(_FIRST, RehearsalTask)
    pipeline.add_task(_SECOND, SecondTask)
    pipeline.resolve(dimensions=universe, dataset_types={})
    datasets: dict[str, PredictedDatasetModel] = {}
    quanta = [_quantum(node, datasets) for node in pipeline.tasks.values()]
    begin = [PredictedQuantumDatasetsModel(quantum_id=uuid.uuid4(), task_label=q.task_label) for q in quanta]
    components = PredictedQuantumGraphComponents(
        header=HeaderModel(output_run=_RUN),
        pipeline_graph=pipeline,
        dimension_data=DimensionDataAttacher(dimensions=universe.empty),
        init_quanta=PredictedInitQuantaModel(root=begin),
        quantum_datasets={quantum.quantum_id: quantum for quantum in quanta},
    )
    return components.assemble()


def _quantum(node: Any, datasets: dict[str, PredictedDatasetModel]) -> PredictedQuantumDatasetsModel:  # noqa: ANN401 - a TaskNode
    def models(edges: Iterable[Any]) -> dict[str, list[PredictedDatasetModel]]:
        names = {edge.connection_name: edge.parent_dataset_type_name for edge in edges}
        return {connection: [dataset(name)] for connection, name in names.items()}

    def dataset(name: str) -> PredictedDatasetModel:
        new = PredictedDatasetModel(dataset_id=uuid.uuid4(), dataset_type_name=name, run=_RUN)
        return datasets.setdefault(name, new)

    return PredictedQuantumDatasetsModel(
        quantum_id=uuid.uuid4(),
        task_label=node.label,
        inputs=models(node.iter_all_inputs()),
        outputs=models(node.iter_all_outputs()),
    )
