"""Notices to people about a campaign that nobody watches, whom they go to, and how they are written.

What there is to be told is in `due_notices`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, field_validator

from merian_campaign.domain.safe_text.shell import shown
from merian_campaign.domain.safe_text.text import clean, one_line
from merian_campaign.domain.spec.base import Strict

__all__ = [
    "STORM",
    "URGENT",
    "Activity",
    "Channel",
    "Notice",
    "NoticeKind",
    "NoticeOptions",
    "PendingNotice",
    "digest_key",
    "letter",
    "trouble_notice",
]

STORM: Final = "storm: "
"""How the reason of a campaign begins that has paused itself."""

MOST_TOLD: Final = 30
"""Notices that one message lists; of more, their number."""

LONGEST_BODY: Final = 20_000
"""Characters of one message."""


class NoticeKind(StrEnum):
    """What a notice is about."""

    PERSON = "person"
    """A group needs review."""
    STORM = "storm"
    """The campaign paused itself because one failure was everywhere."""
    STALL = "stall"
    """Nothing has moved for hours though something should."""
    TROUBLE = "trouble"
    """A tick failed, or could start nothing: the database, a disk, an environment."""
    COMPLETION = "completion"
    """All groups are done."""
    STALE = "stale"
    """Groups are done for older data than there are now, and stay so."""
    RETURNED = "returned"
    """A failure was seen again that a failure rule calls solved."""
    DIGEST = "digest"
    """What a day brought."""


URGENT: Final = frozenset({NoticeKind.PERSON, NoticeKind.STORM, NoticeKind.STALL, NoticeKind.TROUBLE})
"""Those for which a tick ends with status 1: a person is needed."""


class Channel(Strict):
    """Where notices go, and which."""

    url: Annotated[str, Field(min_length=1, description="Of Apprise, or command:/path/of/a/program.")]
    kinds: Annotated[
        tuple[Annotated[NoticeKind, Field(strict=False)], ...],
        Field(strict=False, description="Which notices; all, without it."),
    ] = tuple(NoticeKind)

    @property
    def key(self) -> str:
        """What it is called where no secret may stand."""
        scheme = self.url.partition(":")[0]
        return f"{one_line(scheme, limit=20)}-{hashlib.sha256(self.url.encode()).hexdigest()[:8]}"


class NoticeOptions(Strict):
    """Whom to tell: ``notices.yaml`` in the home directory, which only its owner may read."""

    channels: Annotated[
        tuple[Channel, ...], Field(strict=False, description="Where notices go, and which.")
    ] = ()
    heartbeat: Annotated[
        str | None,
        Field(description="File to touch, or http(s) URL to get, at every tick that did not fail."),
    ] = None
    stall_hours: Annotated[
        float, Field(gt=0, le=10_000, description="Hours without a change that are a stall.")
    ] = 6
    digest_hour: Annotated[
        int | None,
        Field(ge=0, le=23, description="Hour, UTC, after which the day's digest goes out; none: never."),
    ] = None

    @field_validator("channels", mode="before")
    @classmethod
    def _urls_alone(cls, value: object) -> object:
        """Take a channel that is written as its URL alone."""
        if not isinstance(value, list | tuple):
            return value
        return tuple({"url": entry} if isinstance(entry, str) else entry for entry in value)


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something to be told once.

    Parameters
    ----------
    kind : `NoticeKind`
        What it is about.
    key : `str`
        Another notice of this key says the same.
    subject, body : `str`
        In words.
    """

    kind: NoticeKind
    key: str
    subject: str
    body: str = ""


@dataclass(frozen=True, kw_only=True)
class PendingNotice:
    """A notice as stored, and what became of it by channel: the time it got there, or why not yet."""

    id: int
    campaign: str
    notice: Notice
    created_at: datetime
    delivered: frozenset[str]
    tries: int


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What a campaign did since some moment, and when it last did anything.

    Parameters
    ----------
    moved_at : `datetime.datetime` or `None`
        When anything last changed, UTC.
    ended : `tuple` [`tuple` [`str`, `int`], ...]
        Submissions that ended, by outcome.
    moves : `tuple` [`tuple` [`str`, `int`], ...]
        Groups that changed their state, by the new one.
    attempts : `int`
        Quanta that came to an end.
    failed : `tuple` [`tuple` [`str`, `int`], ...]
        Attempts that failed, by step, task and verdict; the most frequent first.
    retried : `tuple` [`str`, ...]
        Submissions after the first of their group, and what they did differently; newest first.
    core_hours : `float`
        Core-hours of the submissions that ended.
    before : `Activity` or `None`
        The same of the day before.
    ends : `str`
        When all of it is expected to end, in words; empty if nobody can say.
    """

    moved_at: datetime | None
    ended: tuple[tuple[str, int], ...] = ()
    moves: tuple[tuple[str, int], ...] = ()
    attempts: int = 0
    failed: tuple[tuple[str, int], ...] = ()
    retried: tuple[str, ...] = ()
    core_hours: float = 0.0
    before: Activity | None = None
    ends: str = ""

    @property
    def quiet(self) -> bool:
        """Whether nothing happened."""
        return not (self.ended or self.moves or self.attempts)


def digest_key(now: datetime) -> str:
    """Return the key of a day's digest."""
    return f"digest:{now:%Y-%m-%d}"


def trouble_notice(campaign: str, words: str, *, now: datetime) -> Notice:
    """Return what is told of a tick that failed or could start nothing: once a day of the same words."""
    digest = hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()[:16]
    return Notice(
        kind=NoticeKind.TROUBLE,
        key=f"trouble:{now:%Y-%m-%d}:{digest}",
        subject=f"campaign {campaign}: its ticks have trouble",
        body=f"{now:%Y-%m-%d %H:%M} UTC: {clean(words)}\n"
        f"To see it: {shown(('merian-campaign', 'tick', campaign))}",
    )


def letter(notices: Sequence[PendingNotice]) -> tuple[str, str]:
    """Return subject and body of one message about several notices of one campaign or more.

    Each says when it was found: its channel may have been down, and days may look alike.
    """
    first = notices[0].notice
    if len(notices) == 1:
        body = f"{first.body[:LONGEST_BODY]}\n{_when(notices[0])}"
        return one_line(f"merian-campaign: {first.subject}"), body
    subject = f"merian-campaign: {first.subject}, and {len(notices) - 1} more"
    parts = [
        f"* {entry.notice.subject} ({_when(entry)})\n{_indented(entry.notice.body)}"
        for entry in notices[:MOST_TOLD]
    ]
    if len(notices) > MOST_TOLD:
        parts.append(f"and {len(notices) - MOST_TOLD} more; `merian-campaign list`")
    return one_line(subject), "\n".join(parts)[:LONGEST_BODY]


def _when(entry: PendingNotice) -> str:
    return f"{entry.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _indented(body: str) -> str:
    return "\n".join(f"  {line}" for line in body.splitlines())
