"""What happened to a campaign, in words, and how all campaigns stand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from merian_campaign.domain.record.records import CampaignRow, RecordedEvent
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.reports.cells import line

__all__ = ["campaign_fields", "campaign_json", "campaign_view", "event_json", "event_lines"]

_LONGEST = 2000
_VERBS = {
    "applied": "the file was applied",
    "groups": "groups were added",
    "storm": "paused itself",
    "scheduler": "the scheduler",
    "pause": "paused",
    "resume": "resumed",
    "cancel": "cancelled",
    "accept": "accepted",
    "reject": "rejected",
    "retry": "retried",
    "redo": "redone",
    "hold": "held",
    "release": "released",
    "undo": "the last order was undone",
    "publish": "published",
    "extend": "goes on with what is new",
    "group": "",
    "submission": "",
}
_SAYS_STATE = {"pause", "storm", "cancel"}
"""Verbs that say by themselves what became of it."""


def event_lines(events: Sequence[RecordedEvent]) -> list[str]:
    """Return events as lines, in the order in which they are given."""
    return [one_line(f"{_moment(event.at)}  {_what(event)}", limit=_LONGEST) for event in events]


def _what(event: RecordedEvent) -> str:
    place = "campaign" if event.step is None else f"{event.step}/{event.group}"
    if event.submission is not None:
        place = f"{place} submission {event.submission}"
    became = "" if event.to_state in {None, event.from_state} else str(event.to_state).replace("_", " ")
    verb = _VERBS.get(event.kind, event.kind)
    if event.kind in _SAYS_STATE and event.submission is None:
        became = ""
    words = ", ".join(filter(None, [verb, became])) if event.kind != "scheduler" else f"{verb} {became}"
    # What says who did it does not say so twice.
    reason = event.reason.removesuffix(f" (by {event.actor})").removesuffix(f"by {event.actor}")
    why = f" ({reason})" if reason else ""
    return f"{place}{':' if words else ''} {words}".rstrip() + f"{why} by {event.actor}"


def event_json(events: Sequence[RecordedEvent]) -> list[dict[str, Any]]:
    """Return events for machines."""
    names = ("kind", "actor", "reason", "step", "group", "submission", "from_state", "to_state")
    return [
        {"at": event.at.isoformat(), **{name: getattr(event, name) for name in names}} for event in events
    ]


def campaign_fields(row: CampaignRow) -> tuple[str, ...]:
    """Return how a campaign stands, in words, as fields of one line."""
    last = "no tick yet"
    if row.ticked_at is not None:
        last = f"last tick {_moment(row.ticked_at)}"
        last += " failed" if row.error else ""
    return (
        row.name,
        row.state,
        f"revision {row.revision}",
        f"{row.done} of {row.groups} groups done",
        f"{row.review} need you" if row.review else "nothing for you",
        last,
        f"next: {_next(row)}",
        row.file,
    )


def campaign_view(rows: Sequence[CampaignRow]) -> Table:
    """Return how campaigns stand, for a terminal: beside each name what fits the width, folded at words."""
    table = Table.grid(padding=(0, 2))
    for row in rows:
        name, state, *others = campaign_fields(row)
        table.add_row(line(name, "bold"), line(", ".join([state, *others])))
    return table


def _next(row: CampaignRow) -> str:
    if row.running:
        return f"{row.running} under way"
    if row.state != "active":
        return f"nothing before `resume`{f' ({row.reason})' if row.reason else ''}"
    if row.groups and row.done == row.groups:
        return "nothing, it is done"
    return f"{row.ready} ready" if row.ready else "only a person can move it on"


def campaign_json(row: CampaignRow) -> dict[str, Any]:
    """Return how a campaign stands for machines."""
    ticked = None if row.ticked_at is None else row.ticked_at.isoformat()
    names = ("name", "state", "revision", "file", "reason", "groups", "done", "ready", "running", "review")
    return {name: getattr(row, name) for name in names} | {"last_tick": ticked, "last_error": row.error}


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
