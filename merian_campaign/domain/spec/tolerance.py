"""Losses that a step takes without asking a person: by task, by cause, by data ID, up to a number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, model_validator

from merian_campaign.domain.execution.quanta import COLUMN_DIMENSIONS, INTEGER_DIMENSIONS, DataIdValue
from merian_campaign.domain.spec.base import Strict, brief, expand_ranges
from merian_campaign.domain.spec.words import Label
from merian_campaign.domain.states import Verdict

MOST_VALUES: Final = 10_000
"""Values of one dimension."""


def _values(value: object) -> object:
    """Read a mapping of dimensions to values: one, a list, or ranges of numbers."""
    if not isinstance(value, dict):
        return value
    found: dict[object, object] = {}
    for name, given in value.items():
        listed = given if isinstance(given, list | tuple) else [given]
        found[name] = expand_ranges(listed) if name in INTEGER_DIMENSIONS else tuple(listed)
    return found


class Tolerance(Strict):
    """Quanta that may be lost: those that fail so, and what is blocked behind them."""

    task: Annotated[Label | None, Field(description="Of this task; without it, of any.")] = None
    verdict: Annotated[
        Verdict | None, Field(strict=False, description="That failed for this; without it, for anything.")
    ] = None
    where: Annotated[
        Mapping[str, tuple[int | str, ...]],
        BeforeValidator(_values),
        Field(description="Of these data IDs: values by dimension, e.g. {detector: [31, 61]}."),
    ] = {}
    count: Annotated[
        int | None, Field(ge=1, description="So many of a group at most; more than that none of them.")
    ] = None
    fraction: Annotated[
        float | None,
        Field(gt=0, lt=1, strict=False, description="The same, as a fraction of the group's quanta."),
    ] = None

    @model_validator(mode="after")
    def _check(self) -> Tolerance:
        if not (self.task or self.verdict or self.where):
            raise ValueError("say of which quanta: task, verdict or where")
        for name, values in self.where.items():
            if name not in COLUMN_DIMENSIONS:
                raise ValueError(f"where: found {brief(name)}; it may name {', '.join(COLUMN_DIMENSIONS)}")
            if not values or len(values) > MOST_VALUES:
                raise ValueError(f"where: {name}: give 1 to {MOST_VALUES} values")
        bounds = [bound for bound in (self.count, self.fraction) if bound is not None]
        if self.where and bounds:
            raise ValueError("where: all that it names may be lost; leave count and fraction out")
        if not self.where and len(bounds) != 1:
            raise ValueError("say how many: count or fraction")
        return self

    def fits(self, *, task: str, verdict: str | None) -> bool:
        """Say whether a failed quantum is of its task and verdict."""
        return self.task in {None, task} and self.verdict in {None, verdict}

    def names(self, dimensions: Mapping[str, DataIdValue]) -> bool:
        """Say whether it names a data ID; one that lacks a dimension is not named."""
        return bool(self.where) and all(dimensions.get(name) in values for name, values in self.where.items())

    def in_words(self) -> str:
        """Return it for people."""
        what = [self.task, None if self.verdict is None else self.verdict.value.replace("_", " ")]
        bound = f"{self.count}" if self.count is not None else f"{self.fraction or 0:g} of all"
        return f"{' '.join(word for word in what if word)} tolerated up to {bound}"


def named(
    tolerate: Iterable[Tolerance],
    *,
    task: str,
    verdict: str | None,
    dimensions: Mapping[str, DataIdValue],
) -> bool:
    """Say whether a failed quantum is one of those that may be lost whatever their number."""
    return any(entry.names(dimensions) and entry.fits(task=task, verdict=verdict) for entry in tolerate)
