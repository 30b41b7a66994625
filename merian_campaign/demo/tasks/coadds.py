"""Coadd tasks: visits warped onto a patch, averaged, and searched for sources band by band."""

# mypy: disallow-subclassing-any=False, disable-error-code="call-arg"
# lsst ships no types that mypy may follow: base classes are Any, and their class keywords unknown.
# ruff: noqa: N803, N815 (connections are camelCase in lsst)

from typing import Any, ClassVar

import numpy as np
from astropy.table import Table
from lsst.pex.config import Field
from lsst.pipe.base import NoWorkFound, PipelineTaskConnections, Struct
from lsst.pipe.base.connectionTypes import Input, Output

from merian_campaign.demo.algorithms import Pixels, detect, paste
from merian_campaign.demo.tasks.base import DemoConfig, DemoTask, TaskFolders, patch_box
from merian_campaign.demo.tasks.recalibration import mean_correction

__all__ = ["AssembleCoaddTask", "DetectCoaddSourcesTask", "MakeWarpTask"]

_VISIT = ("instrument", "visit")
_DETECTOR = ("instrument", "visit", "detector")
_VISIT_TRACT = ("instrument", "visit", "skymap", "tract")
_WARP = ("tract", "patch", "skymap", "instrument", "visit")
_COADD = ("tract", "patch", "band", "skymap")


class MakeWarpConnections(PipelineTaskConnections, dimensions=_WARP):
    """Images of a visit that overlap a patch with their final calibrations, and the visit on the patch."""

    calExpList = Input(
        doc="Image of each detector.",
        name="calexp",
        storageClass="NumpyArray",
        dimensions=_DETECTOR,
        multiple=True,
    )
    visitSummary = Input(
        doc="First calibration of the visit.",
        name="visitSummary",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )
    externalPhotoCalibTractCatalog = Input(
        doc="Jointcal photometry on the tract.",
        name="jointcalPhotoCalibCatalog",
        storageClass="ArrowAstropy",
        dimensions=_VISIT_TRACT,
    )
    externalSkyWcsTractCatalog = Input(
        doc="Jointcal astrometry on the tract.",
        name="jointcalSkyWcsCatalog",
        storageClass="ArrowAstropy",
        dimensions=_VISIT_TRACT,
    )
    finalizedPsfApCorrCatalog = Input(
        doc="Aperture corrections.",
        name="finalized_psf_ap_corr_catalog",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )
    skyMap = Input(
        doc="Geometry of the patches.",
        name="skyMap",
        storageClass="StructuredDataDict",
        dimensions=("skymap",),
    )
    direct = Output(
        doc="Calibrated pixels of the visit on the patch; NaN where there are none.",
        name="deepCoadd_directWarp",
        storageClass="NumpyArray",
        dimensions=_WARP,
    )


class MakeWarpConfig(DemoConfig, pipelineConnections=MakeWarpConnections):
    """Configuration of the warping."""


class MakeWarpTask(DemoTask):
    """Shift the images of a visit onto a patch, in calibrated units."""

    ConfigClass: ClassVar[type[MakeWarpConfig]] = MakeWarpConfig
    _DefaultName: ClassVar[str] = "makeWarp"

    def compute(
        self,
        surroundings: TaskFolders,
        *,
        calExpList: list[Pixels],
        visitSummary: Table,
        externalPhotoCalibTractCatalog: Table,
        externalSkyWcsTractCatalog: Table,
        finalizedPsfApCorrCatalog: Table,
        skyMap: dict[str, Any],
    ) -> Struct:
        """Return the warp."""
        box = patch_box(skyMap, surroundings.data_id)
        warp = np.full((box.y1 - box.y0, box.x1 - box.x0), np.nan)
        for data_id, image in zip(surroundings.inputs["calExpList"], calExpList, strict=True):
            detector = data_id["detector"]
            x0 = mean_correction([visitSummary], detector, "x0")
            x0 += mean_correction([externalSkyWcsTractCatalog], detector, "dx")
            y0 = mean_correction([visitSummary], detector, "y0")
            y0 += mean_correction([externalSkyWcsTractCatalog], detector, "dy")
            scale = mean_correction([visitSummary], detector, "zeroPoint")
            scale *= mean_correction([externalPhotoCalibTractCatalog], detector, "scale")
            scale *= mean_correction([finalizedPsfApCorrCatalog], detector, "apCorr")
            paste(image=image * scale, onto=warp, dx=round(x0) - box.x0, dy=round(y0) - box.y0)
        if not np.isfinite(warp).any():
            raise NoWorkFound(f"No pixel of visit {surroundings.data_id['visit']} falls on the patch.")
        return Struct(direct=warp)


