"""Recalibration tasks: final characterization and source tables, after the jointcal of every tract."""

# mypy: disallow-subclassing-any=False, disable-error-code="call-arg"
# lsst ships no types that mypy may follow: base classes are Any, and their class keywords unknown.
# ruff: noqa: N803, N815 (connections are camelCase in lsst)

from typing import ClassVar

import numpy as np
from astropy.table import Table
from lsst.pipe.base import PipelineTaskConnections, Struct
from lsst.pipe.base.connectionTypes import Input, Output

from merian_campaign.demo.algorithms import Pixels, aperture_flux, match
from merian_campaign.demo.survey import sky_to_degrees
from merian_campaign.demo.tasks.base import DemoConfig, DemoTask, TaskFolders, stack_tables

__all__ = ["FinalizeCharacterizationTask", "WriteRecalibratedSourceTableTask", "mean_correction"]

_VISIT = ("instrument", "visit")
_DETECTOR = ("instrument", "visit", "detector")
_VISIT_TRACT = ("instrument", "visit", "skymap", "tract")
_MATCH_RADIUS = 1.5
_WIDE = 5


def mean_correction(catalogues: list[Table], detector: int, name: str) -> float:
    """Average a jointcal correction of one detector over the tracts it was fitted on.

    Parameters
    ----------
    catalogues : `list` [`astropy.table.Table`]
        Catalogue of each tract.
    detector : `int`
        Detector ID.
    name : `str`
        Column of the correction.

    Returns
    -------
    correction : `float`
        The mean.
    """
    values = [float(table[name][np.asarray(table["detector"]) == detector][0]) for table in catalogues]
    return float(np.mean(values))


class FinalizeCharacterizationConnections(PipelineTaskConnections, dimensions=_VISIT):
    """Images and sources of a visit with the isolated stars of its tracts, and the aperture corrections."""

    srcs = Input(
        doc="Sources of each detector.",
        name="src",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
    )
    calexps = Input(
        doc="Image of each detector.",
        name="calexp",
        storageClass="NumpyArray",
        dimensions=_DETECTOR,
        multiple=True,
    )
    summaries = Input(
        doc="Summary of the visit.", name="visitSummary", storageClass="ArrowAstropy", dimensions=_VISIT
    )
    isolated_star_cats = Input(
        doc="Isolated stars of each tract.",
        name="isolated_star_cat",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "tract", "skymap"),
        multiple=True,
    )
    finalized_psf_ap_corr_cat = Output(
        doc="Final width of the point-spread function and aperture correction of each detector.",
        name="finalized_psf_ap_corr_catalog",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )
    finalized_src_table = Output(
        doc="Stars used.", name="finalized_src_table", storageClass="ArrowAstropy", dimensions=_VISIT
    )


class FinalizeCharacterizationConfig(DemoConfig, pipelineConnections=FinalizeCharacterizationConnections):
    """Configuration of the final characterization."""


class FinalizeCharacterizationTask(DemoTask):
    """Measure aperture corrections of a visit on isolated stars."""

    ConfigClass: ClassVar[type[FinalizeCharacterizationConfig]] = FinalizeCharacterizationConfig
    _DefaultName: ClassVar[str] = "finalizeCharacterization"

    def compute(
        self,
        surroundings: TaskFolders,
        *,
        srcs: list[Table],
        calexps: list[Pixels],
        summaries: Table,
        isolated_star_cats: list[Table],
    ) -> Struct:
        """Compare a wide aperture to the normal one, detector by detector."""
        stars = stack_tables(isolated_star_cats)
        ref_x, ref_y = np.asarray(stars["x"], dtype=float), np.asarray(stars["y"], dtype=float)
        rows, used = [], []
        for data_id, sources, image in zip(surroundings.inputs["calexps"], srcs, calexps, strict=True):
            summary = summaries[np.asarray(summaries["detector"]) == data_id["detector"]][0]
            x, y, flux = (np.asarray(sources[name], dtype=float) for name in ("x", "y", "flux"))
            found, _ = match(x=x, y=y, ref_x=ref_x, ref_y=ref_y, radius=_MATCH_RADIUS)
            found = found[flux[found] > 0]
            # Sources still have the nominal position, which is the fitted one to the nearest pixel.
            column, row = x[found] - round(summary["x0"]), y[found] - round(summary["y0"])
            wide = aperture_flux(image, column, row, radius=_WIDE)
            correction = float(np.median(wide / flux[found])) if len(found) else 1.0
            rows.append(
                {"detector": data_id["detector"], "apCorr": correction, "psfSigma": summary["psfSigma"]}
            )
            used.append(sources["sourceId", "detector"][found])
        return Struct(finalized_psf_ap_corr_cat=Table(rows=rows), finalized_src_table=stack_tables(used))


