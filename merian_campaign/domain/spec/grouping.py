"""How a step is cut into groups: the rules a person writes, and their expansion.

A group's identity is a function of the values it selects. New values make new groups; they never
re-cut the groups that exist.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, override

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from merian_campaign.domain.selection import OF_EXPOSURES, Selection, column_of
from merian_campaign.domain.spec.base import (
    MOST_IDS,
    Integers,
    Name,
    Strict,
    brief,
)
from merian_campaign.domain.spec.tracts_and_nights import (
    DiscoverNights,
    IdsOrDiscover,
    NightsOrDiscover,
    in_32_bits,
)

_OF_NAMES: Final = frozenset({"instrument", "skymap", "band", "physical_filter", "group", "subfilter"})
_LONGEST_ID: Final = 9_999_999_999_999
"""Of an exposure: LSST's have 13 digits."""
_OF_TRACTS: Final = {"patch": "tract", "cell": "tract", "detector": "visit"}


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What a rule comes to: groups that have names, or ids to be cut into chunks.

    Parameters
    ----------
    names : `~collections.abc.Mapping`
        Values by the key of the group.
    ids : `tuple` [`int`, ...]
        Values that are cut into chunks of at most ``size``.
    size : `int`
        Largest number of values in a chunk.
    """

    names: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ids: tuple[int, ...] = ()
    size: int = 1


class CutRule(Strict):
    """How a step is cut into groups."""

    @property
    def cut_by(self) -> str:
        """The dimension that it constrains; empty for everything."""
        raise NotImplementedError

    def cut(self, *, tracts: tuple[int, ...], nights: tuple[int, ...]) -> Cut:
        """Return the groups, of the campaign's tracts and of the nights, or ids, that were discovered."""
        raise NotImplementedError


class Everything(CutRule):
    """One group that takes all the step's query selects."""

    kind: Annotated[Literal["everything"], Field(description="Which rule it is.")] = "everything"

    @property
    @override
    def cut_by(self) -> str:
        return ""

    @override
    def cut(self, *, tracts: tuple[int, ...], nights: tuple[int, ...]) -> Cut:
        return Cut(names={"all": ()})


class ByTract(CutRule):
    """Groups of one tract or of several; the campaign's tracts unless the step lists its own."""

    kind: Annotated[Literal["tract"], Field(description="Which rule it is.")] = "tract"
    tracts: Annotated[
        Integers | None,
        AfterValidator(lambda values: values if values is None else in_32_bits(values)),
        Field(description="Tracts and ranges; default: the campaign's."),
    ] = None
    size: Annotated[int, Field(ge=1, le=MOST_IDS, description="Largest number of tracts in one group.")] = 1

    @property
    @override
    def cut_by(self) -> str:
        return "tract"

    @override
    def cut(self, *, tracts: tuple[int, ...], nights: tuple[int, ...]) -> Cut:
        return Cut(ids=tracts if self.tracts is None else self.tracts, size=self.size)


class ByDayObs(CutRule):
    """One group an observing night."""

    kind: Annotated[Literal["day_obs"], Field(description="Which rule it is.")] = "day_obs"
    nights: Annotated[
        NightsOrDiscover,
        Field(
            description='Nights YYYYMMDD and calendar ranges "20210318-20210321"; or discover: those of '
            "which there are exposures."
        ),
    ]

    @property
    @override
    def cut_by(self) -> str:
        return "day_obs"

    @override
    def cut(self, *, tracts: tuple[int, ...], nights: tuple[int, ...]) -> Cut:
        listed = nights if isinstance(self.nights, DiscoverNights) else self.nights
        return Cut(names={f"night{night}": (night,) for night in listed})


class Chunks(CutRule):
    """Groups of at most ``size`` exposures or visits, in ascending order of their ids.

    Those that are discovered are cut in order of arrival: what a look finds is not waited with until a group
    is full.
    """

    kind: Annotated[Literal["exposure", "visit"], Field(description="What is cut into chunks.")]
    ids: Annotated[
        IdsOrDiscover,
        Field(description="Ids and ranges; or discover: what the step's query selects, as it comes."),
    ]
    size: Annotated[int, Field(ge=1, le=MOST_IDS, description="Largest number of ids in one group.")]

    @property
    @override
    def cut_by(self) -> str:
        return self.kind

    @override
    def cut(self, *, tracts: tuple[int, ...], nights: tuple[int, ...]) -> Cut:
        return Cut(ids=nights if isinstance(self.ids, DiscoverNights) else self.ids, size=self.size)


