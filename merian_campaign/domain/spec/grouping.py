"""How a step is cut into groups: the rules a person writes, and their expansion.

A group's identity is a function of the values it selects. New values make new groups; they never
re-cut the groups that exist.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec.base import (
    MOST_IDS,
    Integers,
    Name,
    Strict,
    brief,
    expand_ranges,
)

_NIGHT = re.compile(r"[0-9]{8}")
_NIGHTS = re.compile(r"\s*[0-9]{1,19}\s*-\s*[0-9]{8}\s*")


MOST_NIGHTS: Final = 36_525
"""Nights that one step may list."""


_LARGEST_TRACT: Final = 2**31 - 1

_OF_NAMES: Final = frozenset({"instrument", "skymap", "band", "physical_filter", "group", "subfilter"})
_OF_TRACTS: Final = {"patch": "tract", "cell": "tract", "detector": "visit"}


def _in_32_bits(values: tuple[int, ...]) -> tuple[int, ...]:
    """Refuse what does not fit the columns of tracts and nights in the tracking database."""
    if values and values[-1] > _LARGEST_TRACT:
        raise ValueError(f"found {values[-1]}; the largest tract is {_LARGEST_TRACT}, that of 32 bits")
    return values


class Everything(Strict):
    """One group that takes all the step's query selects."""

    kind: Annotated[Literal["everything"], Field(description="Which rule it is.")] = "everything"


class ByTract(Strict):
    """Groups of one tract or of several; the campaign's tracts unless the step lists its own."""

    kind: Annotated[Literal["tract"], Field(description="Which rule it is.")] = "tract"
    tracts: Annotated[
        Integers | None,
        AfterValidator(lambda values: values if values is None else _in_32_bits(values)),
        Field(description="Tracts and ranges; default: the campaign's."),
    ] = None
    size: Annotated[int, Field(ge=1, le=MOST_IDS, description="Largest number of tracts in one group.")] = 1


class Discover(Strict):
    """Tracts that the campaign's visits overlap, once those are defined."""

    discover: Annotated[Literal[True], Field(description="Always true.")] = True
    min_visits: Annotated[
        int, Field(ge=1, le=MOST_IDS, description="Tracts with fewer visits are left out.")
    ] = 1


def _tracts(value: object) -> object:
    if value == "discover":
        return Discover()
    if isinstance(value, str) and value.strip().isalpha():
        raise ValueError(f'found {brief(value)}; write integers and "first-last" ranges, or discover')
    return value if isinstance(value, dict | Discover) else _in_32_bits(expand_ranges(value))


def _tracts_tag(value: object) -> str:
    return "listed" if isinstance(value, tuple) else "discovered"


Tracts = Annotated[
    Annotated[tuple[int, ...], Tag("listed")] | Annotated[Discover, Tag("discovered")],
    Discriminator(_tracts_tag),
    BeforeValidator(_tracts),
]
"""The campaign's tracts: a list, or that they are to be discovered."""


def _days(value: object) -> tuple[int, ...]:
    """Expand nights written as YYYYMMDD; a range runs over calendar days."""
    found: list[int] = []
    for entry in value if isinstance(value, list | tuple) else [value]:
        start, end = _nights_of(entry)
        number = (end - start).days + 1
        if len(found) + number > MOST_NIGHTS:
            raise ValueError(f"{brief(entry)}: more than {MOST_NIGHTS} nights, a hundred years")
        days = (start + timedelta(days=day) for day in range(number))
        found.extend(day.year * 10_000 + day.month * 100 + day.day for day in days)
    return expand_ranges(found)


def _nights_of(entry: object) -> tuple[date, date]:
    """Return the first and the last night of an entry."""
    text = str(entry) if isinstance(entry, str | int) else repr(entry)
    range_of_nights = _NIGHTS.fullmatch(text)
    first, dash, last = text.partition("-") if range_of_nights else (text, "", "")
    start = _as_date(first)
    end = _as_date(last) if dash else start
    if end < start:
        raise ValueError(f"the range {entry!r} runs backwards")
    return start, end


def calendar_days(value: object) -> range:
    """Return as many numbers as nights are listed; entries that are none count nothing."""
    number = 0
    for entry in value if isinstance(value, list | tuple) else [value]:
        try:
            start, end = _nights_of(entry)
        except ValueError:
            continue
        number += (end - start).days + 1
    return range(number)


def _as_date(text: str) -> date:
    text = text.strip()
    try:
        if not _NIGHT.fullmatch(text):
            raise ValueError
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        raise ValueError(f"found {brief(text)}; write a night as YYYYMMDD, e.g. 20210318") from None


