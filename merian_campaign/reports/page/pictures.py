"""What a picture is: a Vega-Lite specification with a name, and its variants for page and file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from merian_campaign.reports.page.style import CONFIG, STATES, colour

type Spec = dict[str, Any]

SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
FILE_WIDTH: Final = 960
"""Of a picture in a file, in pixels of a screen."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of the report.

    Parameters
    ----------
    name : `str`
        Of its file, and of its place on the page.
    title, words : `str`
        What it shows, for those who look and for those who cannot.
    spec : `dict`
        Vega-Lite, as wide as its container.
    share : `float`
        How much of a row it takes, against others of its section.
    legend : `str`
        Where its colours are explained: ``states`` or ``shades`` on the page, empty for in itself.
    marks : `str`
        What its marks mean, which the page says beside it.
    """

    name: str
    title: str
    words: str
    spec: Spec
    share: float = 1.0
    legend: str = ""
    marks: str = ""

    def on_page(self) -> Spec:
        """Return the specification for the page, whose style sheet has the colours."""
        return {
            "$schema": SCHEMA,
            "config": CONFIG,
            "autosize": {"type": "fit-x", "contains": "padding"},
        } | self.spec

    def in_file(self) -> Spec:
        """Return the specification for a file: with a title, and a width."""
        return self.on_page() | {
            "width": FILE_WIDTH,
            "title": {"text": self.title, **({"subtitle": self.marks} if self.marks else {})},
            "background": colour("paper"),
            "padding": 16,
        }


def state_scale(*, legend: bool = False) -> Spec:
    """Return the colours of the states of groups."""
    shown = {"orient": "top", "title": None, "symbolType": "square"} if legend else None
    return {
        "field": "state",
        "type": "nominal",
        "scale": {"domain": [*STATES], "range": [colour(name) for name in STATES]},
        "legend": shown,
    }


def scale(shown: Sequence[tuple[str, str]]) -> Spec:
    """Return a scale from words to names of colours."""
    return {"domain": [words for words, _ in shown], "range": [colour(name) for _, name in shown]}


def milliseconds(when: datetime) -> int:
    """Return a time as Vega takes it."""
    return round(when.timestamp() * 1000)


def utc(field: str, **more: Any) -> Spec:  # noqa: ANN401 - any part of a specification
    """Return an axis of time, UTC."""
    return {"field": field, "type": "temporal", "scale": {"type": "utc"}, "title": None} | more


def values(rows: Sequence[Mapping[str, Any]]) -> Spec:
    """Return rows as inline data."""
    return {"values": list(rows)}


def tooltip(field: str = "tip") -> Spec:
    """Return an encoding whose words the page shows beside the pointer."""
    return {"field": field, "type": "nominal"}
