"""Object tasks: sources of all bands become objects with one position and a flux in every band."""

# mypy: disallow-subclassing-any=False, disable-error-code="call-arg"
# lsst ships no types that mypy may follow: base classes are Any, and their class keywords unknown.
# ruff: noqa: N803, N815 (connections are camelCase in lsst)

from typing import Any, ClassVar

import numpy as np
from astropy.table import Table
from lsst.pipe.base import PipelineTaskConnections, Struct
from lsst.pipe.base.connectionTypes import Input, Output

from merian_campaign.demo.algorithms import Columns, Pixels, aperture_flux
from merian_campaign.demo.survey import sky_to_degrees
from merian_campaign.demo.tasks.base import DemoConfig, DemoTask, TaskFolders, patch_box, stack_tables

__all__ = [
    "ConsolidateObjectTableTask",
    "DeblendTask",
    "ForcedPhotCoaddTask",
    "MeasureTask",
    "MergeDetectionsTask",
    "MergeMeasurementsTask",
    "TransformObjectTableTask",
]

_PATCH = ("tract", "patch", "skymap")
_COADD = ("tract", "patch", "band", "skymap")
_SAME_SOURCE = 2.0
_BLEND = 6.0
_SKYMAP: dict[str, Any] = {
    "doc": "Geometry of the patches.",
    "name": "skyMap",
    "storageClass": "StructuredDataDict",
    "dimensions": ("skymap",),
}
_CALEXP: dict[str, Any] = {
    "doc": "Background-subtracted coadd.",
    "name": "deepCoadd_calexp",
    "storageClass": "NumpyArray",
}


class MergeDetectionsConnections(PipelineTaskConnections, dimensions=_PATCH):
    """Sources of each band, and their union."""

    catalogs = Input(
        doc="Sources of each band.",
        name="deepCoadd_det",
        storageClass="ArrowAstropy",
        dimensions=_COADD,
        multiple=True,
    )
    outputCatalog = Output(
        doc="Union.", name="deepCoadd_mergeDet", storageClass="ArrowAstropy", dimensions=_PATCH
    )


class MergeDetectionsConfig(DemoConfig, pipelineConnections=MergeDetectionsConnections):
    """Configuration of the merging."""


class MergeDetectionsTask(DemoTask):
    """Unite the sources of all bands."""

    ConfigClass: ClassVar[type[MergeDetectionsConfig]] = MergeDetectionsConfig
    _DefaultName: ClassVar[str] = "mergeDetections"

    def compute(self, _: TaskFolders, *, catalogs: list[Table]) -> Struct:
        """Keep a source of a later band if no earlier one lies at its place."""
        kept: list[tuple[float, float]] = []
        for table in catalogs:
            for x, y in zip(np.asarray(table["x"]), np.asarray(table["y"]), strict=True):
                if all(np.hypot(x - other_x, y - other_y) > _SAME_SOURCE for other_x, other_y in kept):
                    kept.append((float(x), float(y)))
        x, y = np.array(kept, dtype=float).reshape(-1, 2).T
        return Struct(outputCatalog=Table({"x": x, "y": y}))


class DeblendConnections(PipelineTaskConnections, dimensions=_PATCH):
    """Sources of a patch with the coadds of all bands, and which of them are blended."""

    mergedDetections = Input(
        doc="Sources.", name="deepCoadd_mergeDet", storageClass="ArrowAstropy", dimensions=_PATCH
    )
    coadds = Input(dimensions=_COADD, multiple=True, **_CALEXP)
    skyMap = Input(**_SKYMAP)
    deblendedCatalog = Output(
        doc="Sources with their share of the flux around them.",
        name="deepCoadd_deblendedCatalog",
        storageClass="ArrowAstropy",
        dimensions=_PATCH,
    )


class DeblendConfig(DemoConfig, pipelineConnections=DeblendConnections):
    """Configuration of the deblending."""