class DiscoverNights(Strict):
    """Nights of which the step's query selects exposures, once those are in the repository."""

    discover: Annotated[Literal[True], Field(description="Always true.")] = True
    first: Annotated[int | None, Field(description="First night, YYYYMMDD.")] = None
    last: Annotated[int | None, Field(description="Last night; without it, nights go on to come.")] = None

    @model_validator(mode="after")
    def _check(self) -> DiscoverNights:
        for night in (self.first, self.last):
            if night is not None:
                _as_date(str(night))
        if self.first is not None and self.last is not None and self.last < self.first:
            raise ValueError(f"last: found {self.last}, which is before first, {self.first}")
        return self

    def has(self, night: int) -> bool:
        """Say whether a night is among those meant."""
        return (self.first is None or night >= self.first) and (self.last is None or night <= self.last)


def _nights(value: object) -> object:
    if value == "discover":
        return DiscoverNights()
    if isinstance(value, str) and value.strip().isalpha():
        raise ValueError(f"found {brief(value)}; write nights YYYYMMDD, ranges, or discover")
    if isinstance(value, dict | DiscoverNights):
        return value
    found = _days(value)
    if not found:
        raise ValueError("no night; list nights YYYYMMDD, or write discover")
    return found


NightsOrDiscover = Annotated[
    Annotated[tuple[int, ...], Tag("listed")] | Annotated[DiscoverNights, Tag("discovered")],
    Discriminator(_tracts_tag),
    BeforeValidator(_nights),
]
"""The nights of a step: a list, or that they are to be discovered."""


class ByDayObs(Strict):
    """One group an observing night."""

    kind: Annotated[Literal["day_obs"], Field(description="Which rule it is.")] = "day_obs"
    nights: Annotated[
        NightsOrDiscover,
        Field(
            description='Nights YYYYMMDD and calendar ranges "20210318-20210321"; or discover: those of '
            "which there are exposures."
        ),
    ]


class Chunks(Strict):
    """Groups of at most ``size`` exposures or visits, in ascending order of their ids."""

    kind: Annotated[Literal["exposure", "visit"], Field(description="What is cut into chunks.")]
    ids: Annotated[Integers, Field(min_length=1, description="Ids and ranges.")]
    size: Annotated[int, Field(ge=1, le=MOST_IDS, description="Largest number of ids in one group.")]


class ByDimension(Strict):
    """Groups of at most ``size`` values of any other dimension with integer ids, e.g. ``healpix3``."""

    kind: Annotated[Literal["dimension"], Field(description="Which rule it is.")] = "dimension"
    dimension: Annotated[
        str,
        Field(
            pattern=r"^[a-z][a-z0-9_]*$", max_length=32, description="Its name in the butler, e.g. healpix3."
        ),
    ]
    ids: Annotated[Integers, Field(min_length=1, description="Ids and ranges.")]
    size: Annotated[int, Field(ge=1, le=MOST_IDS, description="Largest number of ids in one group.")] = 1

    @model_validator(mode="after")
    def _check(self) -> ByDimension:
        own = {"tract", "day_obs", "exposure", "visit"}
        if self.dimension in own:
            raise ValueError(f"dimension: found {self.dimension!r}; write kind: {self.dimension} instead")
        if self.dimension in _OF_NAMES:
            raise ValueError(
                f"dimension: found {self.dimension!r}, which has names; groups are of integer ids. "
                "Write one step for each, with it in where:"
            )
        if self.dimension in _OF_TRACTS:
            raise ValueError(
                f"dimension: found {self.dimension!r}, which means nothing without its "
                f"{_OF_TRACTS[self.dimension]}; write kind: {_OF_TRACTS[self.dimension]} instead"
            )
        return self


class Lists(Strict):
    """Groups with names, each an explicit list of ids of one dimension."""

    kind: Annotated[Literal["lists"], Field(description="Which rule it is.")] = "lists"
    dimension: Annotated[
        Literal["exposure", "visit", "tract", "day_obs"], Field(description="What the lists are of.")
    ]
    lists: Annotated[Mapping[Name, Integers], Field(min_length=1, description="Ids and ranges by name.")]

    @model_validator(mode="after")
    def _check(self) -> Lists:
        owner: dict[int, str] = {}
        for name, values in self.lists.items():
            if not values:
                raise ValueError(f"the list {name!r} is empty; give it ids or remove it")
            if self.dimension in {"tract", "day_obs"}:
                _in_32_bits(values)
            for value in values:
                if value in owner:
                    raise ValueError(f"{self.dimension} {value} is in both {owner[value]!r} and {name!r}")
                owner[value] = name
        return self


def _shorthand(value: object) -> object:
    """Accept ``group_by: tract`` for ``group_by: {kind: tract}``."""
    if isinstance(value, str):
        if value not in {"everything", "tract"}:
            raise ValueError(
                f"found {brief(value)}; write everything, tract, or a mapping with kind: "
                "tract, day_obs, exposure, visit, dimension or lists"
            )
        return {"kind": value}
    return value


