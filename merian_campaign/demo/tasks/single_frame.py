"""Single-frame tasks: one detector of one visit, from corrected pixels to a calibrated source table."""

# mypy: disallow-subclassing-any=False, disable-error-code="call-arg"
# lsst ships no types that mypy may follow: base classes are Any, and their class keywords unknown.
# ruff: noqa: N803, N815 (connections and configuration are camelCase in lsst)

from typing import ClassVar

import numpy as np
from astropy.table import Table
from lsst.pex.config import Field
from lsst.pipe.base import PipelineTaskConnections, Struct
from lsst.pipe.base.connectionTypes import Input, Output, PrerequisiteInput

from merian_campaign.demo.algorithms import Columns, Pixels, detect, match, noise_of, psf_sigma
from merian_campaign.demo.sky import REFERENCE_COLUMN
from merian_campaign.demo.survey import ORIGIN_DEC, ORIGIN_RA, PIXELS_PER_DEGREE, Box, sky_to_degrees
from merian_campaign.demo.tasks.base import DemoConfig, DemoTask, TaskFolders, stack_tables

__all__ = ["CalibrateTask", "CharacterizeImageTask", "TransformPreSourceTableTask", "reference_pixels"]

_DETECTOR = ("instrument", "visit", "detector")
_MATCH_RADIUS = 1.5


class CharacterizeImageConnections(PipelineTaskConnections, dimensions=_DETECTOR):
    """Corrected pixels, and what a first look finds in them."""

    exposure = Input(
        doc="Corrected pixels.",
        name="postISRCCD",
        storageClass="NumpyArray",
        dimensions=("instrument", "exposure", "detector"),
    )
    characterized = Output(
        doc="Background-subtracted pixels.", name="icExp", storageClass="NumpyArray", dimensions=_DETECTOR
    )
    backgroundModel = Output(
        doc="Background, noise and point-spread function.",
        name="icExpBackground",
        storageClass="StructuredDataDict",
        dimensions=_DETECTOR,
    )
    sourceCat = Output(doc="Sources.", name="icSrc", storageClass="ArrowAstropy", dimensions=_DETECTOR)


class CharacterizeImageConfig(DemoConfig, pipelineConnections=CharacterizeImageConnections):
    """Configuration of the first look."""

    threshold = Field[float](doc="Smallest peak, in units of the noise.", default=8.0)


class CharacterizeImageTask(DemoTask):
    """Subtract the background, find sources and measure the point-spread function."""

    ConfigClass: ClassVar[type[CharacterizeImageConfig]] = CharacterizeImageConfig
    _DefaultName: ClassVar[str] = "characterizeImage"

    def compute(self, _: TaskFolders, *, exposure: Pixels) -> Struct:
        """Return the image above the sky with its sources."""
        level = float(np.median(exposure))
        image = exposure - level
        sources = detect(image, threshold=self.config.threshold)
        self.log.info("Found %d sources above a background of %.1f.", len(sources["x"]), level)
        background = {"level": level, "noise": noise_of(image), "psfSigma": psf_sigma(image, sources)}
        return Struct(characterized=image, backgroundModel=background, sourceCat=Table(sources))


class CalibrateConnections(PipelineTaskConnections, dimensions=_DETECTOR):
    """The first look at an image, reference stars, and the calibrated image with its sources."""

    exposure = Input(doc="Image.", name="icExp", storageClass="NumpyArray", dimensions=_DETECTOR)
    background = Input(
        doc="Background, noise and point-spread function.",
        name="icExpBackground",
        storageClass="StructuredDataDict",
        dimensions=_DETECTOR,
    )
    icSourceCat = Input(doc="Sources.", name="icSrc", storageClass="ArrowAstropy", dimensions=_DETECTOR)
    photoRefCat = PrerequisiteInput(
        doc="Reference stars with fluxes.",
        name="ps1_pv3_3pi_20170110",
        storageClass="ArrowAstropy",
        dimensions=("htm7",),
        multiple=True,
    )
    outputExposure = Output(
        doc="Calibrated image.", name="calexp", storageClass="NumpyArray", dimensions=_DETECTOR
    )
    outputBackground = Output(
        doc="Background.", name="calexpBackground", storageClass="StructuredDataDict", dimensions=_DETECTOR
    )
    # A NumPy array cannot carry a summary as an afw Exposure does; this stands for calexp.summaryStats.
    outputSummary = Output(
        doc="Position, zero point and quality of the image.",
        name="calexpSummary",
        storageClass="StructuredDataDict",
        dimensions=_DETECTOR,
    )
    outputCat = Output(doc="Sources.", name="src", storageClass="ArrowAstropy", dimensions=_DETECTOR)


class CalibrateConfig(DemoConfig, pipelineConnections=CalibrateConnections):
    """Configuration of the calibration."""

    minMatches = Field[int](doc="Fewest matched reference stars for a fit.", default=3)


