"""The page: one self-contained file that asks nobody for anything.

Text from outside goes through the template's escaping; what scripts read is JSON, which they show as text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from merian_campaign.domain.report.lines import TractLine
from merian_campaign.domain.report.numbers import Report
from merian_campaign.domain.report.outlook import span_words
from merian_campaign.domain.safe_text.shell import shown
from merian_campaign.domain.safe_text.text import clean
from merian_campaign.reports.causes import behind_words, evidence_words
from merian_campaign.reports.page import charts, heat, sky, words
from merian_campaign.reports.page.pictures import Picture, Spec
from merian_campaign.reports.page.style import DARK, FONT, LIGHT, STATES, variables

if TYPE_CHECKING:
    from jinja2 import Environment

VEGA_LITE: Final = "6.1"
_SNIPPET: Final = "window.vegaEmbed = vegaEmbed;"
_PRINTED: Final = 60
"""Tracts in the table on paper."""


@dataclass(frozen=True, kw_only=True)
class PageText:
    """What the page says besides the report.

    Parameters
    ----------
    version : `str`
        Of the program.
    no_sky : `str`
        Why there is no sky, where there is none.
    logs : `~collections.abc.Mapping` [`int`, `str`]
        Last lines of logs, by number of the quantum.
    """

    version: str
    no_sky: str = ""
    logs: Mapping[int, str]


def need() -> None:
    """See that what draws is there.

    Raises
    ------
    ModuleNotFoundError
        Raised if Jinja2 or vl-convert-python is not there.
    """
    import jinja2  # noqa: F401, PLC0415
    import vl_convert  # noqa: F401, PLC0415


def prepare() -> None:
    """Have what takes long and needs no report ready; it may be called beside reading one."""
    _environment()
    _runtime()


def pictures(report: Report) -> list[Picture]:
    """Return all pictures of a report."""
    return [*sky.pictures(report), *heat.pictures(report), *charts.pictures(report)]


def page(report: Report, text: PageText) -> str:
    """Return the page.

    Raises
    ------
    ModuleNotFoundError
        Raised if Jinja2 or vl-convert-python is not there.
    """
    from markupsafe import Markup  # noqa: PLC0415 - of an extra, as all below

    made = pictures(report)
    specs = {one.name: compiled(one.on_page()) for one in made}
    return _environment().get_template("page.html.j2").render(
        report=report,
        head=report.headline,
        data=Markup(_json(_data(report, specs))),  # noqa: S704 - `_json` leaves no markup in it
        css=Markup(_shipped("page.css")),  # noqa: S704 - ours
        js=Markup(_shipped("page.js")),  # noqa: S704 - ours
        vega=Markup(_runtime()),  # noqa: S704 - vl-convert's
        light=Markup(variables(LIGHT)),  # noqa: S704 - ours
        dark=Markup(variables(DARK)),  # noqa: S704 - ours
        font=Markup(FONT),  # noqa: S704 - ours
        **_context(report, text, made),
    )  # fmt: skip


def compiled(spec: Spec) -> Spec:
    """Return a specification as Vega runs it."""
    import vl_convert  # noqa: PLC0415

    made: Spec = vl_convert.vegalite_to_vega(spec, vl_version=VEGA_LITE)
    for mark in made["marks"]:
        # What says nothing does not stand between the pointer and what does: names, graticules, visits.
        said = mark.get("encode", {}).get("update", {}).get("tooltip")
        if mark["type"] != "group" and said in (None, {"value": None}):
            mark["interactive"] = False
    return made


@cache
def _runtime() -> str:
    import vl_convert  # noqa: PLC0415

    bundle: str = vl_convert.javascript_bundle(_SNIPPET, vl_version=VEGA_LITE)
    return bundle.replace("</script", "<\\/script")


def _shipped(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _json(value: object) -> str:
    """Return JSON that can stand in a page: no character of it begins markup."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, default=str)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    made = Environment(
        loader=PackageLoader("merian_campaign.reports.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    made.filters |= {
        "n": words.number,
        "short": words.short,
        "percent": words.percent,
        "when": words.when,
        "ago": words.ago,
        "hours": words.hours,
        "rate": words.rate,
        "f": words.fixed,
        "words": lambda text: str(text).replace("_", " "),
        "changes": words.changes,
        "behind": behind_words,
        "evidence": evidence_words,
    }
    return made


