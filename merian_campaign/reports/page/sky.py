"""The sky: tracts as polygons in equatorial coordinates, right ascension to the left, a panel a field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from merian_campaign.domain.report.lines import CompletenessLine, TractLine
from merian_campaign.domain.report.numbers import Report
from merian_campaign.domain.sky_regions import RegionKind, SkyRegion
from merian_campaign.reports.page import geometry
from merian_campaign.reports.page.pictures import Picture, Spec, tooltip, values
from merian_campaign.reports.page.style import FAILURES, SEQUENCE, STATES, colour

_SHADES: Final = ("none", *SEQUENCE, *FAILURES)
_COMPLETE: Final = ((1.0, 8), (0.99, 6), (0.95, 5), (0.9, 4), (0.75, 3), (0.5, 2), (0.0, 1))
_FAILED: Final = ((100, 4), (10, 3), (3, 2), (1, 1), (0, 0))
_MOST_VISITS: Final = 1200
"""More would make the page heavy, and cover the sky anyway."""
_TALLEST, _LOWEST = 420, 150
_WHOLE_ROW: Final = 4.0
"""Width by height from which on a panel has a row of its own."""

_RINGED: Final = "Tracts by the step up to which they are done; outlined in red: needs review"

COMPLETE_WORDS: Final = ("nothing yet", "below 50%", "50%", "75%", "90%", "95%", "99%", "all")
FAILED_WORDS: Final = ("none", "1\N{EN DASH}2", "3\N{EN DASH}9", "10\N{EN DASH}99", "100 and more")
COMPLETE_SHADES: Final = ("q0", "q1", "q2", "q3", "q4", "q5", "q6", "q8")


def complete_shade(fraction: float) -> str:
    """Return the colour of a completeness."""
    if fraction <= 0:
        return "q0"
    return f"q{next(shade for limit, shade in _COMPLETE if fraction >= limit)}"


def failed_shade(number: int) -> str:
    """Return the colour of a number of failed and blocked quanta."""
    return f"f{next(shade for limit, shade in _FAILED if number >= limit)}"


def reached_shade(reached: int, steps: int) -> str:
    """Return the colour of a number of steps."""
    return f"q{round(8 * reached / steps)}" if steps else "none"


def bands_of(report: Report) -> dict[str, list[str]]:
    """Return the bands of each step that goes by tract; the empty one stands for all together."""
    found: dict[str, list[str]] = {step: [""] for step in report.tract_steps}
    for line in report.completeness:
        if line.step in found and line.band and line.band not in found[line.step]:
            found[line.step].append(line.band)
    return found


def pictures(report: Report) -> list[Picture]:
    """Return a panel a field, and one of the whole sky where there are several."""
    tracts = {line.tract: line for line in report.tracts}
    regions = [
        region for region in report.regions if region.kind == RegionKind.TRACT and region.number in tracts
    ]
    if not regions:
        return []
    visits = visits_shown(report)
    shades = _shades_of(report)
    found = geometry.fields(regions)
    panels = [
        _panel(report, field, number, tracts=tracts, shades=shades, visits=visits)
        for number, field in enumerate(found, 1)
    ]
    if len(found) > 1:
        panels.append(_all_sky(report, regions, tracts=tracts, shades=shades))
    return panels


def visits_shown(report: Report) -> list[SkyRegion]:
    """Return the visits that are drawn: all, or none where there are too many."""
    visits = [region for region in report.regions if region.kind == RegionKind.VISIT]
    return visits if len(visits) <= _MOST_VISITS else []


def _shades_of(report: Report) -> Mapping[int, Mapping[str, str]]:
    """Return the colours of each tract by ``step|band``."""
    sums: dict[tuple[int, str], list[CompletenessLine]] = defaultdict(list)
    for line in report.completeness:
        for band in {"", line.band}:
            sums[line.tract, f"{line.step}|{band}"].append(line)
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for (tract, key), lines in sums.items():
        expected = sum(line.expected for line in lines)
        good = sum(line.succeeded + line.accepted for line in lines)
        found[tract][key] = complete_shade(good / expected if expected else 0.0)
    return found


def _features(
    regions: Sequence[SkyRegion], tracts: Mapping[int, TractLine], shades: Mapping[int, Mapping[str, str]]
) -> list[dict[str, Any]]:
    found = []
    for region in regions:
        line = tracts[region.number]
        ra, dec = geometry.centre(region)
        found.append(
            {
                "type": "Feature",
                "geometry": geometry.polygon(region),
                "tract": region.number,
                "lon": round((ra + 180) % 360 - 180, 4),
                "lat": round(dec, 4),
                "state": line.state,
                "r": reached_shade(line.reached, line.steps),
                "f": failed_shade(line.failed + line.blocked),
                "c": shades.get(region.number, {}),
                "tip": _tip(line, ra, dec),
            }
        )
    return found


def _tip(line: TractLine, ra: float, dec: float) -> str:
    words = [
        f"Tract {line.tract}",
        f"{geometry.hours(ra)} ({ra:.2f}°)  {dec:+.2f}°",
        f"{STATES[line.shown]}; {line.reached} of {line.steps} steps"
        + (f", up to {line.reached_step}" if line.reached_step else ""),
    ]
    if line.expected:
        words.append(f"{line.succeeded:,} of {line.expected:,} quanta".replace(",", "\N{THIN SPACE}"))
    if line.failed or line.blocked:
        words.append(f"{line.failed} failed, {line.blocked} blocked")
    if line.visits:
        words.append(f"{line.visits} visits")
    return "\n".join(words)


_PARAMS: Final = (
    {"name": "mode", "value": "reached"},
    {"name": "key", "value": ""},
    {"name": "unit", "value": "h"},
    {"name": "tract", "value": 0},
    {"name": "visits", "value": False},
)
"""What the page may change."""


def _layers(features: Sequence[Spec], *, thin: float) -> list[Spec]:
    shade = "mode == 'reached' ? datum.r : mode == 'failures' ? datum.f : (datum.c[key] || 'none')"
    return [
        {
            "data": values(features),
            "layer": [
                {
                    "transform": [{"calculate": shade, "as": "shade"}],
                    "mark": {"type": "geoshape", "cursor": "pointer"},
                    "encoding": {
                        "color": {
                            "field": "shade",
                            "type": "nominal",
                            "scale": {"domain": [*_SHADES], "range": [colour(name) for name in _SHADES]},
                            "legend": None,
                        },
                        "stroke": {"value": colour("paper")},
                        "strokeWidth": {"value": thin},
                        "tooltip": tooltip(),
                    },
                },
                # Above all of them: neighbours, which overlap, do not cover them.
                _outline("datum.state == 'needs_review'", name="needs_review", thick=2 * thin),
                _outline("datum.tract == tract", name="ink", thick=2.5),
            ],
        },
    ]


def _outline(test: str, *, name: str, thick: float) -> Spec:
    """Return the outlines of some tracts."""
    mark = {"type": "geoshape", "filled": False, "stroke": colour(name), "strokeWidth": thick}
    return {"transform": [{"filter": test}], "mark": mark | {"tooltip": None}}


def _grid(lines: Sequence[Spec]) -> Spec:
    return {
        "data": values(lines),
        "mark": {"type": "geoshape", "filled": False, "stroke": colour("line"), "strokeWidth": 1},
    }


def _labels(rows: Sequence[Spec], *, scale: str = "0") -> list[Spec]:
    """Return the labels of a graticule; where parallels lie closer than letters are high, fewer have one.

    ``scale`` is an expression for pixels by radian.
    """
    apart = f"{scale} * datum.step * PI / 180"
    left_out = f"datum.k == 'dec' && datum.i % ({apart} < 7 ? 4 : {apart} < 14 ? 2 : 1) != 0"
    words = {"calculate": f"{left_out} ? '' : unit == 'd' ? datum.d : datum.h", "as": "words"}
    place = {
        "longitude": {"field": "lon", "type": "quantitative"},
        "latitude": {"field": "lat", "type": "quantitative"},
        "text": {"field": "words"},
    }
    kinds = (
        ("ra", {"dy": 11, "align": "center"}),
        ("dec", {"dx": -5, "align": "right"}),
    )
    return [
        {
            "data": values([row for row in rows if row["k"] == kind]),
            "transform": [words],
            "mark": {"type": "text", "baseline": "middle", "fontSize": 10, **more},
            "encoding": place,
        }
        for kind, more in kinds
        if any(row["k"] == kind for row in rows)
    ]


def _panel(
    report: Report,
    field: geometry.Field,
    number: int,
    *,
    tracts: Mapping[int, TractLine],
    shades: Mapping[int, Mapping[str, str]],
    visits: Sequence[SkyRegion],
) -> Picture:
    wide, high = field.size
    lines, labels = geometry.graticule(field)
    across = 1120 if wide / high > _WHOLE_ROW else 560
    scale = f"min((width - 56) / {wide:.6f}, (height - 26) / {high:.6f})"
    height = min(_TALLEST, max(_LOWEST, round(across * high / wide) + 40))
    features = _features(field.tracts, tracts, shades)
    where = f"{geometry.hours(field.ra)} {field.dec:+.0f}°"
    spec: Spec = {
        "width": "container",
        "height": height,
        "usermeta": {"shape": round(high / wide, 5)},
        "params": list(_PARAMS),
        "projection": {
            "type": field.projection,
            "rotate": field.rotation,
            "reflectX": True,
            "scale": {"expr": scale},
            "translate": {"expr": "[width / 2 + 14, height / 2 - 8]"},
        },
        "layer": [
            _grid(lines),
            *_layers(features, thin=0.8),
            *_outlines([region for region in visits if _inside(field, geometry.centre(region))]),
            *_labels(labels, scale=scale),
            *_names(features),
        ],
    }
    title = f"{report.headline.campaign}: the sky around {where}"
    words = f"Map of {len(features)} tracts around {where}; the table of the tracts says the same in numbers."
    return Picture(
        name=f"sky-{number}",
        title=title,
        words=words,
        spec=spec,
        share=max(wide / high, 1.0),
        legend="shades",
        marks=_RINGED,
    )


def _outlines(visits: Sequence[SkyRegion]) -> list[Spec]:
    """Return the layer of visits, drawn where the page asks for them."""
    outlines = {
        "data": values([{"type": "Feature", "geometry": geometry.polygon(visit)} for visit in visits]),
        "mark": {
            "type": "geoshape",
            "filled": False,
            "stroke": colour("ink"),
            "strokeWidth": 0.8,
            "opacity": {"expr": "visits ? 0.35 : 0"},
        },
    }
    return [outlines] if visits else []


def _names(features: Sequence[Mapping[str, Any]]) -> list[Spec]:
    """Return the layer of the names of tracts, which are no place to point at; none for a tract alone."""
    names = {
        "data": values([{name: row[name] for name in ("lon", "lat", "tract")} for row in features]),
        "mark": {"type": "text", "fontSize": 10, "fontWeight": 600, "color": colour("ink"), "tooltip": None},
        "encoding": {
            "longitude": {"field": "lon", "type": "quantitative"},
            "latitude": {"field": "lat", "type": "quantitative"},
            "text": {"field": "tract"},
            "opacity": {"condition": {"test": "datum.tract == tract", "value": 1}, "value": 0},
        },
    }
    return [names] if len(features) > 1 else []


def _inside(field: geometry.Field, place: geometry.Point) -> bool:
    ra, dec = place
    return abs((ra - field.ra + 180) % 360 - 180) <= field.half_ra and abs(dec - field.dec) <= field.half_dec


def _all_sky(
    report: Report,
    regions: Sequence[SkyRegion],
    *,
    tracts: Mapping[int, TractLine],
    shades: Mapping[int, Mapping[str, str]],
) -> Picture:
    lines, labels = geometry.whole_sky()
    middle, _ = geometry.middle_of_circle([a for region in regions for a in region.ra])
    wide, high = geometry.MOLLWEIDE
    spec: Spec = {
        "width": "container",
        "height": 190,
        "usermeta": {"shape": 0.5},
        "params": list(_PARAMS),
        "projection": {
            "type": "mollweide",
            "rotate": [round(-middle if middle <= 180 else 360 - middle, 4), 0, 0],  # noqa: PLR2004 - half a turn
            "reflectX": True,
            "scale": {"expr": f"min((width - 8) / {wide:.6f}, (height - 8) / {high:.6f})"},
            "translate": {"expr": "[width / 2, height / 2]"},
        },
        "layer": [
            {
                "data": {"sphere": True},
                "mark": {"type": "geoshape", "fill": colour("ground"), "stroke": colour("line")},
            },
            _grid(lines),
            *_layers(_features(regions, tracts, shades), thin=0.3),
            *_labels(labels),
        ],
    }
    return Picture(
        name="sky-all",
        title=f"{report.headline.campaign}: the whole sky",
        words=f"Map of the whole sky with {len(regions)} tracts; its centre is at {geometry.hours(middle)}.",
        spec=spec,
        share=1.6,
        legend="shades",
        marks=_RINGED,
    )
