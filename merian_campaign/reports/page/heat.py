"""Heat maps: tracts by step, nights by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from merian_campaign.domain.report.lines import GroupLine, TractLine
from merian_campaign.domain.report.numbers import Report
from merian_campaign.reports.page.pictures import Picture, Spec, state_scale, tooltip, values
from merian_campaign.reports.page.style import STATES, colour

_ROW = 24
_GAPS = 120
"""Tracts beyond which gaps between them would be all there is."""

_CHOSEN = "datum.tract == tract"


def pictures(report: Report) -> list[Picture]:
    """Return those of which there is something to show."""
    found = []
    if report.tracts:
        found.append(_tracts(report))
    if report.nights:
        found.append(_nights(report))
    return found


def _tip(line: GroupLine, heading: str) -> str:
    words = [heading, f"{line.step}: {STATES[line.shown]}"]
    if line.expected:
        words.append(f"{line.succeeded:,} of {line.expected:,} quanta".replace(",", "\N{THIN SPACE}"))
    if line.failed or line.blocked:
        words.append(f"{line.failed} failed, {line.blocked} blocked")
    if line.reason and line.shown != "done":
        words.append(line.reason[:160])
    if line.remade is not None:
        words.append(f"being made anew: {line.remade}"[:160])
    return "\n".join(words)


def _ranks(tracts: Sequence[TractLine]) -> Mapping[int, tuple[int, int, int]]:
    """Return the place of each tract by number, by how far it is, and by what has failed."""
    orders = (
        sorted(tracts, key=lambda line: line.tract),
        sorted(tracts, key=lambda line: (-line.reached / max(1, line.steps), -line.succeeded, line.tract)),
        sorted(tracts, key=lambda line: (-(line.failed + line.blocked), line.tract)),
    )
    places = [{line.tract: place for place, line in enumerate(order)} for order in orders]
    return {
        line.tract: (places[0][line.tract], places[1][line.tract], places[2][line.tract]) for line in tracts
    }


def _cells(report: Report) -> list[dict[str, Any]]:
    ranks = _ranks(report.tracts)
    worst = {line.tract: line.shown for line in report.tracts}
    rows = []
    for line in report.groups:
        for tract in line.values if line.dimension == "tract" else ():
            by_number, by_reach, by_failures = ranks[tract]
            rows.append(
                {
                    "tract": tract, "step": line.step, "state": line.shown, "w": worst[tract],
                    "n": by_number, "p": by_reach, "x": by_failures, "tip": _tip(line, f"Tract {tract}"),
                }
            )  # fmt: skip
    return rows


def _tracts(report: Report) -> Picture:
    number = len(report.tracts)
    steps = list(report.tract_steps)
    place = {"calculate": "order == 'p' ? datum.p : order == 'x' ? datum.x : datum.n", "as": "place"}
    spec: Spec = {
        "width": "container",
        "height": _ROW * len(steps),
        "params": [
            {"name": "order", "value": "n"},
            {"name": "only", "value": ""},
            {"name": "tract", "value": 0},
        ],
        "data": values(_cells(report)),
        "transform": [place, {"calculate": "datum.place + 1", "as": "next"}],
        "mark": {
            "type": "rect",
            "cursor": "pointer",
        },
        "encoding": {
            "x": {
                "field": "place",
                "type": "quantitative",
                "scale": {"domain": [0, number], "nice": False},
                "axis": None,
            },
            "x2": {"field": "next"},
            "y": {"field": "step", "type": "nominal", "sort": steps, "title": None, "axis": _PLAIN},
            "color": state_scale(),
            "opacity": {
                "condition": {"test": "only == '' || datum.w == only", "value": 1},
                "value": 0.12,
            },
            "stroke": {"condition": {"test": _CHOSEN, "value": colour("ink")}, "value": colour("paper")},
            "strokeWidth": {
                "condition": {"test": _CHOSEN, "value": 1.5},
                "value": 1 if number <= _GAPS else 0,
            },
            "tooltip": tooltip(),
        },
    }
    words = f"{number} tracts by {len(steps)} steps, coloured by the state of their groups."
    return Picture(
        name="tracts",
        title=f"{report.headline.campaign}: tracts by step",
        words=words,
        spec=spec,
        legend="states",
    )


_PLAIN: Mapping[str, Any] = {"domain": False, "ticks": False, "labelLimit": 140}


def _nights(report: Report) -> Picture:
    lines = report.nights
    steps = list(dict.fromkeys(line.step for line in lines))
    states: dict[int, set[str]] = {}
    for line in lines:
        for night in line.values:
            states.setdefault(night, set()).add(line.shown)
    rows = [
        {
            "night": str(night), "step": line.step, "state": line.shown,
            "any": " ".join(sorted(states[night])), "tip": _tip(line, f"Night {night}"),
        }
        for line in lines
        for night in line.values
    ]  # fmt: skip
    nights = sorted({row["night"] for row in rows})
    spec: Spec = {
        "width": "container",
        "height": _ROW * len(steps),
        "params": [{"name": "night", "value": ""}],
        "data": values(rows),
        "mark": {"type": "rect", "stroke": colour("paper"), "strokeWidth": 1},
        "encoding": {
            "x": {
                "field": "night",
                "type": "ordinal",
                "sort": nights,
                "title": None,
                "axis": {**_PLAIN, "labelAngle": 0, "labelOverlap": True, "labelFlush": True},
            },
            "y": {"field": "step", "type": "nominal", "sort": steps, "title": None, "axis": _PLAIN},
            "color": state_scale(),
            "opacity": {
                "condition": {"test": "night == '' || indexof(datum.any, night) >= 0", "value": 1},
                "value": 0.12,
            },
            "tooltip": tooltip(),
        },
    }
    words = f"{len(nights)} nights by {len(steps)} steps, coloured by the state of their groups."
    return Picture(
        name="nights",
        title=f"{report.headline.campaign}: nights by step",
        words=words,
        spec=spec,
        legend="states",
    )
