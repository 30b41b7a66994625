"""Tract tasks: stars seen by several visits, and the joint calibration of a tract in one filter."""

# mypy: disallow-subclassing-any=False, disable-error-code="call-arg"
# lsst ships no types that mypy may follow: base classes are Any, and their class keywords unknown.
# ruff: noqa: N803, N815 (connections are camelCase in lsst)

from typing import Any, ClassVar

import numpy as np
from astropy.table import Table
from lsst.pipe.base import PipelineTaskConnections, Struct
from lsst.pipe.base.connectionTypes import Input, Output, PrerequisiteInput

from merian_campaign.demo.algorithms import Columns, match
from merian_campaign.demo.survey import sky_to_degrees
from merian_campaign.demo.tasks.base import DemoConfig, DemoTask, TaskFolders
from merian_campaign.demo.tasks.single_frame import reference_pixels

__all__ = ["IsolatedStarAssociationTask", "JointcalTask"]

_VISIT = ("instrument", "visit")
_TRACT = ("instrument", "tract", "skymap")
_MATCH_RADIUS = 1.5
# The square aperture of three pixels' radius: a neighbour further away than this leaves it clean.
_ISOLATION = 5.0


class IsolatedStarAssociationConnections(PipelineTaskConnections, dimensions=_TRACT):
    """Sources of all visits that overlap a tract, and the isolated stars among them."""

    source_table_visit = Input(
        doc="Preliminary source table of each visit.",
        name="preSourceTable_visit",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
        multiple=True,
    )
    skymap = Input(
        doc="Geometry of the tracts.",
        name="skyMap",
        storageClass="StructuredDataDict",
        dimensions=("skymap",),
    )
    isolated_star_sources = Output(
        doc="Sources that belong to isolated stars.",
        name="isolated_star_sources",
        storageClass="ArrowAstropy",
        dimensions=_TRACT,
    )
    isolated_star_cat = Output(
        doc="Isolated stars.", name="isolated_star_cat", storageClass="ArrowAstropy", dimensions=_TRACT
    )


class IsolatedStarAssociationConfig(DemoConfig, pipelineConnections=IsolatedStarAssociationConnections):
    """Configuration of the association."""


class IsolatedStarAssociationTask(DemoTask):
    """Associate the sources of all visits that fall on a tract."""

    ConfigClass: ClassVar[type[IsolatedStarAssociationConfig]] = IsolatedStarAssociationConfig
    _DefaultName: ClassVar[str] = "isolatedStarAssociation"

    def compute(
        self, surroundings: TaskFolders, *, source_table_visit: list[Table], skymap: dict[str, Any]
    ) -> Struct:
        """Take the positions of the visits in turn as stars, unless one is known there already."""
        x0, y0, x1, y1 = skymap["tracts"][str(surroundings.data_id["tract"])]["outer"]
        x = np.concatenate([np.asarray(table["x"], dtype=float) for table in source_table_visit])
        y = np.concatenate([np.asarray(table["y"], dtype=float) for table in source_table_visit])
        source_id = np.concatenate([np.asarray(table["sourceId"]) for table in source_table_visit])
        inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
        x, y, source_id = x[inside], y[inside], source_id[inside]
        stars: list[int] = []
        for index in range(len(x)):
            if all(np.hypot(x[index] - x[star], y[index] - y[star]) >= _ISOLATION for star in stars):
                stars.append(index)
        sources, owners = match(x=x, y=y, ref_x=x[stars], ref_y=y[stars], radius=_MATCH_RADIUS)
        ra, dec = sky_to_degrees(x[stars], y[stars])
        number = np.bincount(owners, minlength=len(stars))
        catalogue: Columns = {"x": x[stars], "y": y[stars], "ra": ra, "dec": dec, "nSources": number}
        return Struct(
            isolated_star_sources=Table({"sourceId": source_id[sources], "star": owners}),
            isolated_star_cat=Table(catalogue),
        )


class JointcalConnections(
    PipelineTaskConnections, dimensions=("skymap", "tract", "instrument", "physical_filter")
):
    """Sources of all visits of one filter on a tract, and the calibration of each visit there."""

    inputSourceTableVisit = Input(
        doc="Preliminary source table of each visit.",
        name="preSourceTable_visit",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
        multiple=True,
    )
    inputVisitSummary = Input(
        doc="Summary of each visit.",
        name="visitSummary",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
        multiple=True,
    )
    photometryRefCat = PrerequisiteInput(
        doc="Reference stars with fluxes.",
        name="ps1_pv3_3pi_20170110",
        storageClass="ArrowAstropy",
        dimensions=("htm7",),
        multiple=True,
    )
    outputPhotoCalib = Output(
        doc="Correction of the zero point of each detector.",
        name="jointcalPhotoCalibCatalog",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "visit", "skymap", "tract"),
        multiple=True,
    )
    outputWcs = Output(
        doc="Correction of the position of each detector.",
        name="jointcalSkyWcsCatalog",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "visit", "skymap", "tract"),
        multiple=True,
    )


class JointcalConfig(DemoConfig, pipelineConnections=JointcalConnections):
    """Configuration of the joint calibration."""


class JointcalTask(DemoTask):
    """Fit corrections to the calibration of all visits on a tract."""

    ConfigClass: ClassVar[type[JointcalConfig]] = JointcalConfig
    _DefaultName: ClassVar[str] = "jointcal"

    def compute(
        self,
        surroundings: TaskFolders,
        *,
        inputSourceTableVisit: list[Table],
        inputVisitSummary: list[Table],
        photometryRefCat: list[Table],
    ) -> Struct:
        """Return corrections visit by visit."""
        band = str(surroundings.data_id["band"])
        ref_x, ref_y, ref_flux = reference_pixels(photometryRefCat, band)
        fits: dict[int, tuple[Table, Table]] = {}
        visits = [data_id["visit"] for data_id in surroundings.inputs["inputSourceTableVisit"]]
        for visit, sources, summary in zip(visits, inputSourceTableVisit, inputVisitSummary, strict=True):
            detectors = np.asarray(summary["detector"])
            x, y, flux = (np.asarray(sources[name], dtype=float) for name in ("x", "y", "flux"))
            found, refs = match(x=x, y=y, ref_x=ref_x, ref_y=ref_y, radius=_MATCH_RADIUS)
            scale = float(np.median(ref_flux[refs] / flux[found])) if len(found) else 1.0
            dx = float(np.median(ref_x[refs] - x[found])) if len(found) else 0.0
            dy = float(np.median(ref_y[refs] - y[found])) if len(found) else 0.0
            ones = np.ones(len(detectors))
            photometry = Table({"detector": detectors, "scale": scale * ones})
            fits[visit] = photometry, Table({"detector": detectors, "dx": dx * ones, "dy": dy * ones})
        return Struct(
            outputPhotoCalib=[fits[key["visit"]][0] for key in surroundings.outputs["outputPhotoCalib"]],
            outputWcs=[fits[key["visit"]][1] for key in surroundings.outputs["outputWcs"]],
        )
