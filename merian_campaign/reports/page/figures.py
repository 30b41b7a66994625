"""Pictures as files, for a talk or a paper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from merian_campaign.domain.report.numbers import Report
from merian_campaign.reports.page.html import VEGA_LITE, pictures
from merian_campaign.reports.page.pictures import Picture, Spec
from merian_campaign.reports.page.sky import reached_shade
from merian_campaign.reports.page.style import STATES, in_light

_PIXELS_PER_POINT: Final = 2.0


def figures(report: Report) -> Iterator[tuple[str, bytes]]:
    """Yield each picture as PNG, SVG and PDF, with the name of its file.

    Raises
    ------
    ModuleNotFoundError
        Raised if vl-convert-python is not there.
    """
    import vl_convert  # noqa: PLC0415 - of an extra

    for one in pictures(report):
        spec = in_light(_explained(one, report))
        how: dict[str, Any] = {"vl_spec": spec, "vl_version": VEGA_LITE}
        yield f"{one.name}.png", vl_convert.vegalite_to_png(**how, scale=_PIXELS_PER_POINT)
        yield f"{one.name}.svg", vl_convert.vegalite_to_svg(**how).encode()
        yield f"{one.name}.pdf", vl_convert.vegalite_to_pdf(**how)


def _explained(one: Picture, report: Report) -> Spec:
    """Return a picture with the legend that the page has beside it."""
    spec = one.in_file()
    match one.legend:
        case "states":
            lines = report.nights if one.name == "nights" else report.groups
            shown = [name for name in STATES if any(line.shown == name for line in lines)]
            _legend(spec, {name: STATES[name] for name in shown})
        case "shades":
            _legend(spec, _steps(report))
    return spec


def _steps(report: Report) -> dict[str, str]:
    """Return the colours of the sky that are taken, and what each says."""
    most = max((line.steps for line in report.tracts), default=0)
    names = ("nothing yet", *report.tract_steps)
    return {reached_shade(i, most): names[min(i, len(names) - 1)] for i in range(most + 1)}


def _legend(spec: Spec, entries: dict[str, str]) -> bool:
    """Put a legend into the first encoding that has a scale of these colours; say whether there is one."""
    encoding = spec.get("encoding", {}).get("color")
    if not isinstance(encoding, dict) or "scale" not in encoding:
        return any(_legend(part, entries) for part in spec.get("layer", ()))
    words = " : ".join(f"datum.value == '{name}' ? '{text}'" for name, text in _quoted(entries).items())
    encoding["legend"] = {
        "orient": "bottom",
        "title": None,
        "symbolType": "square",
        "values": list(entries),
        "labelExpr": f"{words} : datum.value",
    }
    return True


def _quoted(entries: dict[str, str]) -> dict[str, str]:
    """Return words as they stand in an expression of Vega."""
    return {name: text.replace("\\", "\\\\").replace("'", "\\'") for name, text in entries.items()}
