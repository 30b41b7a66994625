"""Arguments of butler actions, one model an action.

A new action is a new model here and its entry in `ACTIONS`; the campaign model does not change.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, field_validator

from merian_campaign.domain.spec.base import Strict

Collection = Annotated[str, Field(min_length=1, pattern=r"^[^\s,]+$")]


class CertifyCalibrations(Strict):
    """``butler certify-calibrations``: give calibrations a validity range in a CALIBRATION collection."""

    input: Annotated[Collection, Field(description="Collection that holds the calibrations.")]
    output: Annotated[Collection, Field(description="CALIBRATION collection to certify into.")]
    dataset_type: Annotated[str, Field(min_length=1, description="e.g. bias, flat.")]
    begin: Annotated[str, Field(description="Begin of validity, ISO 8601 in TAI, e.g. 2021-01-01T00:00:00.")]
    end: Annotated[str, Field(description="End of validity, ISO 8601 in TAI.")]

    @field_validator("begin", "end", mode="before")
    @classmethod
    def _iso(cls, value: object) -> str:
        if isinstance(value, datetime):
            value = value.isoformat()
        if not isinstance(value, str):
            raise ValueError(f"found {value!r}; write an ISO time in quotes")  # noqa: TRY004
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"found {value!r}; write an ISO time, e.g. 2021-01-01T00:00:00") from None
        return value


class CollectionChain(Strict):
    """``butler collection-chain``: define a CHAINED collection."""

    parent: Collection
    children: Annotated[tuple[Collection, ...], Field(min_length=1, strict=False)]


ACTIONS: dict[str, type[Strict]] = {
    "certify-calibrations": CertifyCalibrations,
    "collection-chain": CollectionChain,
}
