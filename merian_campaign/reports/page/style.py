"""Colours of the page and its pictures: names in the pictures, values in the page and in files.

A picture names a colour as ``var(--name)``, so that light, dark and print are the style sheet's business;
where there is no style sheet, `in_light` puts the values in.
"""

from __future__ import annotations

import re
from typing import Any, Final

SEQUENCE: Final = tuple(f"q{i}" for i in range(9))
"""From little to all; light to dark on paper, dark to light on a screen at night."""

FAILURES: Final = tuple(f"f{i}" for i in range(5))

LIGHT: Final = {
    "paper": "#ffffff",
    "ground": "#f6f6f3",
    "ink": "#1c2127",
    "soft": "#59626c",
    "faint": "#8b939b",
    "line": "#e2e3de",
    "grid": "#e7e8e4",
    "accent": "#1d5f8a",
    "done": "#2c7f83",
    "stale": "#8c9973",
    "running": "#6aa7e0",
    "ready": "#a3c8e6",
    "waiting": "#d2d5d0",
    "blocked": "#dda63a",
    "needs_review": "#c4402b",
    "cancelled": "#4a3d55",
    "none": "#eceeeb",
    **dict(
        zip(
            SEQUENCE,
            (
                "#edf2ec",
                "#d0e5d6",
                "#aed6c4",
                "#88c4b4",
                "#64b0a8",
                "#47989d",
                "#387f90",
                "#2d6580",
                "#244a6c",
            ),
            strict=True,
        )
    ),
    **dict(zip(FAILURES, ("#eceeeb", "#f6d9b4", "#eeac6d", "#dc7440", "#b23a1e"), strict=True)),
}

DARK: Final = {
    "paper": "#171c22",
    "ground": "#101419",
    "ink": "#e8ebee",
    "soft": "#a3acb5",
    "faint": "#727c86",
    "line": "#2a323b",
    "grid": "#28303a",
    "accent": "#77b5dd",
    "done": "#3f9a93",
    "stale": "#b4dc9a",
    "running": "#86bdf0",
    "ready": "#2f5a82",
    "waiting": "#39434d",
    "blocked": "#e3b04a",
    "needs_review": "#ee6d55",
    "cancelled": "#d8cde2",
    "none": "#222932",
    **dict(
        zip(
            SEQUENCE,
            (
                "#222f38",
                "#22414d",
                "#245661",
                "#2a6c71",
                "#38837d",
                "#4f9a87",
                "#72b092",
                "#9cc6a2",
                "#d0dfbd",
            ),
            strict=True,
        )
    ),
    **dict(zip(FAILURES, ("#222932", "#4d3b2a", "#86532c", "#c46f36", "#f59a5c"), strict=True)),
}

STATES: Final = {
    "done": "done",
    "stale": "done for older data",
    "running": "running",
    "ready": "ready",
    "waiting": "waiting",
    "blocked": "blocked",
    "needs_review": "needs review",
    "cancelled": "cancelled",
}
"""States of groups as they are shown, in the order of legends, in words."""

_NAMED = re.compile(r"var\(--([a-z_]+\d?)\)")

FONT: Final = 'ui-sans-serif, system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'


def colour(name: str) -> str:
    """Return how a picture names a colour."""
    return f"var(--{name})"


def variables(palette: dict[str, str]) -> str:
    """Return a palette as declarations of a style sheet."""
    return "".join(f"--{name}:{value};" for name, value in palette.items())


def in_light(spec: Any) -> Any:  # noqa: ANN401 - any part of a specification
    """Return a specification with the colours of paper in place of their names."""
    match spec:
        case str():
            return _NAMED.sub(lambda found: LIGHT[found[1]], spec)
        case dict():
            return {key: in_light(value) for key, value in spec.items()}
        case list() | tuple():
            return [in_light(value) for value in spec]
    return spec


CONFIG: Final[dict[str, Any]] = {
    "background": None,
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "domainColor": colour("line"),
        "gridColor": colour("grid"),
        "tickColor": colour("line"),
        "labelColor": colour("soft"),
        "titleColor": colour("soft"),
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "labelPadding": 6,
    },
    "legend": {"labelColor": colour("soft"), "titleColor": colour("soft"), "labelFontSize": 11},
    "text": {"color": colour("soft"), "fontSize": 10.5},
    "title": {
        "color": colour("ink"),
        "fontSize": 13,
        "anchor": "start",
        "fontWeight": 600,
        "subtitleColor": colour("soft"),
        "subtitleFontSize": 11,
        "subtitlePadding": 4,
    },
}