def _context(report: Report, text: PageText, made: Sequence[Picture]) -> dict[str, Any]:
    head = report.headline
    moved = Counter(STATES.get(line.to_state, line.to_state) for line in report.changes)
    lost = sum(line.lost for line in report.blocks)
    hours = sum(line.lost_hours for line in report.blocks)
    by_name = {one.name: one for one in made}
    most = max((line.steps for line in report.tracts), default=0)
    return {
        "states": STATES,
        "map_states": {line.shown for line in report.groups if line.dimension == "tract"},
        "night_states": {line.shown for line in report.nights},
        "tract_states": {line.shown for line in report.tracts},
        "pictures": by_name,
        "skies": [one for one in made if one.name.startswith("sky-")],
        "reached": [(_steps(report, i), sky.reached_shade(i, most)) for i in range(most + 1)],
        "complete": list(zip(sky.COMPLETE_WORDS, sky.COMPLETE_SHADES, strict=True)),
        "failures": [(name, f"f{i}") for i, name in enumerate(sky.FAILED_WORDS)],
        "has_visits": bool(sky.visits_shown(report)),
        "no_sky": text.no_sky,
        "printed": _printed(report),
        "asking": sorted(
            (line for line in report.groups if line.state == "needs_review"),
            key=lambda line: -line.failed - line.blocked,
        ),
        "changed": moved.most_common(),
        "quiet_steps": [
            line.step
            for line in report.steps
            if line.groups and line.done == line.groups and not line.expected
        ],
        "lost": f"{lost} blocks were lost with their node or preempted, after {hours:,.1f} hours."
        if lost
        else "",
        "eta": span_words(head.at, head.eta_low, head.eta_high) or "—",
        "logs": {number: clean(log) for number, log in text.logs.items()},
        "version": text.version,
        "sections": _sections(report, by_name),
        "command": lambda *arguments: shown(("merian-campaign", arguments[0], head.campaign, *arguments[1:])),
    }


def _printed(report: Report) -> set[int]:
    """Return the tracts whose lines are printed: where there are many, those that miss most."""

    def rank(line: TractLine) -> tuple[bool, bool, int, int]:
        return (
            line.releasable and not line.stale,
            line.state != "needs_review",
            -line.failed - line.blocked,
            line.tract,
        )

    return {line.tract for line in sorted(report.tracts, key=rank)[:_PRINTED]}


def _steps(report: Report, number: int) -> str:
    """Return in words how far a tract is that has done so many steps."""
    names = report.tract_steps
    return "nothing yet" if not number else names[number - 1] if number <= len(names) else f"{number} steps"


def _sections(report: Report, made: Mapping[str, Picture]) -> list[tuple[str, str]]:
    there = (
        (any(line.state == "needs_review" for line in report.groups), "you", "Needs you"),
        (bool(report.tracts), "sky", "Sky"),
        (bool(report.tracts), "tracts", "Tracts"),
        ("nights" in made, "nights", "Nights"),
        ("progress" in made, "progress", "Progress"),
        (True, "steps", "Steps"),
        (True, "failures", "Failures"),
        (bool(report.usage), "resources", "Memory and time"),
        ("submissions" in made, "submissions", "Submissions"),
        (True, "provenance", "Provenance"),
    )
    return [(anchor, name) for shown_, anchor, name in there if shown_]


def _data(report: Report, specs: Mapping[str, Spec]) -> dict[str, Any]:
    lines: dict[int, list[list[str | int]]] = {line.tract: [] for line in report.tracts}
    for line in report.completeness:
        if line.tract in lines:
            lines[line.tract].append(
                [line.step, line.band, line.expected, line.succeeded, line.caveats, line.failed, line.blocked,
                 line.open, line.accepted]
            )  # fmt: skip
    return {
        "pictures": specs,
        "bands": sky.bands_of(report),
        "tracts": {
            line.tract: {
                "words": f"{STATES[line.shown]}, {line.reached} of {line.steps} steps done",
                "reason": line.why,
                "lines": lines[line.tract],
            }
            for line in report.tracts
        },
    }
