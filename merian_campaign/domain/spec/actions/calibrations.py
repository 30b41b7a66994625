"""Actions on collections: calibrations get a validity range, chains are defined."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from merian_campaign.domain.spec.actions.base import Action, Collection, Command
from merian_campaign.domain.spec.base import brief
from merian_campaign.domain.spec.words import CollectionList, DatasetTypeName

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(text: str) -> int:
    """Return an ISO time in nanoseconds since 1970 of the same time scale."""
    since = datetime.fromisoformat(text).replace(tzinfo=UTC) - _EPOCH
    return since // timedelta(microseconds=1) * 1000


class CertifyCalibrations(Action):
    """``butler certify-calibrations``: give calibrations a validity range in a CALIBRATION collection."""

    NAME: ClassVar[str] = "certify-calibrations"

    input: Annotated[Collection, Field(description="Collection that holds the calibrations.")]
    output: Annotated[Collection, Field(description="CALIBRATION collection to certify into.")]
    dataset_type: Annotated[DatasetTypeName, Field(description="e.g. bias, flat.")]
    begin: Annotated[str, Field(description="Begin of validity, ISO 8601 in TAI, e.g. 2021-01-01T00:00:00.")]
    end: Annotated[str, Field(description="End of validity, ISO 8601 in TAI.")]

    @field_validator("begin", "end", mode="before")
    @classmethod
    def _iso(cls, value: object) -> str:
        if isinstance(value, datetime):
            value = value.isoformat()
        if not isinstance(value, str):
            raise ValueError(f"found {brief(value)}; write an ISO time in quotes")  # noqa: TRY004
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"found {brief(value)}; write an ISO time, e.g. 2021-01-01T00:00:00") from None
        return value

    def commands(self, *, repository: str) -> tuple[Command, ...]:
        """Return the command line; afterburners leave calibrations in several RUNs, so all are searched."""
        return (
            (
                "butler", "certify-calibrations", repository, self.input, self.output, self.dataset_type,
                "--begin-date", self.begin, "--end-date", self.end, "--search-all-inputs",
            ),
        )  # fmt: skip


class CollectionChain(Action):
    """``butler collection-chain``: define a CHAINED collection."""

    NAME: ClassVar[str] = "collection-chain"

    parent: Annotated[Collection, Field(description="The chain to define.")]
    children: Annotated[
        CollectionList, Field(min_length=1, description="What it shows, searched in this order.")
    ]

    def commands(self, *, repository: str) -> tuple[Command, ...]:
        """Return the command line."""
        return (("butler", "collection-chain", repository, self.parent, ",".join(self.children)),)
