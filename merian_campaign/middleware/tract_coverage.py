"""How well a campaign's visits cover tracts, from the regions in a butler's registry.

Coverage is measured by sampling: a grid of points over each tract, of which the fraction is taken that lies
under a detector of a visit of the band. The registry knows the outer regions of tracts only, which overlap
their neighbours; a point counts for the tract whose centre is nearest: in a grid of tracts, that is the inner
region.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from merian_campaign.domain.campaign.coverage import Coverage, CoverageQuestion, Footprint, TractCoverage
from merian_campaign.domain.errors import BadInputError, UnavailableError
from merian_campaign.middleware.actions.runner import ActionError, reading
from merian_campaign.middleware.registry_overlaps import missing_records, tracts_of_visits

_SIDE = 40
"""Points along each side of the grid over a tract's bounding box."""

_AT_ONCE = 500

Points = npt.NDArray[np.float64]
"""Unit vectors, of shape (number, 3)."""


@dataclass(frozen=True, kw_only=True)
class _Visit:
    band: str
    detectors: Mapping[int, Any]


def cover(
    question: CoverageQuestion,
    *,
    repository: str,
    choose: Callable[[Mapping[str, set[Footprint]]], set[Footprint]],
) -> Coverage:
    """Return how well tracts are covered.

    Parameters
    ----------
    question : `CoverageQuestion`
        Which visits, which tracts.
    repository : `str`
        Butler repository.
    choose : callable
        Returns the campaign's visits and detectors, from what each step takes.

    Raises
    ------
    BadInputError
        Raised if the sky map or the instrument is not registered, or a data query is refused.
    UnavailableError
        Raised if the repository cannot be opened.
    """
    try:
        with reading(repository) as butler:
            missing = missing_records(butler, instrument=question.instrument, skymap=question.skymap)
            if missing:
                raise BadInputError(f"{repository}: {missing}")
            return _cover(butler, question, choose)
    except ActionError as error:
        raise UnavailableError(str(error)) from None


def _cover(
    butler: Any,  # noqa: ANN401 - lsst type
    question: CoverageQuestion,
    choose: Callable[[Mapping[str, set[Footprint]]], set[Footprint]],
) -> Coverage:
    taken = {
        step: {pair for where in queries for pair in _footprints(butler, where)}
        for step, queries in question.steps.items()
    }
    chosen = choose(taken)
    selected = {visit for visit, _ in chosen}
    summarized = selected & _summarized(butler, question)
    used = {pair for pair in chosen if pair[0] in summarized} if summarized else chosen
    visits, nights = _visits(butler, question.instrument, used)
    by_tract: dict[int, set[int]] = {}
    found = tracts_of_visits(butler, instrument=question.instrument, skymap=question.skymap, nights=nights)
    for visit, tracts in found.items():
        for tract in tracts if visit in visits else ():
            by_tract.setdefault(tract, set()).add(visit)
    return Coverage(
        tracts=_measure(butler, question.skymap, by_tract, visits),
        selected=len(selected),
        summarized=len(summarized),
    )


def _footprints(butler: Any, where: str) -> set[Footprint]:  # noqa: ANN401
    from lsst.daf.butler import ButlerUserError  # noqa: PLC0415 - costs seconds

    try:
        with butler.query() as query:
            return {
                (int(row["visit"]), int(row["detector"]))
                for row in query.where(where).data_ids(["visit", "detector"])
            }
    except ButlerUserError as error:
        raise BadInputError(f"the butler refuses the data query {where}: {error}") from None


def _summarized(butler: Any, question: CoverageQuestion) -> set[int]:  # noqa: ANN401
    """Return the visits that have a ``visitSummary`` in the campaign's collections."""
    from lsst.daf.butler import MissingDatasetTypeError  # noqa: PLC0415

    known = set(butler.collections.query("*"))
    collections = [name for name in question.collections if name in known]
    if not collections:
        return set()
    try:
        with butler.query() as query:
            query = query.join_dataset_search("visitSummary", collections)  # noqa: PLW2901 - grows
            rows = query.where(instrument=question.instrument).data_ids(["visit"])
            return {int(row["visit"]) for row in rows}
    except MissingDatasetTypeError:
        return set()


