"""Times of day, weekdays, time zones and windows of them, as people write them."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field

from merian_campaign.domain.spec.base import Strict, brief

_CLOCK: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,40}(?:/[A-Za-z0-9_+-]{1,40}){0,2}")


class WeekdayName(StrEnum):
    """A day of the week, in the order of `datetime.datetime.weekday`."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


def _clock(value: object) -> str:
    if isinstance(value, int):
        text = f"found the number {value}: YAML 1.1 reads an unquoted time such as 20:00 as base-60 digits"
        raise ValueError(f'{text}; put it in quotes, e.g. "20:00"')  # noqa: TRY004 - pydantic reports ValueError
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        raise ValueError(f'found {brief(value)}; write a quoted "HH:MM"')
    return value


def _listed(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _weekday(value: object) -> WeekdayName:
    if value not in set(WeekdayName):
        raise ValueError(f"found {brief(value)}; write {', '.join(WeekdayName)}")
    return WeekdayName(str(value))


def _zone(value: str) -> str:
    try:
        if not _ZONE.fullmatch(value):
            raise ZoneInfoNotFoundError(value)
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        raise ValueError(f"found {brief(value)}; this host knows no such time zone") from None
    return value


Weekday = Annotated[WeekdayName, BeforeValidator(_weekday)]
ClockTime = Annotated[str, BeforeValidator(_clock)]
ZoneName = Annotated[str, AfterValidator(_zone)]


class Window(Strict):
    """When submissions may start; what runs goes on after it."""

    begins: Annotated[ClockTime, Field(description='Quoted "HH:MM".')] = "00:00"
    ends: Annotated[ClockTime, Field(description='Quoted "HH:MM"; before begins, it is on the next day.')] = (
        "00:00"
    )
    days: Annotated[
        tuple[Weekday, ...],
        BeforeValidator(_listed),
        Field(min_length=1, description="Days on which it begins; all, without it."),
    ] = tuple(WeekdayName)
    timezone: Annotated[ZoneName, Field(description="Of these times, e.g. Europe/Berlin.")] = "UTC"