Grouping = Annotated[
    Annotated[Everything | ByTract | ByDayObs | Chunks | ByDimension | Lists, Field(discriminator="kind")],
    BeforeValidator(_shorthand),
]


type AnyGrouping = Everything | ByTract | ByDayObs | Chunks | ByDimension | Lists


def dimension_of(grouping: AnyGrouping) -> str:
    """Return the dimension a grouping constrains; empty for everything."""
    match grouping:
        case Everything():
            return ""
        case Lists(dimension=dimension) | ByDimension(dimension=dimension):
            return dimension
        case Chunks(kind=kind):
            return kind
        case ByTract():
            return "tract"
        case ByDayObs():
            return "day_obs"


def expand(
    grouping: AnyGrouping,
    *,
    tracts: tuple[int, ...],
    existing: Iterable[tuple[str, Selection]] = (),
    nights: tuple[int, ...] = (),
) -> tuple[tuple[str, Selection], ...]:
    """Return the groups of a grouping as (key, selection).

    Parameters
    ----------
    grouping : `Everything`, `ByTract`, `ByDayObs`, `Chunks`, `ByDimension` or `Lists`
        The rule.
    tracts : `tuple` [`int`, ...]
        The campaign's tracts.
    existing : iterable of (`str`, `Selection`)
        Groups the step already has; values they select are not cut again, so a chunk that exists
        stays as it is and only new ids form new chunks.
    nights : `tuple` [`int`, ...]
        The nights that were discovered.

    Returns
    -------
    groups : `tuple` of (`str`, `Selection`)
        In ascending order of values. Existing groups are included where the rule still selects them.
    """
    match grouping:
        case Everything():
            return (("all", Selection()),)
        case ByTract(tracts=own, size=size):
            chosen = tracts if own is None else own
            return _chunks(kind="tract", ids=chosen, size=size, existing=tuple(existing))
        case ByDayObs(nights=own):
            listed = nights if isinstance(own, DiscoverNights) else own
            return tuple((f"night{n}", Selection(dimension="day_obs", values=(n,))) for n in listed)
        case Lists(dimension=dimension, lists=lists):
            return tuple((name, Selection(dimension=dimension, values=ids)) for name, ids in lists.items())
        case Chunks(kind=kind, ids=ids, size=size) | ByDimension(dimension=kind, ids=ids, size=size):
            return _chunks(kind=kind, ids=ids, size=size, existing=tuple(existing))


def _chunks(
    *, kind: str, ids: tuple[int, ...], size: int, existing: tuple[tuple[str, Selection], ...]
) -> tuple[tuple[str, Selection], ...]:
    wanted = set(ids)
    kept = [
        (key, selection)
        for key, selection in existing
        if selection.dimension == kind and wanted.issuperset(selection.values)
    ]
    taken = {value for _, selection in kept for value in selection.values}
    rest = [value for value in ids if value not in taken]
    for start in range(0, len(rest), size):
        values = tuple(rest[start : start + size])
        kept.append((chunk_key(kind, values), Selection(dimension=kind, values=values)))
    return tuple(sorted(kept, key=lambda group: group[1].values))


def chunk_key(kind: str, values: tuple[int, ...]) -> str:
    """Return the key of a chunk: first and last id, and a hash when there are more between them."""
    if len(values) == 1:
        return f"{kind}{values[0]}"
    digest = hashlib.sha256(",".join(map(str, values)).encode()).hexdigest()[:6]
    return f"{kind}{values[0]}to{values[-1]}x{digest}"


def longest_key(grouping: AnyGrouping, *, tracts: tuple[int, ...]) -> str:
    """Return a key as long as the longest that the groups of a grouping can have."""
    match grouping:
        case ByTract(tracts=own, size=size):
            return _longest_chunk("tract", tracts if own is None else own, size)
        case ByDayObs(nights=nights):
            return "night20991231" if isinstance(nights, DiscoverNights) else f"night{nights[-1]}"
        case Lists(lists=lists):
            return max(lists, key=len)
        case Chunks(kind=kind, ids=ids, size=size) | ByDimension(dimension=kind, ids=ids, size=size):
            return _longest_chunk(kind, ids, size)
    return "all"


def _longest_chunk(kind: str, ids: tuple[int, ...], size: int) -> str:
    last = ids[-1] if ids else 0
    return chunk_key(kind, (last,) if size == 1 or len(ids) == 1 else (last, last))


def where_clause(selection: Selection) -> str:
    """Return the data-query term of a selection; empty for everything."""
    if not selection.dimension:
        return ""
    column = "exposure.day_obs" if selection.dimension == "day_obs" else selection.dimension
    if len(selection.values) == 1:
        return f"{column} = {selection.values[0]}"
    return f"{column} IN ({', '.join(map(str, selection.values))})"