class CalibrateTask(DemoTask):
    """Match sources to reference stars and fit position and zero point."""

    ConfigClass: ClassVar[type[CalibrateConfig]] = CalibrateConfig
    _DefaultName: ClassVar[str] = "calibrate"

    def compute(
        self,
        surroundings: TaskFolders,
        *,
        exposure: Pixels,
        background: dict[str, float],
        icSourceCat: Table,
        photoRefCat: list[Table],
    ) -> Struct:
        """Return the calibrated image, its summary and its sources."""
        box = surroundings.footprint
        if box is None:
            raise ValueError(f"No region known for {surroundings.data_id}.")
        ref_x, ref_y, ref_flux = reference_pixels(photoRefCat, str(surroundings.data_id["band"]))
        x, y, flux = (np.asarray(icSourceCat[name], dtype=float) for name in ("x", "y", "flux"))
        found, refs = match(x=x + box.x0, y=y + box.y0, ref_x=ref_x, ref_y=ref_y, radius=_MATCH_RADIUS)
        good = flux[found] > 0
        found, refs = found[good], refs[good]
        fitted = len(found) >= self.config.minMatches
        summary = {
            "x0": box.x0 + (float(np.median(ref_x[refs] - x[found] - box.x0)) if fitted else 0.0),
            "y0": box.y0 + (float(np.median(ref_y[refs] - y[found] - box.y0)) if fitted else 0.0),
            "zeroPoint": float(np.median(ref_flux[refs] / flux[found])) if fitted else 1.0,
            "nMatched": len(found),
            "psfSigma": background["psfSigma"],
            "skyBg": background["level"],
            "skyNoise": background["noise"],
        }
        return Struct(
            outputExposure=exposure,
            outputBackground={"level": background["level"]},
            outputSummary=summary,
            outputCat=_source_table(surroundings, box, icSourceCat),
        )


def _source_table(surroundings: TaskFolders, box: Box, sources: Table) -> Table:
    """Return the sources with IDs that are unique over visits and detectors."""
    data_id = surroundings.data_id
    first = (data_id["visit"] * 100 + data_id["detector"]) * 1000
    columns: Columns = {"sourceId": np.arange(len(sources), dtype=np.int64) + first}
    columns["x"] = np.asarray(sources["x"]) + box.x0
    columns["y"] = np.asarray(sources["y"]) + box.y0
    columns |= {name: np.asarray(sources[name]) for name in ("peak", "flux")}
    columns["detector"] = np.full(len(sources), data_id["detector"], dtype=np.int64)
    return Table(columns)


def reference_pixels(shards: list[Table], band: str) -> tuple[Pixels, Pixels, Pixels]:
    """Return positions and fluxes of the reference stars in some shards.

    Parameters
    ----------
    shards : `list` [`astropy.table.Table`]
        Shards of the photometric reference catalogue.
    band : `str`
        Band whose stand-in column to use.

    Returns
    -------
    x, y : `numpy.ndarray`
        Sky pixels.
    flux : `numpy.ndarray`
        Reference fluxes.
    """
    stars = stack_tables(shards)
    x = (np.asarray(stars["ra"]) - ORIGIN_RA) * PIXELS_PER_DEGREE
    y = (np.asarray(stars["dec"]) - ORIGIN_DEC) * PIXELS_PER_DEGREE
    return x, y, np.asarray(stars[REFERENCE_COLUMN[band]], dtype=float)


class TransformPreSourceTableConnections(PipelineTaskConnections, dimensions=_DETECTOR):
    """Sources with the calibration of their image, and the preliminary table of them."""

    inputCatalog = Input(doc="Sources.", name="src", storageClass="ArrowAstropy", dimensions=_DETECTOR)
    summary = Input(
        doc="Calibration of the image.",
        name="calexpSummary",
        storageClass="StructuredDataDict",
        dimensions=_DETECTOR,
    )
    outputCatalog = Output(
        doc="Preliminary source table.",
        name="preSourceTable",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
    )


class TransformPreSourceTableConfig(DemoConfig, pipelineConnections=TransformPreSourceTableConnections):
    """Configuration of the preliminary source table."""


class TransformPreSourceTableTask(DemoTask):
    """Express sources in degrees and calibrated flux."""

    ConfigClass: ClassVar[type[TransformPreSourceTableConfig]] = TransformPreSourceTableConfig
    _DefaultName: ClassVar[str] = "transformPreSourceTable"

    def compute(self, surroundings: TaskFolders, *, inputCatalog: Table, summary: dict[str, float]) -> Struct:
        """Return the table."""
        box = surroundings.footprint
        if box is None:
            raise ValueError(f"No region known for {surroundings.data_id}.")
        x = np.asarray(inputCatalog["x"]) + summary["x0"] - box.x0
        y = np.asarray(inputCatalog["y"]) + summary["y0"] - box.y0
        ra, dec = sky_to_degrees(x, y)
        columns = {name: np.asarray(inputCatalog[name]) for name in ("sourceId", "detector")}
        calibrated = np.asarray(inputCatalog["flux"]) * summary["zeroPoint"]
        return Struct(
            outputCatalog=Table(columns | {"x": x, "y": y, "ra": ra, "dec": dec, "flux": calibrated})
        )
