"""Findings about calibrations: whether their validity ranges cover the exposures that are to be reduced."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from merian_campaign.domain.preflight.facts import (
    Certified,
    CollectionFacts,
    Exposure,
    Finding,
    PipelineFacts,
    Selected,
)
from merian_campaign.domain.preflight.inputs import few
from merian_campaign.domain.preflight.queries import Made, Promise, StepQuery, calibration_types, searched
from merian_campaign.domain.spec.base import as_ranges

_NO_TIME = 9_000_000_000_000_000_000
_SECOND = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class CalibrationGap:
    """What of a step's exposures a calibration does not cover.

    Parameters
    ----------
    exposures : `frozenset` [`int`]
        Exposures without one for some detector, or with more than one.
    nights : `frozenset` [`int`]
        Their nights.
    detectors : `frozenset` [`int`]
        The detectors; empty when it has none, or all lack it.
    filters : `frozenset` [`str`]
        The filters, where the calibration has one.
    """

    exposures: frozenset[int]
    nights: frozenset[int]
    detectors: frozenset[int]
    filters: frozenset[str]


def calibration_findings(
    look: StepQuery,
    pipeline: PipelineFacts,
    *,
    selected: Selected,
    certified: tuple[Certified, ...],
    collections: Mapping[str, CollectionFacts],
    made: Made | None = None,
) -> list[Finding]:
    """Return what of a step's exposures its calibrations do not cover."""
    names = searched(look.inputs, collections=collections, made=made)
    found: list[Finding] = []
    for dataset_type in calibration_types(pipeline):
        promises = [
            promise
            for promise in (made.promises if made else ())
            if promise.dataset_type == dataset_type and promise.collection in names
        ]
        if _is_elsewhere(dataset_type, names, collections):
            continue
        there = [
            entry for entry in certified if entry.dataset_type == dataset_type and entry.collection in names
        ]
        if there or promises:
            found += _of_type(
                look, dataset_type, selected=selected, order=names, there=there, promises=promises
            )
    return found


def _is_elsewhere(
    dataset_type: str, names: Iterable[str], collections: Mapping[str, CollectionFacts]
) -> bool:
    """Say whether some collection that is searched holds it without a validity range."""
    return any(
        dataset_type in collections[name].holds and collections[name].kind != "CALIBRATION"
        for name in names
        if name in collections
    )


def _of_type(
    look: StepQuery,
    dataset_type: str,
    *,
    selected: Selected,
    order: tuple[str, ...],
    there: list[Certified],
    promises: list[Promise],
) -> list[Finding]:
    uncovered = [
        exposure
        for exposure in selected.exposures
        if exposure.end and not any(_overlap(exposure, promise.begin, promise.end) for promise in promises)
    ]
    table = _Table(there, order=order)
    missing, several = table.check(uncovered, selected.detectors)
    found = []
    if missing is not None and promises:
        words = few(f"{promise.step}: {promise.words}" for promise in promises)
        found.append(
            Finding(
                place=look.place,
                message=f"{dataset_type} will be certified for too short a time ({words}): "
                f"{_described(missing, selected)} not covered",
                fix=f"widen begin and end of {promises[0].step}, or select fewer nights",
            )
        )
    elif missing is not None:
        found.append(
            Finding(
                place=look.place,
                message=f"no {dataset_type} covers {_described(missing, selected)}{_ranges(there, missing)}",
                fix="certify one for these dates (a certify-calibrations step), or select fewer nights",
            )
        )
    if several is not None:
        found.append(
            Finding(
                place=look.place,
                message=f"more than one {dataset_type} of one collection covers "
                f"{_described(several, selected)}",
                fix="decertify one of them, or search a collection first that has one only",
            )
        )
    return found


def _overlap(exposure: Exposure, begin: int, end: int) -> bool:
    return begin < max(exposure.end, exposure.begin + 1) and exposure.begin < end


class _Table:
    """Validity ranges by detector and filter, in the order in which collections are searched."""

    def __init__(self, there: Iterable[Certified], *, order: tuple[str, ...]) -> None:
        self._by_key: dict[tuple[int | None, str | None], list[Certified]] = defaultdict(list)
        for entry in sorted(there, key=lambda entry: order.index(entry.collection)):
            self._by_key[entry.detector, entry.physical_filter].append(entry)
        self._detectors = any(detector is not None for detector, _ in self._by_key)
        self._filters = any(name is not None for _, name in self._by_key)

    def check(
        self, exposures: Iterable[Exposure], detectors: tuple[int, ...]
    ) -> tuple[CalibrationGap | None, CalibrationGap | None]:
        """Return what has no calibration, and what has more than one."""
        missing: list[tuple[Exposure, int | None]] = []
        several: list[tuple[Exposure, int | None]] = []
        wanted: tuple[int | None, ...] = detectors if self._detectors else (None,)
        for exposure in exposures:
            name = exposure.physical_filter if self._filters else None
            for detector in wanted:
                number = self._number(exposure, self._by_key.get((detector, name), ()))
                if number != 1:
                    (several if number else missing).append((exposure, detector))
        return self._lack(missing, wanted), self._lack(several, wanted)

    def _number(self, exposure: Exposure, entries: Iterable[Certified]) -> int:
        """Return how many calibrations the first collection that has any gives."""
        first = ""
        number = 0
        for entry in entries:
            if _overlap(exposure, entry.begin, entry.end) and first in {"", entry.collection}:
                first = entry.collection
                number += 1
        return number

    def _lack(
        self, pairs: list[tuple[Exposure, int | None]], wanted: tuple[int | None, ...]
    ) -> CalibrationGap | None:
        if not pairs:
            return None
        detectors = {detector for _, detector in pairs if detector is not None}
        return CalibrationGap(
            exposures=frozenset(exposure.exposure for exposure, _ in pairs),
            nights=frozenset(exposure.day_obs for exposure, _ in pairs),
            detectors=frozenset(detectors) if len(detectors) < len(wanted) else frozenset(),
            filters=frozenset(exposure.physical_filter for exposure, _ in pairs)
            if self._filters
            else frozenset(),
        )


def _described(lack: CalibrationGap, selected: Selected) -> str:
    number = len(lack.exposures)
    words = f"{number} of {len(selected.exposures)} exposures"
    if lack.filters:
        words += f" in {few(sorted(lack.filters), at_most=2)}"
    if lack.detectors:
        words += f", detector{'s' if len(lack.detectors) > 1 else ''} {few(as_ranges(lack.detectors))}"
    return f"{words} (night{'s' if len(lack.nights) > 1 else ''} {few(as_ranges(lack.nights))})"


def _ranges(there: list[Certified], lack: CalibrationGap) -> str:
    """Return in words which validity ranges there are, of these filters if any."""
    own = [entry for entry in there if entry.physical_filter in lack.filters] if lack.filters else there
    spans = sorted({(entry.begin, entry.end) for entry in own})
    if not spans:
        names = sorted({entry.physical_filter for entry in there if entry.physical_filter})
        return f"; there are some for {few(names, at_most=3)}" if names else ""
    return (
        f"; there are some for {few((f'{_date(begin)} to {_date(end)}' for begin, end in spans), at_most=3)}"
    )


def _date(nanoseconds: int) -> str:
    if abs(nanoseconds) > _NO_TIME:
        return "ever"
    try:
        return datetime.fromtimestamp(nanoseconds / _SECOND, tz=UTC).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):
        return "ever"
