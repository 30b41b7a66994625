"""What a campaign file says of new data: when a night is complete, what is left out, what is made anew."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from merian_campaign.domain.spec.base import MOST_IDS, Strict, brief
from merian_campaign.domain.spec.words import FreePath

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def _clock(value: str) -> str:
    if not _CLOCK.fullmatch(value):
        raise ValueError(f'found {brief(value)}; write a time of day in UTC in quotes, e.g. "12:00"')
    return value


class NightComplete(Strict):
    """When all raws of a night are there: nothing of it is reduced before. All that is given must hold."""

    after: Annotated[
        str | None,
        AfterValidator(lambda value: value if value is None else _clock(value)),
        Field(description='UTC time of the day after the night, e.g. "12:00".'),
    ] = None
    quiet_hours: Annotated[
        float | None,
        Field(gt=0, le=1000, strict=False, description="So long no new raw of the night was seen."),
    ] = None
    marker: Annotated[
        FreePath | None,
        Field(description="A file that is there once it is complete; {night} stands for YYYYMMDD."),
    ] = None

    @model_validator(mode="after")
    def _check(self) -> NightComplete:
        if self.after is None and self.quiet_hours is None and self.marker is None:
            raise ValueError("says nothing; give after, quiet_hours or marker")
        if self.marker is not None and "{night}" not in self.marker:
            raise ValueError("marker: write {night} where YYYYMMDD stands in its name")
        return self

    @property
    def clock(self) -> tuple[int, int] | None:
        """Hour and minute of ``after``."""
        if self.after is None:
            return None
        hour, minute = self.after.split(":")
        return int(hour), int(minute)


class OnNewData(Strict):
    """What becomes of a group whose outputs would change with new data, or by data that were withdrawn.

    The thresholds are for ``redo``: until all of them are met it is only marked.
    """

    action: Annotated[
        Literal["ignore", "mark", "redo"],
        Field(description="ignore: stays done; mark: stays done and is shown as stale; redo: made anew."),
    ]
    min_visits: Annotated[int, Field(ge=1, le=MOST_IDS, description="Exposures that came or went.")] = 1
    min_nights: Annotated[int, Field(ge=1, le=MOST_IDS, description="Nights that they are of.")] = 1
    min_fraction: Annotated[float, Field(ge=0, le=1, strict=False, description="Of all its exposures.")] = 0.0
    not_before: Annotated[
        date | None, Field(strict=False, description="UTC date before which nothing is made anew.")
    ] = None


def _shorthand(value: object) -> object:
    """Accept ``on_new_data: redo`` for ``on_new_data: {action: redo}``."""
    if isinstance(value, str):
        if value not in {"ignore", "mark", "redo"}:
            raise ValueError(f"found {brief(value)}; write ignore, mark, redo, or a mapping with action:")
        return {"action": value}
    return value


NewDataPolicy = Annotated[OnNewData, BeforeValidator(_shorthand)]
