"""Tracts and nights as a person lists them, or has them discovered."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from merian_campaign.domain.spec.base import MOST_IDS, Strict, brief, expand_ranges

_NIGHT = re.compile(r"[0-9]{8}")
_NIGHTS = re.compile(r"\s*[0-9]{1,19}\s*-\s*[0-9]{8}\s*")


MOST_NIGHTS: Final = 36_525
"""Nights that one step may list."""


_LARGEST_TRACT: Final = 2**31 - 1


def in_32_bits(values: tuple[int, ...]) -> tuple[int, ...]:
    """Refuse what does not fit the columns of tracts and nights in the tracking database."""
    if values and values[-1] > _LARGEST_TRACT:
        raise ValueError(f"found {values[-1]}; the largest tract is {_LARGEST_TRACT}, that of 32 bits")
    return values


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
    return value if isinstance(value, dict | Discover) else in_32_bits(expand_ranges(value))


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


def _ids(value: object) -> object:
    if value == "discover":
        return DiscoverNights()
    if isinstance(value, str) and value.strip().isalpha():
        raise ValueError(f'found {brief(value)}; write integers and "first-last" ranges, or discover')
    if isinstance(value, dict | DiscoverNights):
        return value
    found = expand_ranges(value)
    if not found:
        raise ValueError("no id; list ids and ranges, or write discover")
    return found


IdsOrDiscover = Annotated[
    Annotated[tuple[int, ...], Tag("listed")] | Annotated[DiscoverNights, Tag("discovered")],
    Discriminator(_tracts_tag),
    BeforeValidator(_ids),
]
"""The exposures or visits of a step: a list, or that those of some nights are to be discovered."""