class ByDimension(CutRule):
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
        if self.dimension in {"tract", *OF_EXPOSURES}:
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

    @property
    @override
    def cut_by(self) -> str:
        return self.dimension

    @override
    def cut(self, *, tracts: tuple[int, ...], nights: tuple[int, ...]) -> Cut:
        return Cut(ids=self.ids, size=self.size)


class Lists(CutRule):
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
                raise ValueError(f"lists: the list {name!r} is empty; give it ids or remove it")
            if self.dimension in {"tract", "day_obs"}:
                in_32_bits(values)
            for value in values:
                if value in owner:
                    raise ValueError(
                        f"lists: {self.dimension} {value} is in both {owner[value]!r} and {name!r}"
                    )
                owner[value] = name
        return self

    @property
    @override
    def cut_by(self) -> str:
        return self.dimension

    @override
    def cut(self, *, tracts: tuple[int, ...], nights: tuple[int, ...]) -> Cut:
        return Cut(names=self.lists)


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


def expand(
    grouping: CutRule,
    *,
    tracts: tuple[int, ...],
    existing: Iterable[tuple[str, Selection]] = (),
    nights: tuple[int, ...] = (),
) -> tuple[tuple[str, Selection], ...]:
    """Return the groups of a grouping as (key, selection).

    Parameters
    ----------
    grouping : `CutRule`
        The rule.
    tracts : `tuple` [`int`, ...]
        The campaign's tracts.
    existing : iterable of (`str`, `Selection`)
        Groups the step already has; values they select are not cut again, so a chunk that exists
        stays as it is and only new ids form new chunks.
    nights : `tuple` [`int`, ...]
        The nights that were discovered; of groups of exposures or visits their ids, in order of arrival.

    Returns
    -------
    groups : `tuple` of (`str`, `Selection`)
        In ascending order of values, named ones in the order of the file. Existing groups are included
        where the rule still selects them.
    """
    cut, dimension = grouping.cut(tracts=tracts, nights=nights), grouping.cut_by
    if cut.names:
        return tuple(
            (name, Selection(dimension=dimension, values=values)) for name, values in cut.names.items()
        )
    return _chunks(kind=dimension, ids=cut.ids, size=cut.size, existing=tuple(existing))


def number_of_groups(grouping: CutRule, *, tracts: tuple[int, ...]) -> int:
    """Return how many groups a grouping gives; none yet of what is to be discovered."""
    cut = grouping.cut(tracts=tracts, nights=())
    return len(cut.names) or -(-len(cut.ids) // cut.size)


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
        values = tuple(sorted(rest[start : start + size]))
        kept.append((chunk_key(kind, values), Selection(dimension=kind, values=values)))
    return tuple(sorted(kept, key=lambda group: group[1].values))


def chunk_key(kind: str, values: tuple[int, ...]) -> str:
    """Return the key of a chunk: first and last id, and a hash when there are more between them."""
    if len(values) == 1:
        return f"{kind}{values[0]}"
    digest = hashlib.sha256(",".join(map(str, values)).encode()).hexdigest()[:6]
    return f"{kind}{values[0]}to{values[-1]}x{digest}"


def longest_key(grouping: CutRule, *, tracts: tuple[int, ...]) -> str:
    """Return a key as long as the longest that the groups of a grouping can have."""
    cut = grouping.cut(tracts=tracts, nights=(20991231,))
    if isinstance(grouping, Chunks) and isinstance(grouping.ids, DiscoverNights):
        return chunk_key(grouping.kind, (_LONGEST_ID,) * min(grouping.size, 2))
    if cut.names:
        return max(cut.names, key=len)
    last = cut.ids[-1] if cut.ids else 0
    single = cut.size == 1 or len(cut.ids) == 1
    return chunk_key(grouping.cut_by, (last,) if single else (last, last))


def where_clause(selection: Selection) -> str:
    """Return the data-query term of a selection; empty for everything."""
    if not selection.dimension:
        return ""
    column = column_of(selection.dimension)
    if len(selection.values) == 1:
        return f"{column} = {selection.values[0]}"
    return f"{column} IN ({', '.join(map(str, selection.values))})"
