"""Tasks that end in every way that tasks have, by data ID, on the demo survey."""

from __future__ import annotations

import os
import signal
from typing import Any, ClassVar

from lsst.pex.config import Field
from lsst.pipe.base import (
    AlgorithmError,
    AnnotatedPartialOutputsError,
    NoWorkFound,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
    UnprocessableDataError,
)
from lsst.pipe.base import connectionTypes as ct  # noqa: N813 - as everybody writes it

DETECTOR = ("instrument", "exposure", "detector")


class Alg(AlgorithmError):  # noqa: N818 - the point: no word of its name tells what it is
    """An error whose name tells nothing, as of most that pipelines define."""

    @property
    def metadata(self) -> dict[str, int]:
        return {"stars": 0}


class RaisingConnections(PipelineTaskConnections, dimensions=DETECTOR):
    raw = ct.Input(doc="d", name="raw", storageClass="NumpyArray", dimensions=DETECTOR, deferLoad=True)
    a = ct.Output(doc="d", name="caseA", storageClass="StructuredDataDict", dimensions=DETECTOR)
    more = ct.Output(doc="d", name="caseMore", storageClass="StructuredDataDict", dimensions=DETECTOR)


class RaisingConfig(PipelineTaskConfig, pipelineConnections=RaisingConnections):
    plain = Field(dtype=bool, default=False, doc="Whether every quantum succeeds.")


class RaisingTask(PipelineTask):
    ConfigClass: ClassVar = RaisingConfig
    _DefaultName: ClassVar = "raising"

    def runQuantum(self, butlerQC: Any, inputRefs: Any, outputRefs: Any) -> None:  # noqa: N802, N803 - upstream's
        del inputRefs
        data_id = butlerQC.quantum.dataId
        match (self.config.plain, data_id["exposure"], data_id["detector"]):
            case (False, 970612, 2):
                raise NoWorkFound("nothing here")
            case (False, 970613, 1):
                butlerQC.put({"x": 1}, outputRefs.a)
                try:
                    raise Alg("no psf stars")
                except Alg as error:
                    raise AnnotatedPartialOutputsError.annotate(error, self, log=self.log) from error
            case (False, 970613, 2):
                raise UnprocessableDataError("too bright")
            case (False, 971020, 1):
                raise Alg("[band] cannot find\x00 \x1b[31many objects")
            case (False, 971020, 2):
                os.kill(os.getpid(), signal.SIGSEGV)
            case (False, 971021, 2):
                os._exit(0)
        butlerQC.put(Struct(a={"x": 1}, more={"x": 1}), outputRefs)


class AfterConnections(PipelineTaskConnections, dimensions=DETECTOR):
    a = ct.Input(doc="d", name="caseA", storageClass="StructuredDataDict", dimensions=DETECTOR)
    b = ct.Output(doc="d", name="caseB", storageClass="StructuredDataDict", dimensions=DETECTOR)


class AfterConfig(PipelineTaskConfig, pipelineConnections=AfterConnections):
    pass


class AfterTask(PipelineTask):
    ConfigClass: ClassVar = AfterConfig
    _DefaultName: ClassVar = "after"

    def run(self, a: dict[str, int]) -> Struct:
        return Struct(b={"y": a["x"]})


class LoadingConnections(PipelineTaskConnections, dimensions=DETECTOR):
    a = ct.Input(doc="d", name="caseA", storageClass="StructuredDataDict", dimensions=DETECTOR)
    d = ct.Output(doc="d", name="caseD", storageClass="StructuredDataDict", dimensions=DETECTOR)


class LoadingConfig(PipelineTaskConfig, pipelineConnections=LoadingConnections):
    pass


class LoadingTask(PipelineTask):
    """A task that loads a file when it is made, as in the initialization of a run."""

    ConfigClass: ClassVar = LoadingConfig
    _DefaultName: ClassVar = "loading"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        raise FileNotFoundError("the model [weights.pt] is not there")


class GatherConnections(PipelineTaskConnections, dimensions=("instrument", "exposure")):
    b = ct.Input(doc="d", name="caseB", storageClass="StructuredDataDict", dimensions=DETECTOR, multiple=True)
    c = ct.Output(
        doc="d", name="caseC", storageClass="StructuredDataDict", dimensions=("instrument", "exposure")
    )


class GatherConfig(PipelineTaskConfig, pipelineConnections=GatherConnections):
    pass


class GatherTask(PipelineTask):
    ConfigClass: ClassVar = GatherConfig
    _DefaultName: ClassVar = "gather"

    def run(self, b: list[dict[str, int]]) -> Struct:
        return Struct(c={"n": len(b)})
