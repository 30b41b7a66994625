"""Which exposures a step takes, by what the registry knows of them."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from merian_campaign.domain.spec.base import LARGEST_ID, Integers, Strict, brief
from merian_campaign.domain.spec.words import changed_in_quotes

_NIGHTS = re.compile(r"\s*([0-9]{8})\s*(?:-\s*([0-9]{8})\s*)?")


def _ranges(value: object) -> tuple[tuple[int, int], ...]:
    """Read nights ``20210318`` and ranges ``20210318-20210401``; a range need not be of calendar days."""
    found = []
    for entry in value if isinstance(value, list | tuple) else [value]:
        if isinstance(entry, list | tuple) and len(entry) == 2:  # noqa: PLR2004 - read back from the store
            found.append((_stored(entry[0]), _stored(entry[1])))
            continue
        match = _NIGHTS.fullmatch(str(entry)) if isinstance(entry, str | int) else None
        if match is None:
            raise ValueError(f'found {brief(entry)}; write nights as YYYYMMDD and ranges "20210318-20210401"')
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"the range {entry!r} runs backwards")
        found.append((first, last))
    return tuple(sorted(found))


def _stored(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_ID:
        raise ValueError(f"found {brief(value)}; write nights as YYYYMMDD")
    return value


def _names(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _plain(value: str) -> str:
    if "'" in value or changed_in_quotes(value) is not None:
        raise ValueError(
            f"found {brief(value)}; quotes, braces, $, backslashes, backquotes, <ENV: and line breaks cannot "
            "be put into a data query"
        )
    return value


_TEXT = {"type": "string", "minLength": 1}
_NIGHT = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": r"^\s*\d{8}\s*(-\s*\d{8}\s*)?$"}]}

Names = Annotated[
    tuple[Annotated[str, Field(min_length=1), AfterValidator(_plain)], ...],
    BeforeValidator(_names),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}),
]
Nights = Annotated[
    tuple[tuple[int, int], ...],
    BeforeValidator(_ranges),
    WithJsonSchema({"anyOf": [*_NIGHT["anyOf"], {"type": "array", "items": _NIGHT}]}),
]


class Select(Strict):
    """Terms of a data query; what is not given is not constrained."""

    observation_type: Annotated[Names, Field(description="e.g. science, zero, dome flat.")] = ()
    day_obs: Annotated[
        Nights, Field(description='Nights YYYYMMDD and ranges "first-last", both included.', strict=False)
    ] = ()
    physical_filter: Annotated[Names, Field(description="Whole names of filters.")] = ()
    band: Annotated[Names, Field(description="Bands, e.g. N708.")] = ()
    target: Annotated[Names, Field(description="Target names, as in the headers.")] = ()
    exposures: Annotated[Integers, Field(description="Ids and ranges.")] = ()
    exclude_exposures: Annotated[Integers, Field(description="Ids and ranges to leave out.")] = ()
    exclude_detectors: Annotated[Integers, Field(description="Detectors to leave out, e.g. [31, 61].")] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.exposures and not self._kept():
            raise ValueError("exclude_exposures: it leaves out all that exposures names")
        return self

    def _kept(self) -> tuple[int, ...]:
        """Return the exposures that are named and not left out."""
        left_out = set(self.exclude_exposures)
        return tuple(number for number in self.exposures if number not in left_out)

    @property
    def of_exposures(self) -> str:
        """The first field that chooses some exposures among those of a band; empty for none."""
        fields = (
            "observation_type",
            "day_obs",
            "physical_filter",
            "target",
            "exposures",
            "exclude_exposures",
        )
        return next((name for name in fields if getattr(self, name)), "")

    def terms(self) -> tuple[str, ...]:
        """Return the terms of the data query, in the order of the fields."""
        if not self.model_fields_set:
            return ()  # of most steps, and each group asks
        found = [
            _among("exposure.observation_type", [f"'{name}'" for name in self.observation_type]),
            _between("exposure.day_obs", self.day_obs),
            _among("physical_filter", [f"'{name}'" for name in self.physical_filter]),
            _among("band", [f"'{name}'" for name in self.band]),
            _among("exposure.target_name", [f"'{name}'" for name in self.target]),
            _among("exposure", [str(number) for number in self._kept()]),
            _not_among("exposure", () if self.exposures else self.exclude_exposures),
            _not_among("detector", self.exclude_detectors),
        ]
        return tuple(term for term in found if term)


def _among(column: str, values: list[str]) -> str:
    if len(values) == 1:
        return f"{column} = {values[0]}"
    return f"{column} IN ({', '.join(values)})" if values else ""


def _not_among(column: str, values: tuple[int, ...]) -> str:
    return f"{column} NOT IN ({', '.join(map(str, values))})" if values else ""


def _between(column: str, ranges: tuple[tuple[int, int], ...]) -> str:
    parts = [
        f"{column} = {first}" if first == last else f"{column} >= {first} AND {column} <= {last}"
        for first, last in ranges
    ]
    return (
        parts[0]
        if len(parts) == 1
        else "(" + " OR ".join(f"({part})" for part in parts) + ")"
        if parts
        else ""
    )
