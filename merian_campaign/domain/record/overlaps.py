"""Which tracts the exposures of a campaign overlap, as the butler's registry told it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from merian_campaign.domain.selection import OF_EXPOSURES, Selection


@dataclass(frozen=True, kw_only=True)
class SkyExposure:
    """One exposure as it was seen.

    Parameters
    ----------
    exposure, day_obs : `int`
        Its id and its night.
    visits : `tuple` [`int`, ...]
        Visits it belongs to; one as a rule, none for a bias or flat.
    tracts : `tuple` [`int`, ...] or `None`
        Tracts that its visits overlap; `None` while a science exposure waits for its visit.
    taken : `bool`
        Whether the campaign's steps take it: only such exposures make tracts.
    steps : `frozenset` [`str`]
        Steps over exposures or visits whose data query selects it.
    raws : `int`
        How many raw datasets it has, one a detector as a rule; 0 when nobody counted.
    seen_at : `datetime.datetime` or `None`
        When it was seen first, UTC; `None` when that was before such times were kept.
    raws_at : `datetime.datetime` or `None`
        When more of its raws were last seen, UTC; `None` while there are those that were seen first.
    """

    exposure: int
    day_obs: int
    visits: tuple[int, ...] = ()
    tracts: tuple[int, ...] | None = ()
    taken: bool = True
    steps: frozenset[str] = frozenset()
    raws: int = 0
    seen_at: datetime | None = field(default=None, compare=False)
    raws_at: datetime | None = field(default=None, compare=False)

    @property
    def last_at(self) -> datetime | None:
        """When anything new of it was last seen."""
        return self.raws_at or self.seen_at


@dataclass(frozen=True, kw_only=True)
class Overlaps:
    """What was seen at one moment.

    Parameters
    ----------
    exposures : `tuple` [`SkyExposure`, ...]
        In ascending order.
    basis : `str`
        What was asked, and what had been done before: once it is another, this is out of date.
    seen_at : `datetime.datetime`
        When, UTC.
    """

    exposures: tuple[SkyExposure, ...]
    basis: str
    seen_at: datetime

    @cached_property
    def _by_value(self) -> Mapping[str, Mapping[int, tuple[SkyExposure, ...]]]:
        found: dict[str, dict[int, list[SkyExposure]]] = {name: {} for name in OF_EXPOSURES}
        for row in self.exposures:
            for name, dimension in OF_EXPOSURES.items():
                for value in dimension.values(row):
                    found[name].setdefault(value, []).append(row)
        return {name: {key: tuple(rows) for key, rows in by.items()} for name, by in found.items()}

    @cached_property
    def by_tract(self) -> Mapping[int, tuple[SkyExposure, ...]]:
        """Exposures by the tracts that their visits overlap."""
        found: dict[int, list[SkyExposure]] = {}
        for row in self.exposures:
            for tract in row.tracts or ():
                found.setdefault(tract, []).append(row)
        return {tract: tuple(rows) for tract, rows in found.items()}

    @cached_property
    def touched(self) -> frozenset[int]:
        """Tracts that any visit overlaps, whether the campaign takes it or not."""
        return frozenset(tract for row in self.exposures for tract in row.tracts or ())

    @cached_property
    def tract_visits(self) -> Mapping[int, int]:
        """How many of the campaign's visits overlap each tract, in order of the tracts."""
        pairs = {
            (tract, visit)
            for row in self.exposures
            if row.taken
            for tract in row.tracts or ()
            for visit in row.visits
        }
        return dict(sorted(Counter(tract for tract, _ in pairs).items()))

    @property
    def visits(self) -> int:
        """How many visits the campaign takes."""
        return len({visit for row in self.exposures if row.taken for visit in row.visits})

    def in_words(self) -> str:
        """Return a summary: how many exposures, visits and tracts."""
        waiting = sum(1 for row in self.exposures if row.tracts is None)
        rest = f", {waiting} exposures wait for their visits" if waiting else ""
        return f"{self.visits} visits on {len(self.tract_visits)} tracts{rest}"

    def rows(self, selection: Selection) -> tuple[SkyExposure, ...] | None:
        """Return the exposures of a selection of exposures, visits or nights.

        Returns
        -------
        rows : `tuple` [`SkyExposure`, ...] or `None`
            `None` when not all of them are known: a value was never seen, or a science exposure waits for
            its visit.
        """
        by_value = self._by_value[selection.dimension]
        found: dict[int, SkyExposure] = {}
        for value in selection.values:
            if value not in by_value:
                return None
            found.update((row.exposure, row) for row in by_value[value])
        rows = tuple(found.values())
        return None if any(row.tracts is None for row in rows) else rows

    def covers(self, selections: Iterable[Selection]) -> bool:
        """Say whether all of these selections of exposures, visits or nights are known."""
        return all(self.rows(selection) is not None for selection in selections)
