"""Submissions on a time line: a bar each, in the lane of its step, with its afterburners and remedies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from merian_campaign.domain.report.lines import SubmissionLine
from merian_campaign.domain.report.numbers import Report
from merian_campaign.reports.page.pictures import Picture, Spec, milliseconds, scale, tooltip, utc, values
from merian_campaign.reports.page.style import colour

_LANE, _HIGHEST_LANE = 34, 54
"""Pixels of a lane, and how many it has at most where many submissions overlap."""

_EACH: Final = 2
"""Pixels for each of these, as far as the lane may grow."""

_OUTLINED: Final = 3.0
"""Pixels that a bar has at least which gets an outline: of lower ones there would be nothing else."""

_MOST_SUBMISSIONS: Final = 5000
"""The latest ones are drawn; the tables have all."""

_OUTCOMES: Final = {
    "succeeded": "done",
    "partial": "blocked",
    "empty": "ready",
    "failed": "needs_review",
    "lost": "cancelled",
    "cancelled": "cancelled",
    "running": "running",
}
_SHORTEST: Final = timedelta(seconds=1)


def submission_bars(report: Report, *, axis: Spec) -> Picture:
    """Return the picture; ``axis`` is that of its time."""
    listed = sorted(report.submissions, key=lambda line: line.created_at)[-_MOST_SUBMISSIONS:]
    order = list(dict.fromkeys(line.step for line in report.submissions))
    since = min(line.created_at for line in listed).replace(microsecond=0)
    rows: list[dict[str, Any]] = []
    most = 1
    for lane, step in enumerate(order):
        lines = [line for line in listed if line.step == step]
        bars, overlapping = _lane(lines, lane=lane, since=since, now=report.headline.at)
        rows += bars
        most = max(most, overlapping)
    high = min(_HIGHEST_LANE, max(_LANE, _EACH * most))
    for row in rows:
        if row["n"] > 1 and high * (row["z"] - row["y"]) >= _OUTLINED:
            row["outlined"] = 1
    there = {row["what"] for row in rows}
    shown = [(name, name_of) for name, name_of in _OUTCOMES.items() if name in there]
    y: Spec = {
        "field": "y", "type": "quantitative", "title": None,
        "scale": {"domain": [0, len(order)], "reverse": True, "nice": False},
        "axis": {
            "values": [i + 0.5 for i in range(len(order))], "labelExpr": "lanes[floor(datum.value)]",
            "domain": False, "ticks": False, "grid": False,
        },
    }  # fmt: skip
    spec: Spec = {
        "width": "container",
        "height": max(90, high * len(order)),
        "params": [{"name": "lanes", "value": order}, {"name": "tract", "value": 0}],
        "data": values(rows),
        "transform": _told_in_full(since),
        "mark": {"type": "rect", "cursor": "pointer"},
        "encoding": {
            "x": utc("t", axis=axis),
            "x2": {"field": "u"},
            "y": y,
            "y2": {"field": "z"},
            "color": {
                "field": "what", "type": "nominal",
                "scale": scale(shown),
                "legend": {"orient": "top", "title": None, "symbolType": "square"},
            },
            "opacity": {"condition": {"test": "tract == 0 || datum.tract == tract", "value": 1},
                        "value": 0.12},
            "stroke": {"condition": {"test": "datum.outlined", "value": colour("ink")}, "value": None},
            "strokeWidth": {"value": 0.8},
            "tooltip": tooltip(),
        },
    }  # fmt: skip
    words = f"{len(rows)} submissions by step and time; afterburners have an outline."
    return Picture(
        name="submissions", title=f"{report.headline.campaign}: submissions", words=words, spec=spec,
        marks="Outlined where bars are high enough: afterburners",
    )  # fmt: skip


def _told_in_full(since: datetime) -> list[Spec]:
    """Return what makes times and words of short rows: there are thousands of submissions."""
    clock = "utcFormat(datum.{}, '%Y-%m-%d %H:%M')"
    end = f"(datum.live ? 'now' : {clock.format('u')})"
    tip = (
        "datum.who + (datum.n > 1 ? ', afterburner ' : ', submission ') + datum.n + ': ' + "
        f"(datum.live || datum.what) + '\\n' + {clock.format('t')} + ' to ' + {end} + ' UTC' + "
        "(datum.remedy ? '\\nremedy: ' + datum.remedy : '')"
    )
    begin = milliseconds(since)
    return [
        {"calculate": f"{begin} + 1000 * datum.s", "as": "t"},
        {"calculate": f"{begin} + 1000 * datum.e", "as": "u"},
        {"calculate": tip, "as": "tip"},
    ]


def _lane(
    lines: Sequence[SubmissionLine], *, lane: int, since: datetime, now: datetime
) -> tuple[list[dict[str, Any]], int]:
    """Return the submissions of a step as bars, those that overlap in time below each other, and how many do.

    Their begin and end (``s``, ``e``) are seconds after a moment; see `_told_in_full`.
    """
    ends: list[datetime] = []
    placed = []
    for line in lines:
        begin = line.claimed_at or line.created_at
        end = max(line.finished_at or now, begin + _SHORTEST)
        row = next((i for i, over in enumerate(ends) if over <= begin), len(ends))
        ends[row:] = [end, *ends[row + 1 :]]
        placed.append((line, begin, end, row))
    each = 0.84 / max(1, len(ends))
    bars: list[dict[str, Any]] = [
        {
            "s": int((begin - since).total_seconds()), "e": int((end - since).total_seconds()),
            "tract": line.tract or -1, "n": line.number, "what": line.outcome or "running",
            "y": round(lane + 0.08 + each * row, 4), "z": round(lane + 0.08 + each * (row + 0.9), 4),
            "who": f"{line.step}/{line.group}",
            **({} if line.finished_at else {"live": line.state}),
            **({"remedy": line.remedy[:120]} if line.remedy else {}),
        }
        for line, begin, end, row in placed
    ]  # fmt: skip
    return bars, len(ends)