class WriteRecalibratedSourceTableConnections(PipelineTaskConnections, dimensions=(*_DETECTOR, "skymap")):
    """Sources of a detector with every final calibration, and the final source table."""

    catalog = Input(doc="Sources.", name="src", storageClass="ArrowAstropy", dimensions=_DETECTOR)
    summary = Input(
        doc="First calibration.",
        name="calexpSummary",
        storageClass="StructuredDataDict",
        dimensions=_DETECTOR,
    )
    externalPhotoCalibTractCatalog = Input(
        doc="Jointcal photometry of each tract.",
        name="jointcalPhotoCalibCatalog",
        storageClass="ArrowAstropy",
        dimensions=_VISIT_TRACT,
        multiple=True,
    )
    externalSkyWcsTractCatalog = Input(
        doc="Jointcal astrometry of each tract.",
        name="jointcalSkyWcsCatalog",
        storageClass="ArrowAstropy",
        dimensions=_VISIT_TRACT,
        multiple=True,
    )
    finalizedPsfApCorrCatalog = Input(
        doc="Aperture corrections.",
        name="finalized_psf_ap_corr_catalog",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )
    outputCatalog = Output(
        doc="Final source table.",
        name="source",
        storageClass="ArrowAstropy",
        dimensions=(*_DETECTOR, "skymap"),
    )


class WriteRecalibratedSourceTableConfig(
    DemoConfig, pipelineConnections=WriteRecalibratedSourceTableConnections
):
    """Configuration of the final source table."""


class WriteRecalibratedSourceTableTask(DemoTask):
    """Apply the final calibrations to the sources of a detector."""

    ConfigClass: ClassVar[type[WriteRecalibratedSourceTableConfig]] = WriteRecalibratedSourceTableConfig
    _DefaultName: ClassVar[str] = "writeRecalibratedSourceTable"

    def compute(
        self,
        surroundings: TaskFolders,
        *,
        catalog: Table,
        summary: dict[str, float],
        externalPhotoCalibTractCatalog: list[Table],
        externalSkyWcsTractCatalog: list[Table],
        finalizedPsfApCorrCatalog: Table,
    ) -> Struct:
        """Return sources in degrees and final flux."""
        detector, box = surroundings.data_id["detector"], surroundings.footprint
        if box is None:
            raise ValueError(f"No region known for {surroundings.data_id}.")
        wcs = externalSkyWcsTractCatalog
        x = np.asarray(catalog["x"]) - box.x0 + summary["x0"] + mean_correction(wcs, detector, "dx")
        y = np.asarray(catalog["y"]) - box.y0 + summary["y0"] + mean_correction(wcs, detector, "dy")
        scale = summary["zeroPoint"] * mean_correction(externalPhotoCalibTractCatalog, detector, "scale")
        scale *= mean_correction([finalizedPsfApCorrCatalog], detector, "apCorr")
        ra, dec = sky_to_degrees(x, y)
        columns = {name: np.asarray(catalog[name]) for name in ("sourceId", "detector")}
        flux = np.asarray(catalog["flux"]) * scale
        return Struct(outputCatalog=Table(columns | {"x": x, "y": y, "ra": ra, "dec": dec, "flux": flux}))
