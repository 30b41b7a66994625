"""Asks a butler's registry which exposures there are, which visits they are, and which tracts those overlap.

The tracts of a visit are those whose regions overlap the visit's, by the butler's own spatial join: graphs
are built by the same. Nothing is opened but the registry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from merian_campaign.middleware.actions.runner import reading

_AT_ONCE = 200
"""Nights in one query."""


def look(
    *,
    repository: str,
    instrument: str,
    skymap: str | None,
    steps: Mapping[str, Sequence[str]],
    others: Sequence[str],
    raws: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the answer to a `Question` as JSON values.

    Returns
    -------
    answer : `dict`
        ``exposures``: lists of exposure, night, visits, tracts (`None` while a science exposure has no
        visit), number of raws; ``taken``: exposures by step. Or ``failed`` in words: something has to be
        registered first.
    """
    with reading(repository) as butler:
        missing = missing_records(butler, instrument=instrument, skymap=skymap)
        if missing:
            return {"failed": missing}
        records: dict[int, Any] = {}
        taken: dict[str, list[int]] = {}
        for step, queries in steps.items():
            found = {record.id: record for where in queries for record in _exposures(butler, where)}
            taken[step] = sorted(found)
            records.update(found)
        for where in others:
            records.update((record.id, record) for record in _exposures(butler, where))
        visits = _visits(butler, instrument=instrument, exposures=records.keys())
        nights = {records[exposure].day_obs for exposure in visits}
        tracts = (
            {}
            if skymap is None
            else tracts_of_visits(butler, instrument=instrument, skymap=skymap, nights=nights)
        )
        numbers = _raws(
            butler, instrument=instrument, runs=raws, nights={record.day_obs for record in records.values()}
        )
        exposures = [
            [
                int(record.id),
                int(record.day_obs),
                sorted(visits.get(record.id, ())),
                _tracts_of(record, visits.get(record.id, set()), tracts),
                numbers.get(record.id, 0),
            ]
            for record in records.values()
        ]
    return {"exposures": sorted(exposures), "taken": taken}


def missing_records(butler: Any, *, instrument: str, skymap: str | None) -> str:  # noqa: ANN401 - lsst type
    """Say in words that the instrument or the sky map is not registered; empty when both are."""
    for element, name in (("instrument", instrument), ("skymap", skymap)):
        known = {record.name for record in butler.query_dimension_records(element, explain=False)}
        if name is not None and name not in known:
            listed = ", ".join(sorted(known)) or "none"
            return f"the {element} {name} is not registered; registered: {listed}"
    return ""


def _exposures(butler: Any, where: str) -> Iterator[Any]:  # noqa: ANN401
    with butler.query() as query:
        for row in query.where(where).data_ids(["exposure"]).with_dimension_records():
            yield row.records["exposure"]


def _visits(butler: Any, *, instrument: str, exposures: Iterable[int]) -> dict[int, set[int]]:  # noqa: ANN401
    """Return the visits of exposures that have any."""
    wanted = set(exposures)
    found: dict[int, set[int]] = {}
    for record in butler.query_dimension_records(
        "visit_definition", instrument=instrument, explain=False, limit=None
    ):
        if record.exposure in wanted:
            found.setdefault(record.exposure, set()).add(int(record.visit))
    return found


def _raws(
    butler: Any,  # noqa: ANN401
    *,
    instrument: str,
    runs: Sequence[str],
    nights: Iterable[int],
) -> dict[int, int]:
    """Return how many raws there are of each exposure of some nights."""
    from lsst.daf.butler import MissingDatasetTypeError  # noqa: PLC0415

    known = sorted({name for run in runs for name in butler.collections.query(run)})
    found: dict[int, int] = {}
    ordered = sorted(nights)
    for start in range(0, len(ordered) if known else 0, _AT_ONCE):
        listed = ", ".join(map(str, ordered[start : start + _AT_ONCE]))
        try:
            with butler.query() as query:
                chosen = query.join_dataset_search("raw", known).where(
                    f"exposure.day_obs IN ({listed})", instrument=instrument
                )
                for row in chosen.data_ids(["exposure", "detector"]):
                    found[int(row["exposure"])] = found.get(int(row["exposure"]), 0) + 1
        except MissingDatasetTypeError:
            return {}
    return found


def tracts_of_visits(
    butler: Any,  # noqa: ANN401
    *,
    instrument: str,
    skymap: str,
    nights: Iterable[int],
) -> dict[int, set[int]]:
    """Return the tracts of each visit of some nights."""
    ordered = sorted(nights)
    found: dict[int, set[int]] = {}
    for start in range(0, len(ordered), _AT_ONCE):
        listed = ", ".join(map(str, ordered[start : start + _AT_ONCE]))
        with butler.query() as query:
            chosen = query.where(f"day_obs IN ({listed})", instrument=instrument, skymap=skymap)
            for row in chosen.data_ids(["visit", "tract"]):
                found.setdefault(int(row["visit"]), set()).add(int(row["tract"]))
    return found


def _tracts_of(record: Any, visits: set[int], tracts: Mapping[int, set[int]]) -> list[int] | None:  # noqa: ANN401
    if not visits:
        # As define-visits has it: what did not look at the sky never gets a visit.
        on_sky = record.tracking_ra is not None and record.can_see_sky is not False
        return None if record.observation_type == "science" and on_sky else []
    return sorted(set().union(*(tracts.get(visit, set()) for visit in visits)))
