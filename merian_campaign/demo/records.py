"""Dimension records of the miniature survey.

They are what ``register-skymap``, ``ingest-raws`` and ``define-visits`` insert for a real one.

Only builds and inserts records; the datasets are the business of whoever makes a repository.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from astropy.time import Time
from lsst.daf.butler import Registry, Timespan
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

from merian_campaign.demo.instrument import ONE_TO_ONE_VISIT_SYSTEM
from merian_campaign.demo.survey import (
    ALL_DETECTORS,
    EXPOSURES,
    INSTRUMENT,
    PATCHES_PER_TRACT,
    SKYMAP,
    SKYMAPS,
    Box,
    ExposurePlan,
    detector_box,
    science_exposures,
    sky_to_degrees,
    tract_box,
)

__all__ = ["insert_exposures", "insert_skymap", "insert_visits", "region_of"]

Record = dict[str, Any]


def region_of(*boxes: Box) -> ConvexPolygon:
    """Return the part of the celestial sphere under some boxes.

    Parameters
    ----------
    *boxes : `~merian_campaign.demo.survey.Box`
        Rectangles of sky pixels.

    Returns
    -------
    region : `lsst.sphgeom.ConvexPolygon`
        Their convex hull.
    """
    corners = [(x, y) for box in boxes for x in (box.x0, box.x1) for y in (box.y0, box.y1)]
    vectors = [UnitVector3d(LonLat.fromDegrees(*sky_to_degrees(x, y))) for x, y in corners]
    return ConvexPolygon.convexHull(vectors)


def insert_skymap(registry: Registry, name: str = SKYMAP) -> None:
    """Insert the sky map with its tracts and patches.

    Parameters
    ----------
    registry : `lsst.daf.butler.Registry`
        Registry of the repository.
    """
    plans = SKYMAPS[name]
    tracts = dict.fromkeys(plan.tract for plan in plans)
    skymap = {
        "name": name,
        "hash": name.encode().ljust(40, b"\0"),
        "tract_max": max(tracts) + 1,
        "patch_nx_max": PATCHES_PER_TRACT,
        "patch_ny_max": 1,
    }
    registry.insertDimensionData("skymap", skymap)
    areas = [{"skymap": name, "id": tract, "region": region_of(tract_box(tract, plans))} for tract in tracts]
    registry.insertDimensionData("tract", *areas)
    patches = [
        {
            "skymap": name,
            "tract": plan.tract,
            "id": plan.patch,
            "cell_x": plan.patch,
            "cell_y": 0,
            "region": region_of(plan.outer),
        }
        for plan in plans
    ]
    registry.insertDimensionData("patch", *patches)


def insert_exposures(registry: Registry, plans: Sequence[ExposurePlan] = EXPOSURES) -> None:
    """Insert exposures that are not there, with the nights and groups they belong to.

    Parameters
    ----------
    registry : `lsst.daf.butler.Registry`
        Registry of the repository.
    plans : `~collections.abc.Sequence`, optional
        The exposures; all of the survey.
    """
    nights = [_night_record(night) for night in sorted({plan.day_obs for plan in plans})]
    registry.insertDimensionData("day_obs", *nights, skip_existing=True)
    groups = [{"instrument": INSTRUMENT, "name": str(plan.exposure)} for plan in plans]
    registry.insertDimensionData("group", *groups, skip_existing=True)
    records = [_exposure_record(plan) for plan in plans]
    registry.insertDimensionData("exposure", *records, skip_existing=True)


def insert_visits(registry: Registry, plans: Sequence[ExposurePlan] = science_exposures()) -> None:
    """Insert one visit for each science exposure, with its regions.

    Parameters
    ----------
    registry : `lsst.daf.butler.Registry`
        Registry of the repository.
    plans : `~collections.abc.Sequence`, optional
        Science exposures that have no visit yet; all of the survey.
    """
    system = {"instrument": INSTRUMENT, "id": ONE_TO_ONE_VISIT_SYSTEM, "name": "one-to-one"}
    registry.insertDimensionData("visit_system", system, skip_existing=True)
    registry.insertDimensionData("visit", *(_visit_record(plan) for plan in plans))
    keys = [{"instrument": INSTRUMENT, "visit": plan.exposure} for plan in plans]
    definitions = [key | {"exposure": key["visit"]} for key in keys]
    registry.insertDimensionData("visit_definition", *definitions)
    memberships = [key | {"visit_system": ONE_TO_ONE_VISIT_SYSTEM} for key in keys]
    registry.insertDimensionData("visit_system_membership", *memberships)
    regions = [
        {
            "instrument": INSTRUMENT,
            "visit": plan.exposure,
            "detector": detector,
            "region": region_of(_footprint(plan, detector)),
        }
        for plan in plans
        for detector in ALL_DETECTORS
    ]
    registry.insertDimensionData("visit_detector_region", *regions)


def _footprint(plan: ExposurePlan, detector: int) -> Box:
    if plan.pointing is None:
        raise ValueError(f"Exposure {plan.exposure} does not look at the sky.")
    return detector_box(plan.pointing, detector)


def _time(moment: datetime) -> Time:
    return Time(moment.replace(tzinfo=None), scale="utc").tai


def _timespan(plan: ExposurePlan) -> Timespan:
    # A zero still lasts as long as its readout: an empty timespan would match no calibration.
    return Timespan(_time(plan.begin), _time(plan.begin + timedelta(seconds=max(plan.seconds, 1.0))))


def _night_record(day_obs: int) -> Record:
    noon = datetime.strptime(f"{day_obs}12+0000", "%Y%m%d%H%z")
    span = Timespan(_time(noon), _time(noon + timedelta(days=1)))
    return {"instrument": INSTRUMENT, "id": day_obs, "timespan": span}


def _exposure_record(plan: ExposurePlan) -> Record:
    on_sky = plan.pointing is not None
    ra, dec = sky_to_degrees(*plan.pointing) if plan.pointing else (None, None)
    return {
        "instrument": INSTRUMENT,
        "id": plan.exposure,
        "physical_filter": plan.physical_filter,
        "group": str(plan.exposure),
        "day_obs": plan.day_obs,
        "obs_id": f"ct4m{plan.begin:%Y%m%dt%H%M%S}",
        "exposure_time": plan.seconds,
        "dark_time": plan.seconds,
        "observation_type": plan.observation_type,
        "observation_reason": "unknown",
        "seq_num": plan.exposure,
        "seq_start": plan.exposure,
        "seq_end": plan.exposure,
        "target_name": "COSMOS" if on_sky else plan.observation_type,
        "science_program": "2020B-0288",
        "tracking_ra": ra,
        "tracking_dec": dec,
        "has_simulated": True,
        "can_see_sky": on_sky,
        "timespan": _timespan(plan),
    }


def _visit_record(plan: ExposurePlan) -> Record:
    footprints = [_footprint(plan, detector) for detector in ALL_DETECTORS]
    return {
        "instrument": INSTRUMENT,
        "id": plan.exposure,
        "name": f"ct4m{plan.begin:%Y%m%dt%H%M%S}",
        "physical_filter": plan.physical_filter,
        "day_obs": plan.day_obs,
        "seq_num": plan.exposure,
        "exposure_time": plan.seconds,
        "target_name": "COSMOS",
        "observation_reason": "unknown",
        "science_program": "2020B-0288",
        "timespan": _timespan(plan),
        "region": region_of(*footprints),
    }
