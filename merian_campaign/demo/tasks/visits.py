"""Visit tasks: tables over all detectors of a visit and over all visits."""

# mypy: disallow-subclassing-any=False, disable-error-code="call-arg"
# lsst ships no types that mypy may follow: base classes are Any, and their class keywords unknown.
# ruff: noqa: N803, N815 (connections are camelCase in lsst)

from typing import Any, ClassVar

import numpy as np
from astropy.table import Table
from lsst.pipe.base import PipelineTaskConnections, Struct
from lsst.pipe.base.connectionTypes import Input, Output

from merian_campaign.demo.tasks.base import DemoConfig, DemoTask, TaskFolders, stack_tables

__all__ = [
    "ConsolidatePreSourceTableTask",
    "ConsolidateSourceTableTask",
    "ConsolidateVisitSummaryTask",
    "MakeCcdVisitTableTask",
    "MakeVisitTableTask",
]

_VISIT = ("instrument", "visit")
_DETECTOR = ("instrument", "visit", "detector")


class ConsolidateVisitSummaryConnections(PipelineTaskConnections, dimensions=_VISIT):
    """Summaries of the detectors of a visit, and the table of them."""

    calexpSummary = Input(
        doc="Summary of each detector.",
        name="calexpSummary",
        storageClass="StructuredDataDict",
        dimensions=_DETECTOR,
        multiple=True,
    )
    visitSummary = Output(
        doc="One row a detector.", name="visitSummary", storageClass="ArrowAstropy", dimensions=_VISIT
    )


class ConsolidateVisitSummaryConfig(DemoConfig, pipelineConnections=ConsolidateVisitSummaryConnections):
    """Configuration of the visit summary."""


class ConsolidateVisitSummaryTask(DemoTask):
    """Collect the summaries of the detectors of a visit."""

    ConfigClass: ClassVar[type[ConsolidateVisitSummaryConfig]] = ConsolidateVisitSummaryConfig
    _DefaultName: ClassVar[str] = "consolidateVisitSummary"

    def compute(self, surroundings: TaskFolders, *, calexpSummary: list[dict[str, Any]]) -> Struct:
        """Return one row a detector."""
        data_ids = surroundings.inputs["calexpSummary"]
        rows = [
            {"visit": data_id["visit"], "detector": data_id["detector"], "band": data_id["band"]} | summary
            for data_id, summary in zip(data_ids, calexpSummary, strict=True)
        ]
        return Struct(visitSummary=Table(rows=rows))


class ConsolidatePreSourceTableConnections(PipelineTaskConnections, dimensions=_VISIT):
    """Preliminary source tables of the detectors of a visit, and of the visit."""

    inputCatalogs = Input(
        doc="Preliminary source table of each detector.",
        name="preSourceTable",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
    )
    outputCatalog = Output(
        doc="Preliminary source table of the visit.",
        name="preSourceTable_visit",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )


class ConsolidatePreSourceTableConfig(DemoConfig, pipelineConnections=ConsolidatePreSourceTableConnections):
    """Configuration of the consolidation."""


class ConsolidatePreSourceTableTask(DemoTask):
    """Put the source tables of the detectors of a visit below each other."""

    ConfigClass: ClassVar[type[DemoConfig]] = ConsolidatePreSourceTableConfig
    _DefaultName: ClassVar[str] = "consolidatePreSourceTable"

    def compute(self, _: TaskFolders, *, inputCatalogs: list[Table]) -> Struct:
        """Return the rows of all detectors."""
        return Struct(outputCatalog=stack_tables(inputCatalogs))


class ConsolidateSourceTableConnections(PipelineTaskConnections, dimensions=_VISIT):
    """Final source tables of the detectors of a visit, and of the visit."""

    inputCatalogs = Input(
        doc="Final source table of each detector.",
        name="source",
        storageClass="ArrowAstropy",
        dimensions=(*_DETECTOR, "skymap"),
        multiple=True,
    )
    outputCatalog = Output(
        doc="Final source table of the visit.",
        name="sourceTable_visit",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )


class ConsolidateSourceTableConfig(DemoConfig, pipelineConnections=ConsolidateSourceTableConnections):
    """Configuration of the consolidation."""


class ConsolidateSourceTableTask(ConsolidatePreSourceTableTask):
    """Put the final source tables of the detectors of a visit below each other."""

    ConfigClass: ClassVar[type[DemoConfig]] = ConsolidateSourceTableConfig
    _DefaultName: ClassVar[str] = "consolidateSourceTable"


class MakeCcdVisitTableConnections(PipelineTaskConnections, dimensions=("instrument",)):
    """Summaries of all visits, and one table of them."""

    visitSummaries = Input(
        doc="Summary of each visit.",
        name="visitSummary",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
        multiple=True,
    )
    outputCatalog = Output(
        doc="One row a visit and detector.",
        name="ccdVisitTable",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
    )


class MakeCcdVisitTableConfig(DemoConfig, pipelineConnections=MakeCcdVisitTableConnections):
    """Configuration of the table."""


class MakeCcdVisitTableTask(DemoTask):
    """Collect the summaries of all detectors of all visits."""

    ConfigClass: ClassVar[type[MakeCcdVisitTableConfig]] = MakeCcdVisitTableConfig
    _DefaultName: ClassVar[str] = "makeCcdVisitTable"

    def compute(self, _: TaskFolders, *, visitSummaries: list[Table]) -> Struct:
        """Return the rows of all visits."""
        return Struct(outputCatalog=stack_tables(visitSummaries))


class MakeVisitTableConnections(PipelineTaskConnections, dimensions=("instrument",)):
    """Summaries of all visits, and one row for each."""

    visitSummaries = Input(
        doc="Summary of each visit.",
        name="visitSummary",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
        multiple=True,
    )
    outputCatalog = Output(
        doc="One row a visit.", name="visitTable", storageClass="ArrowAstropy", dimensions=("instrument",)
    )


class MakeVisitTableConfig(DemoConfig, pipelineConnections=MakeVisitTableConnections):
    """Configuration of the table."""


class MakeVisitTableTask(DemoTask):
    """Average the detectors of each visit."""

    ConfigClass: ClassVar[type[MakeVisitTableConfig]] = MakeVisitTableConfig
    _DefaultName: ClassVar[str] = "makeVisitTable"

    def compute(self, _: TaskFolders, *, visitSummaries: list[Table]) -> Struct:
        """Return one row a visit."""
        rows = [
            {
                "visit": int(summary["visit"][0]),
                "band": str(summary["band"][0]),
                "nDetectors": len(summary),
                "zeroPoint": float(np.mean(summary["zeroPoint"])),
                "psfSigma": float(np.mean(summary["psfSigma"])),
                "skyBg": float(np.mean(summary["skyBg"])),
            }
            for summary in visitSummaries
        ]
        return Struct(outputCatalog=Table(rows=rows))