class DeblendTask(DemoTask):
    """Share the flux of blends between their members, by peak brightness over all bands."""

    ConfigClass: ClassVar[type[DeblendConfig]] = DeblendConfig
    _DefaultName: ClassVar[str] = "deblend"

    def compute(
        self,
        surroundings: TaskFolders,
        *,
        mergedDetections: Table,
        coadds: list[Pixels],
        skyMap: dict[str, Any],
    ) -> Struct:
        """Return each source with its share and the number of its neighbours."""
        box = patch_box(skyMap, surroundings.data_id)
        x, y = (np.asarray(mergedDetections[name], dtype=float) for name in ("x", "y"))
        peaks = np.sum([aperture_flux(image, x - box.x0, y - box.y0, radius=0) for image in coadds], axis=0)
        near = np.hypot(x[:, np.newaxis] - x, y[:, np.newaxis] - y) < _BLEND
        weight = np.clip(peaks, 1e-6, None)
        share = weight / (near * weight).sum(axis=1) if len(x) else np.zeros(0)
        columns: Columns = {"x": x, "y": y, "share": share, "nNeighbors": near.sum(axis=1) - 1}
        return Struct(deblendedCatalog=Table(columns))


class MeasureConnections(PipelineTaskConnections, dimensions=_COADD):
    """Deblended sources and the coadd of one band, and their fluxes in it."""

    inputCatalog = Input(
        doc="Deblended sources.",
        name="deepCoadd_deblendedCatalog",
        storageClass="ArrowAstropy",
        dimensions=_PATCH,
    )
    exposure = Input(dimensions=_COADD, **_CALEXP)
    skyMap = Input(**_SKYMAP)
    outputSources = Output(
        doc="Sources with fluxes.", name="deepCoadd_meas", storageClass="ArrowAstropy", dimensions=_COADD
    )


class MeasureConfig(DemoConfig, pipelineConnections=MeasureConnections):
    """Configuration of the measurement."""


class MeasureTask(DemoTask):
    """Measure the deblended sources in one band."""

    ConfigClass: ClassVar[type[DemoConfig]] = MeasureConfig
    _DefaultName: ClassVar[str] = "measure"

    def compute(
        self, surroundings: TaskFolders, *, inputCatalog: Table, exposure: Pixels, skyMap: dict[str, Any]
    ) -> Struct:
        """Return the sources with their flux."""
        box = patch_box(skyMap, surroundings.data_id)
        x, y = (np.asarray(inputCatalog[name], dtype=float) for name in ("x", "y"))
        flux = aperture_flux(exposure, x - box.x0, y - box.y0) * np.asarray(inputCatalog["share"])
        return Struct(outputSources=Table({"x": x, "y": y, "share": inputCatalog["share"], "flux": flux}))


class MergeMeasurementsConnections(PipelineTaskConnections, dimensions=_PATCH):
    """Measurements of each band, and the reference measurement of each source."""

    catalogs = Input(
        doc="Measurements of each band.",
        name="deepCoadd_meas",
        storageClass="ArrowAstropy",
        dimensions=_COADD,
        multiple=True,
    )
    mergedCatalog = Output(
        doc="Reference measurement.", name="deepCoadd_ref", storageClass="ArrowAstropy", dimensions=_PATCH
    )


class MergeMeasurementsConfig(DemoConfig, pipelineConnections=MergeMeasurementsConnections):
    """Configuration of the merging."""


class MergeMeasurementsTask(DemoTask):
    """Choose the band in which each source is brightest as its reference."""

    ConfigClass: ClassVar[type[MergeMeasurementsConfig]] = MergeMeasurementsConfig
    _DefaultName: ClassVar[str] = "mergeMeasurements"

    def compute(self, surroundings: TaskFolders, *, catalogs: list[Table]) -> Struct:
        """Return the sources with the name of their reference band."""
        bands = np.array([str(data_id["band"]) for data_id in surroundings.inputs["catalogs"]])
        brightest = np.argmax([np.asarray(table["flux"]) for table in catalogs], axis=0)
        reference = catalogs[0]["x", "y", "share"]
        reference["refBand"] = bands[brightest]
        return Struct(mergedCatalog=reference)


class ForcedPhotCoaddConnections(PipelineTaskConnections, dimensions=_COADD):
    """Reference sources and the coadd of one band, and their fluxes at the reference position."""

    inputCatalog = Input(
        doc="Reference sources.", name="deepCoadd_ref", storageClass="ArrowAstropy", dimensions=_PATCH
    )
    exposure = Input(dimensions=_COADD, **_CALEXP)
    skyMap = Input(**_SKYMAP)
    outputSources = Output(
        doc="Forced fluxes.", name="deepCoadd_forced_src", storageClass="ArrowAstropy", dimensions=_COADD
    )


