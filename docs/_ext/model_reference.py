"""What the models of YAML files say of themselves, as tables of keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from merian_campaign.domain.failures.failure_rules import FailureRules
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.spec.actions import ACTIONS
from merian_campaign.domain.spec.site import SiteOptions
from merian_campaign.files.schema import campaign_schema

_TITLES = {
    "campaign": "The file",
    "Collections": "`collections`",
    "Limits": "`limits`",
    "Afterburner": "`afterburner`",
    "Discover": "`tracts`, discovered",
    "Stack": "`stack`",
    "BpsStep": "A step with `pipeline`",
    "After": "An entry of `after`",
    "Select": "`select`",
    "Resources": "`resources`, by task label",
    "Everything": "`group_by: everything`",
    "ByTract": "`group_by: tract`",
    "ByDayObs": "`group_by` night",
    "Chunks": "`group_by` exposure or visit",
    "Lists": "`group_by` lists",
    "ActionStep": "A step with `action`",
    "SiteOptions": "The top of a site file",
    "DriverOptions": "`driver_options`",
    "Larger": "An entry of `larger`",
    "FailureRules": "The file of rules",
    "FailureRule": "A rule",
}
"""In which order models appear, and under which heading; a new model comes last, under its own name."""


def campaign_reference() -> str:
    """Return the reference of campaign files."""
    found = campaign_schema()
    return _models({"campaign": found, **found["$defs"]}, level=2)


def action_reference() -> str:
    """Return the reference of the arguments of butler actions."""
    parts = []
    for name, model in sorted(ACTIONS.items()):
        entry = model.model_json_schema()
        parts.append(_model(entry, heading=f"### `{name}`", anchor=f"action-{name}"))
    return "\n".join(parts)


def site_reference() -> str:
    """Return the reference of the manager's own keys in site files."""
    found = SiteOptions.model_json_schema()
    others = {name: entry for name, entry in found["$defs"].items() if name != "Stack"}
    return _models({"SiteOptions": found, **others}, level=2)


def rules_reference() -> str:
    """Return the reference of files of failure rules."""
    found = FailureRules.model_json_schema()
    others = {name: found["$defs"][name] for name in found["$defs"] if name not in {"Verdict", "RuleRemedy"}}
    return _models({"FailureRules": found, **others}, level=3)


def models() -> dict[str, type[BaseModel]]:
    """Return every model that a person writes in YAML, by name; a test holds the reference against them."""
    found: dict[str, type[BaseModel]] = {}

    def collect(kind: type[BaseModel]) -> None:
        if kind.__name__ not in found:
            found[kind.__name__] = kind
            for field in kind.model_fields.values():
                for inner in _inner(field.annotation):
                    collect(inner)

    for kind in (CampaignSpec, SiteOptions, FailureRules, *ACTIONS.values()):
        collect(kind)
    return found


def _inner(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any annotation
    """Yield the models that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _inner(argument)
    if hasattr(annotation, "__value__"):
        yield from _inner(annotation.__value__)


def _models(found: Mapping[str, dict[str, Any]], *, level: int) -> str:
    order = [name for name in _TITLES if name in found]
    order += sorted(name for name in found if name not in _TITLES)
    headings = {name: f"{'#' * level} {_TITLES.get(name, f'`{name}`')}" for name in order}
    return "\n".join(_model(found[name], heading=headings[name], anchor=_anchor(name)) for name in order)


def _anchor(name: str) -> str:
    return f"model-{name.lower()}"


def _model(entry: dict[str, Any], *, heading: str, anchor: str) -> str:
    required = set(entry.get("required", ()))
    lines = [f"({anchor})=", heading, "", prose(entry.get("description", "")), ""]
    if entry.get("properties"):
        lines += ["| Key | Value | Default | Meaning |", "|---|---|---|---|"]
    for name, field in entry.get("properties", {}).items():
        default = "required" if name in required else _default(field)
        meaning = prose(field.get("description", ""))
        lines.append(row(f"`{name}`", _words(field), default, meaning))
    return "\n".join([*lines, ""])


def _default(field: Mapping[str, Any]) -> str:
    value = field.get("default")
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, dict):
        return "its own"
    return f"`{json.dumps(value) if not isinstance(value, str) else value}`"


def _words(field: Mapping[str, Any]) -> str:
    """Return in words what a value may be."""
    if _takes_ids(field):
        return "ids: a number, a range `first-last`, a list of these, or `{file: PATH}`"
    for key in ("anyOf", "oneOf"):
        if key in field:
            kinds = [_words(entry) for entry in field[key] if entry.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if "$ref" in field:
        return _link(str(field["$ref"]).rpartition("/")[2])
    if "const" in field:
        return f"`{json.dumps(field['const']).strip('"')}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    return _plain(field)


def _plain(field: Mapping[str, Any]) -> str:
    kind = field.get("type")
    if kind in {"integer", "number"}:
        return f"{'whole number' if kind == 'integer' else 'number'}{_range(field)}"
    if kind == "array":
        return f"list of {_words(field.get('items', {}))}"
    if kind == "object":
        inner = next(iter(field.get("patternProperties", {}).values()), field.get("additionalProperties"))
        return f"mapping of names to {_words(inner)}" if isinstance(inner, dict) and inner else "mapping"
    if kind == "string":
        return "name" if "A-Za-z" in field.get("pattern", "") else "text"
    return "`true`, `false`" if kind == "boolean" else "any"


def _link(name: str) -> str:
    if name == "Verdict":
        return "[verdict](retries.md#verdicts)"
    if name == "RuleRemedy":
        return "[remedy](retries.md#remedies)"
    page = "campaign-reference.md" if name == "Stack" else ""
    return f"[{_TITLES.get(name, name)}]({page}#{_anchor(name)})"


def _range(field: Mapping[str, Any]) -> str:
    words = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {field[key]:g}" for key, sign in words.items() if key in field]
    return f" {', '.join(found)}" if found else ""


def _takes_ids(field: Mapping[str, Any]) -> bool:
    """Say whether a value is what the schema allows for any list of ids."""
    return any("file" in entry.get("properties", {}) for entry in field.get("anyOf", ()))


def row(*cells: str) -> str:
    """Return a line of a table."""
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def prose(text: str) -> str:
    """Return a docstring's text as Markdown: reStructuredText's double backquotes become single ones."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.sub(r"``([^`]+)``", r"`\1`", paragraph).replace("*", r"\*")
