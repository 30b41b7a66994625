"""What the demo's tasks have in common: the fault fields, deterministic input order, and their surroundings.

Science lives in the modules beside this one.
"""

# mypy: disallow-subclassing-any=False, disable-error-code="call-arg"
# lsst ships no types that mypy may follow: base classes are Any, and their class keywords unknown.
# ruff: noqa: N802, N803, N815 (names set by lsst.pipe.base, and task configuration is camelCase there)

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from astropy.table import Table
from lsst.daf.butler import DataCoordinate, DatasetRef
from lsst.pex.config import ChoiceField, Field
from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from lsst.sphgeom import ConvexPolygon, LonLat

from merian_campaign.demo.faults import FAULT_KINDS, Fault
from merian_campaign.demo.survey import ORIGIN_DEC, ORIGIN_RA, PIXELS_PER_DEGREE, Box

__all__ = ["DemoConfig", "DemoTask", "TaskFolders", "patch_box", "stack_tables"]


class _NoConnections(PipelineTaskConnections, dimensions=()):
    """No inputs and no outputs: every task brings its own."""


class DemoConfig(PipelineTaskConfig, pipelineConnections=_NoConnections):
    """Configuration fields that every task of the demo has."""

    faultKind = ChoiceField[str](
        doc="Fault to inject into the quanta that faultDataId matches.",
        allowed=FAULT_KINDS,
        default="none",
        optional=False,
    )
    faultDataId = Field[str](
        doc="Quanta to hit, such as visit:970612,detector:2; empty text matches nothing.", default=""
    )
    faultMegabytes = Field[int](doc="Megabytes that a memory fault allocates.", default=0)
    faultLedger = Field[str](doc="Directory where faults that strike once leave their marks.", default="")

    def fault(self) -> Fault:
        """Return the configured fault."""
        return Fault(
            kind=self.faultKind,
            data_id=self.faultDataId,
            megabytes=self.faultMegabytes,
            ledger=self.faultLedger,
        )

    def validate(self) -> None:
        """Refuse a fault that cannot work as configured."""
        super().validate()
        self.fault().check()


@dataclass(frozen=True, kw_only=True)
class TaskFolders:
    """What a task may ask about its quantum besides the input values.

    Parameters
    ----------
    data_id : `dict` [`str`, `object`]
        Data ID of the quantum, with implied dimensions.
    footprint : `Box` or `None`
        Sky pixels under the quantum, if it has one simple region.
    inputs, outputs : `dict` [`str`, `list` [`dict`]]
        Data IDs of connections with many datasets, in the order of the values.
    """

    data_id: Mapping[str, Any]
    footprint: Box | None
    inputs: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    outputs: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)


class DemoTask(PipelineTask):
    """A task that strikes its configured fault and then computes.

    Subclasses implement ``compute``, which takes the surroundings and the inputs by connection name, and
    returns a struct of outputs.
    """

    ConfigClass: ClassVar[type[DemoConfig]] = DemoConfig
    _DefaultName: ClassVar[str] = "demo"
    # As for PipelineTask.run: each subclass has its own signature.
    compute: Callable[..., Struct]

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Run one quantum.

        Parameters
        ----------
        butlerQC : `lsst.pipe.base.QuantumContext`
            Butler of the quantum.
        inputRefs : `lsst.pipe.base.InputQuantizedConnection`
            References to the inputs.
        outputRefs : `lsst.pipe.base.OutputQuantizedConnection`
            References to the outputs.
        """
        quantum_id = butlerQC.quantum.dataId
        data_id = dict(quantum_id.mapping)
        self.config.fault().strike(label=self.getName(), data_id=data_id)
        surroundings = TaskFolders(
            data_id=data_id,
            footprint=_footprint(quantum_id),
            inputs=_sort_multiple(inputRefs),
            outputs=_sort_multiple(outputRefs),
        )
        butlerQC.put(self.compute(surroundings, **butlerQC.get(inputRefs)), outputRefs)


def _sort_multiple(connections: Any) -> dict[str, list[dict[str, Any]]]:  # noqa: ANN401 (two unrelated types)
    """Sort the references of multiple connections by data ID, and return those data IDs.

    The order may differ from one quantum graph to the next; sums of floating point numbers must not.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for name, refs in list(connections):
        if isinstance(refs, list | tuple):
            ordered = sorted(refs, key=_data_id_values)
            setattr(connections, name, ordered)
            found[name] = [dict(ref.dataId.mapping) for ref in ordered]
    return found


def _data_id_values(ref: DatasetRef) -> tuple[Any, ...]:
    return tuple(ref.dataId.required_values)


def _footprint(data_id: DataCoordinate) -> Box | None:
    """Return the sky pixels under a data ID, from the corners of its region."""
    region = data_id.region
    if not isinstance(region, ConvexPolygon):  # not spatial, or spatial twice (a visit on a patch)
        return None
    corners = [LonLat(vertex) for vertex in region.getVertices()]
    x = [round((corner.getLon().asDegrees() - ORIGIN_RA) * PIXELS_PER_DEGREE) for corner in corners]
    y = [round((corner.getLat().asDegrees() - ORIGIN_DEC) * PIXELS_PER_DEGREE) for corner in corners]
    return Box(x0=min(x), y0=min(y), x1=max(x), y1=max(y))


def patch_box(skymap: Mapping[str, Any], data_id: Mapping[str, Any], kind: str = "outer") -> Box:
    """Return the sky pixels of a patch.

    Parameters
    ----------
    skymap : `~collections.abc.Mapping`
        The ``skyMap`` dataset.
    data_id : `~collections.abc.Mapping`
        Data ID with tract and patch.
    kind : `str`, optional
        ``inner`` or ``outer``.

    Returns
    -------
    box : `Box`
        Its area.
    """
    x0, y0, x1, y1 = skymap["tracts"][str(data_id["tract"])]["patches"][str(data_id["patch"])][kind]
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)


def stack_tables(tables: list[Table]) -> Table:
    """Put tables of the same columns below each other.

    Parameters
    ----------
    tables : `list` [`astropy.table.Table`]
        At least one table.

    Returns
    -------
    table : `astropy.table.Table`
        All their rows.
    """
    names = tables[0].colnames
    return Table({name: np.concatenate([np.asarray(table[name]) for table in tables]) for name in names})