class ForcedPhotCoaddConfig(DemoConfig, pipelineConnections=ForcedPhotCoaddConnections):
    """Configuration of the forced photometry."""


class ForcedPhotCoaddTask(MeasureTask):
    """Measure the reference sources in one band: the same measurement on another list."""

    ConfigClass: ClassVar[type[DemoConfig]] = ForcedPhotCoaddConfig
    _DefaultName: ClassVar[str] = "forcedPhotCoadd"


class TransformObjectTableConnections(PipelineTaskConnections, dimensions=_PATCH):
    """Reference sources and forced fluxes of each band, and the objects of the patch."""

    reference = Input(
        doc="Reference sources.", name="deepCoadd_ref", storageClass="ArrowAstropy", dimensions=_PATCH
    )
    forced = Input(
        doc="Forced fluxes of each band.",
        name="deepCoadd_forced_src",
        storageClass="ArrowAstropy",
        dimensions=_COADD,
        multiple=True,
    )
    skyMap = Input(**_SKYMAP)
    outputCatalog = Output(
        doc="Objects of the patch.", name="objectTable", storageClass="ArrowAstropy", dimensions=_PATCH
    )


class TransformObjectTableConfig(DemoConfig, pipelineConnections=TransformObjectTableConnections):
    """Configuration of the object table."""


class TransformObjectTableTask(DemoTask):
    """Make objects with a flux in every band of the survey, NaN where a band has no coadd."""

    ConfigClass: ClassVar[type[TransformObjectTableConfig]] = TransformObjectTableConfig
    _DefaultName: ClassVar[str] = "transformObjectTable"

    def compute(
        self,
        surroundings: TaskFolders,
        *,
        reference: Table,
        forced: list[Table],
        skyMap: dict[str, Any],
    ) -> Struct:
        """Return the objects; those in the shared border are not primary."""
        data_id = surroundings.data_id
        inner = patch_box(skyMap, data_id, "inner")
        x, y = (np.asarray(reference[name], dtype=float) for name in ("x", "y"))
        ra, dec = sky_to_degrees(x, y)
        first = (data_id["tract"] * 100 + data_id["patch"]) * 1000
        columns: Columns = {
            "objectId": np.arange(len(x), dtype=np.int64) + first,
            "patch": np.full(len(x), data_id["patch"], dtype=np.int64),
            "x": x,
            "y": y,
            "ra": ra,
            "dec": dec,
            "refBand": np.asarray(reference["refBand"]),
            "isPrimary": (x >= inner.x0) & (x < inner.x1) & (y >= inner.y0) & (y < inner.y1),
        }
        columns |= {f"{band}_flux": np.full(len(x), np.nan) for band in ("N540", "N708")}
        for source, table in zip(surroundings.inputs["forced"], forced, strict=True):
            columns[f"{source['band']}_flux"] = np.asarray(table["flux"])
        return Struct(outputCatalog=Table(columns))


class ConsolidateObjectTableConnections(PipelineTaskConnections, dimensions=("tract", "skymap")):
    """Objects of each patch, and of the tract."""

    inputCatalogs = Input(
        doc="Objects of each patch.",
        name="objectTable",
        storageClass="ArrowAstropy",
        dimensions=_PATCH,
        multiple=True,
    )
    outputCatalog = Output(
        doc="Objects of the tract.",
        name="objectTable_tract",
        storageClass="ArrowAstropy",
        dimensions=("tract", "skymap"),
    )


class ConsolidateObjectTableConfig(DemoConfig, pipelineConnections=ConsolidateObjectTableConnections):
    """Configuration of the consolidation."""


class ConsolidateObjectTableTask(DemoTask):
    """Put the objects of the patches of a tract below each other."""

    ConfigClass: ClassVar[type[ConsolidateObjectTableConfig]] = ConsolidateObjectTableConfig
    _DefaultName: ClassVar[str] = "consolidateObjectTable"

    def compute(self, _: TaskFolders, *, inputCatalogs: list[Table]) -> Struct:
        """Return the rows of all patches."""
        return Struct(outputCatalog=stack_tables(inputCatalogs))