class AssembleCoaddConnections(PipelineTaskConnections, dimensions=_COADD):
    """Warps of one band on a patch, and their mean."""

    inputWarps = Input(
        doc="Warp of each visit.",
        name="deepCoadd_directWarp",
        storageClass="NumpyArray",
        dimensions=_WARP,
        multiple=True,
    )
    coaddExposure = Output(doc="Coadd.", name="deepCoadd", storageClass="NumpyArray", dimensions=_COADD)
    nImage = Output(
        doc="Number of visits under each pixel.",
        name="deepCoadd_nImage",
        storageClass="NumpyArray",
        dimensions=_COADD,
    )


class AssembleCoaddConfig(DemoConfig, pipelineConnections=AssembleCoaddConnections):
    """Configuration of the coaddition."""


class AssembleCoaddTask(DemoTask):
    """Average the visits that cover each pixel."""

    ConfigClass: ClassVar[type[AssembleCoaddConfig]] = AssembleCoaddConfig
    _DefaultName: ClassVar[str] = "assembleCoadd"

    def compute(self, _: TaskFolders, *, inputWarps: list[Pixels]) -> Struct:
        """Return the mean and the number of visits; the coadd is NaN where there are none."""
        warps = np.stack(inputWarps)
        number = np.isfinite(warps).sum(axis=0)
        total = np.nansum(warps, axis=0)
        coadd = np.where(number > 0, total / np.maximum(number, 1), np.nan)
        return Struct(coaddExposure=coadd, nImage=number.astype(np.int16))


class DetectCoaddSourcesConnections(PipelineTaskConnections, dimensions=_COADD):
    """A coadd, and the sources found in it."""

    exposure = Input(doc="Coadd.", name="deepCoadd", storageClass="NumpyArray", dimensions=_COADD)
    skyMap = Input(
        doc="Geometry of the patches.",
        name="skyMap",
        storageClass="StructuredDataDict",
        dimensions=("skymap",),
    )
    outputExposure = Output(
        doc="Background-subtracted coadd.",
        name="deepCoadd_calexp",
        storageClass="NumpyArray",
        dimensions=_COADD,
    )
    outputSources = Output(
        doc="Sources in sky pixels.", name="deepCoadd_det", storageClass="ArrowAstropy", dimensions=_COADD
    )


class DetectCoaddSourcesConfig(DemoConfig, pipelineConnections=DetectCoaddSourcesConnections):
    """Configuration of the detection."""

    threshold = Field[float](doc="Smallest peak, in units of the noise.", default=8.0)


class DetectCoaddSourcesTask(DemoTask):
    """Find sources in the coadd of one band."""

    ConfigClass: ClassVar[type[DetectCoaddSourcesConfig]] = DetectCoaddSourcesConfig
    _DefaultName: ClassVar[str] = "detection"

    def compute(self, surroundings: TaskFolders, *, exposure: Pixels, skyMap: dict[str, Any]) -> Struct:
        """Return the coadd above its background with its sources."""
        box = patch_box(skyMap, surroundings.data_id)
        image = exposure - float(np.nanmedian(exposure))
        sources = detect(image, threshold=self.config.threshold)
        columns = {"x": sources["x"] + box.x0, "y": sources["y"] + box.y0, "flux": sources["flux"]}
        self.log.info("Found %d sources.", len(columns["x"]))
        return Struct(outputExposure=image, outputSources=Table(columns))