def _visits(
    butler: Any,  # noqa: ANN401
    instrument: str,
    used: Iterable[Footprint],
) -> tuple[dict[int, _Visit], set[int]]:
    """Return the visits with their bands and the regions of their detectors, and their nights."""
    wanted: dict[int, set[int]] = {}
    for visit, detector in used:
        wanted.setdefault(visit, set()).add(detector)
    filters = butler.query_dimension_records("physical_filter", instrument=instrument, explain=False)
    bands = {record.name: str(record.band) for record in filters}
    regions: dict[int, dict[int, Any]] = {}
    found: dict[int, _Visit] = {}
    nights: set[int] = set()
    ordered = sorted(wanted)
    for start in range(0, len(ordered), _AT_ONCE):
        where = f"visit IN ({', '.join(map(str, ordered[start : start + _AT_ONCE]))})"
        given = {"instrument": instrument, "where": where, "explain": False, "limit": None}
        for record in butler.query_dimension_records("visit_detector_region", **given):
            if record.detector in wanted[record.visit]:
                regions.setdefault(record.visit, {})[record.detector] = record.region
        for record in butler.query_dimension_records("visit", **given):
            nights.add(record.day_obs)
            found[record.id] = _Visit(
                band=bands[record.physical_filter], detectors=regions.get(record.id, {})
            )
    return found, nights


def _measure(
    butler: Any,  # noqa: ANN401
    skymap: str,
    by_tract: Mapping[int, set[int]],
    visits: Mapping[int, _Visit],
) -> tuple[TractCoverage, ...]:
    records = butler.query_dimension_records("tract", skymap=skymap, explain=False, limit=None)
    regions = {int(record.id): record.region for record in records}
    ids = np.array(sorted(regions))
    centres = np.array([_centre(regions[tract]) for tract in ids.tolist()]).reshape(-1, 3)
    bands = sorted({visit.band for visit in visits.values()})
    rows = []
    for tract, numbers in sorted(by_tract.items()):
        points = _grid(regions[tract])
        mine = points[ids[np.argmax(points @ centres.T, axis=1)] == tract]
        row = _measure_one(tract, regions[tract], mine, [visits[number] for number in sorted(numbers)], bands)
        if row.visits:
            rows.append(row)
    return tuple(rows)


def _measure_one(
    tract: int,
    region: Any,  # noqa: ANN401
    points: Points,
    visits: Sequence[_Visit],
    bands: Sequence[str],
) -> TractCoverage:
    open_points = dict.fromkeys(bands, points)
    touching = detectors = 0
    for visit in visits:
        overlapping = [one for one in visit.detectors.values() if one.intersects(region)]
        detectors += len(overlapping)
        touching += bool(overlapping)
        for one in overlapping:
            left = open_points[visit.band]
            if len(left):
                open_points[visit.band] = left[~one.contains(left[:, 0], left[:, 1], left[:, 2])]
    total = max(1, len(points))
    covered = {band: 1 - len(left) / total for band, left in open_points.items()}
    return TractCoverage(tract=tract, visits=touching, detectors=detectors, bands=covered)


def _centre(region: Any) -> tuple[float, float, float]:  # noqa: ANN401
    centre = (
        region.getCentroid() if hasattr(region, "getCentroid") else region.getBoundingCircle().getCenter()
    )
    return centre.x(), centre.y(), centre.z()


def _grid(region: Any) -> Points:  # noqa: ANN401
    """Return the points of an even grid that lie in a region."""
    box = region.getBoundingBox()
    lon = box.getLon().getA().asRadians() + box.getWidth().asRadians() * (np.arange(_SIDE) + 0.5) / _SIDE
    # Even in sin(latitude): each point stands for the same area.
    low, high = (np.sin(end.asRadians()) for end in (box.getLat().getA(), box.getLat().getB()))
    z = low + (high - low) * (np.arange(_SIDE) + 0.5) / _SIDE
    lon, z = (axis.ravel() for axis in np.meshgrid(lon, z))
    across = np.sqrt(1 - z**2)
    points = np.stack([across * np.cos(lon), across * np.sin(lon), z], axis=1)
    inside: Points = points[region.contains(points[:, 0], points[:, 1], points[:, 2])]
    return inside
