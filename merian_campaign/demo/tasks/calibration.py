"""Calibration tasks: instrument signature removal, bias and flat construction.

The ``isr`` of the three pipelines is one task with switches, as in the real ones.
"""

# mypy: disallow-subclassing-any=False, disable-error-code="call-arg"
# lsst ships no types that mypy may follow: base classes are Any, and their class keywords unknown.
# ruff: noqa: N803, N815 (connections and configuration are camelCase in lsst)

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from lsst.pex.config import Field
from lsst.pipe.base import PipelineTaskConnections, Struct
from lsst.pipe.base.connectionTypes import Input, Output, PrerequisiteInput

from merian_campaign.demo.algorithms import Pixels
from merian_campaign.demo.sky import CROSSTALK
from merian_campaign.demo.survey import OVERSCAN_WIDTH
from merian_campaign.demo.tasks.base import DemoConfig, DemoTask, TaskFolders

__all__ = [
    "BiasCombineTask",
    "CrosstalkSourcesTask",
    "FlatCombineTask",
    "FlatMeasureTask",
    "FlatNormTask",
    "IsrTask",
]

_FRAME = ("instrument", "exposure", "detector")
_RAW = {"name": "raw", "storageClass": "NumpyArray", "dimensions": _FRAME}
_BIAS = {
    "name": "bias",
    "storageClass": "NumpyArray",
    "dimensions": ("instrument", "detector"),
    "isCalibration": True,
}
_FLAT = {
    "name": "flat",
    "storageClass": "NumpyArray",
    "dimensions": ("instrument", "detector", "physical_filter"),
    "isCalibration": True,
}


def _subtract_overscan(raw: npt.NDArray[np.int32]) -> Pixels:
    """Return the science pixels without the electronic level."""
    level = float(np.median(raw[:, -OVERSCAN_WIDTH:]))
    return raw[:, :-OVERSCAN_WIDTH].astype(np.float64) - level


class IsrConnections(PipelineTaskConnections, dimensions=_FRAME):
    """A raw and the calibrations it needs; the switches of the configuration drop those it does not."""

    raw = Input(doc="Raw pixels with overscan.", **_RAW)
    camera = PrerequisiteInput(
        doc="Camera geometry.",
        name="camera",
        storageClass="StructuredDataDict",
        dimensions=("instrument",),
        isCalibration=True,
    )
    defects = PrerequisiteInput(
        doc="Bad columns.",
        name="defects",
        storageClass="NumpyArray",
        dimensions=("instrument", "detector"),
        isCalibration=True,
    )
    bias = PrerequisiteInput(doc="Combined bias.", **_BIAS)
    flat = PrerequisiteInput(doc="Combined flat.", **_FLAT)
    # Not a prerequisite: DRP-Merian.yaml makes it as well, and must resolve as a whole.
    crosstalkSources = Input(
        doc="Pixels that leak into the other half of the detector.",
        name="overscanRaw",
        storageClass="NumpyArray",
        dimensions=_FRAME,
    )
    outputExposure = Output(
        doc="Pixels without the signature of the instrument.",
        name="postISRCCD",
        storageClass="NumpyArray",
        dimensions=_FRAME,
    )

    def __init__(self, *, config: Any = None) -> None:  # noqa: ANN401 (the class that follows)
        for switch, connection in (
            ("doDefect", "defects"),
            ("doBias", "bias"),
            ("doFlat", "flat"),
            ("doCrosstalk", "crosstalkSources"),
        ):
            if not getattr(config, switch):
                delattr(self, connection)


class IsrConfig(DemoConfig, pipelineConnections=IsrConnections):
    """Which corrections to make."""

    doDefect = Field[bool](doc="Interpolate over bad columns.", default=True)
    doBias = Field[bool](doc="Subtract the bias.", default=True)
    doFlat = Field[bool](doc="Divide by the flat.", default=True)
    doCrosstalk = Field[bool](doc="Subtract crosstalk.", default=True)


class IsrTask(DemoTask):
    """Remove the signature of the instrument from one detector of one exposure."""

    ConfigClass: ClassVar[type[IsrConfig]] = IsrConfig
    _DefaultName: ClassVar[str] = "isr"

    def compute(
        self,
        surroundings: TaskFolders,
        *,
        raw: npt.NDArray[np.int32],
        camera: dict[str, dict[str, int]],
        defects: npt.NDArray[np.int64] | None = None,
        bias: Pixels | None = None,
        flat: Pixels | None = None,
        crosstalkSources: Pixels | None = None,
    ) -> Struct:
        """Correct the pixels in the order in which the camera spoilt them, last first."""
        image = _subtract_overscan(raw)
        geometry = camera[f"S{surroundings.data_id['detector']}"]
        if image.shape != (geometry["height"], geometry["width"]):
            raise ValueError(f"Raw has {image.shape} pixels, but the camera says {geometry}.")
        if bias is not None:
            image -= bias
        if crosstalkSources is not None:
            image -= CROSSTALK * crosstalkSources[:, ::-1]
        if flat is not None:
            image /= flat
        if defects is not None:
            # Defects never lie in the first column; on good detectors the column before a bad one is good.
            image[:, defects] = image[:, defects - 1]
        return Struct(outputExposure=image)


class BiasCombineConnections(PipelineTaskConnections, dimensions=("instrument", "detector")):
    """Processed zeros of one detector and their combination."""

    inputExps = Input(
        doc="Processed zeros.", name="cpBiasProc", storageClass="NumpyArray", dimensions=_FRAME, multiple=True
    )
    outputData = Output(doc="Combined bias.", **_BIAS)


class BiasCombineConfig(DemoConfig, pipelineConnections=BiasCombineConnections):
    """Configuration of the bias combination."""


class BiasCombineTask(DemoTask):
    """Average the zeros of one detector."""

    ConfigClass: ClassVar[type[BiasCombineConfig]] = BiasCombineConfig
    _DefaultName: ClassVar[str] = "cpBiasCombine"

    def compute(self, _: TaskFolders, *, inputExps: list[Pixels]) -> Struct:
        """Return the mean of the inputs."""
        return Struct(outputData=np.mean(inputExps, axis=0))


class CrosstalkSourcesConnections(PipelineTaskConnections, dimensions=_FRAME):
    """A raw and its pixels after overscan subtraction."""

    raw = Input(doc="Raw pixels with overscan.", **_RAW)
    overscanRaw = Output(
        doc="Pixels that may leak.", name="overscanRaw", storageClass="NumpyArray", dimensions=_FRAME
    )


class CrosstalkSourcesConfig(DemoConfig, pipelineConnections=CrosstalkSourcesConnections):
    """Configuration of the crosstalk sources."""


class CrosstalkSourcesTask(DemoTask):
    """Prepare the pixels that crosstalk correction subtracts later."""

    ConfigClass: ClassVar[type[CrosstalkSourcesConfig]] = CrosstalkSourcesConfig
    _DefaultName: ClassVar[str] = "isrForCrosstalkSources"

    def compute(self, _: TaskFolders, *, raw: npt.NDArray[np.int32]) -> Struct:
        """Return the raw without overscan."""
        return Struct(overscanRaw=_subtract_overscan(raw))


class FlatMeasureConnections(PipelineTaskConnections, dimensions=_FRAME):
    """A processed flat and its statistics."""

    inputExp = Input(doc="Processed flat.", name="cpFlatProc", storageClass="NumpyArray", dimensions=_FRAME)
    outputStats = Output(
        doc="Statistics.", name="flatStats", storageClass="StructuredDataDict", dimensions=_FRAME
    )


class FlatMeasureConfig(DemoConfig, pipelineConnections=FlatMeasureConnections):
    """Configuration of the flat statistics."""


class FlatMeasureTask(DemoTask):
    """Measure the level of one flat."""

    ConfigClass: ClassVar[type[FlatMeasureConfig]] = FlatMeasureConfig
    _DefaultName: ClassVar[str] = "cpFlatMeasure"

    def compute(self, _: TaskFolders, *, inputExp: Pixels) -> Struct:
        """Return median and scatter."""
        stats = {"median": float(np.median(inputExp)), "scatter": float(np.std(inputExp))}
        return Struct(outputStats=stats)


class FlatNormConnections(PipelineTaskConnections, dimensions=("instrument", "physical_filter")):
    """Statistics of all flats of a filter and the scales that bring them to one level."""

    inputMDs = Input(
        doc="Statistics.",
        name="flatStats",
        storageClass="StructuredDataDict",
        dimensions=_FRAME,
        multiple=True,
    )
    outputScales = Output(
        doc="Scale of each exposure, by exposure ID.",
        name="cpFlatNormScales",
        storageClass="StructuredDataDict",
        dimensions=("instrument", "physical_filter"),
    )


class FlatNormConfig(DemoConfig, pipelineConnections=FlatNormConnections):
    """Configuration of the flat normalization."""


class FlatNormTask(DemoTask):
    """Find one scale for each exposure, common to its detectors."""

    ConfigClass: ClassVar[type[FlatNormConfig]] = FlatNormConfig
    _DefaultName: ClassVar[str] = "cpFlatNorm"

    def compute(
        self,
        surroundings: TaskFolders,
        *,
        inputMDs: list[dict[str, float]],
    ) -> Struct:
        """Average the detectors of each exposure."""
        levels: dict[str, list[float]] = {}
        for data_id, stats in zip(surroundings.inputs["inputMDs"], inputMDs, strict=True):
            levels.setdefault(str(data_id["exposure"]), []).append(stats["median"])
        return Struct(outputScales={exposure: float(np.mean(found)) for exposure, found in levels.items()})


class FlatCombineConnections(
    PipelineTaskConnections, dimensions=("instrument", "detector", "physical_filter")
):
    """Processed flats of one detector and filter, and their combination."""

    inputExps = Input(
        doc="Processed flats.", name="cpFlatProc", storageClass="NumpyArray", dimensions=_FRAME, multiple=True
    )
    inputScales = Input(
        doc="Scale of each exposure.",
        name="cpFlatNormScales",
        storageClass="StructuredDataDict",
        dimensions=("instrument", "physical_filter"),
    )
    outputData = Output(doc="Combined flat.", **_FLAT)


class FlatCombineConfig(DemoConfig, pipelineConnections=FlatCombineConnections):
    """Configuration of the flat combination."""


class FlatCombineTask(DemoTask):
    """Average the scaled flats of one detector and filter."""

    ConfigClass: ClassVar[type[FlatCombineConfig]] = FlatCombineConfig
    _DefaultName: ClassVar[str] = "cpFlatCombine"

    def compute(
        self,
        surroundings: TaskFolders,
        *,
        inputExps: list[Pixels],
        inputScales: dict[str, float],
    ) -> Struct:
        """Return the mean of the inputs, each divided by its scale."""
        exposures = [str(data_id["exposure"]) for data_id in surroundings.inputs["inputExps"]]
        scaled = [image / inputScales[key] for image, key in zip(inputExps, exposures, strict=True)]
        return Struct(outputData=np.mean(scaled, axis=0))
