"""The campaign file's JSON Schema, for editors."""

from __future__ import annotations

from typing import Any

from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.spec.actions import ACTIONS, Action

_VARIABLE = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"
_FILE = {
    "type": "object",
    "properties": {"file": {"type": "string", "description": "File of ids and ranges."}},
    "required": ["file"],
    "additionalProperties": False,
}


def campaign_schema() -> dict[str, Any]:
    """Return the JSON Schema of campaign files; arguments are given by action."""
    schema = CampaignSpec.model_json_schema(mode="validation")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "merian-campaign campaign file"
    _let_variables_stand(schema)
    _accept_shorthands(schema)
    action = schema["$defs"]["ActionStep"]
    action["properties"]["action"]["enum"] = sorted(ACTIONS)
    action["allOf"] = [
        {
            "if": {"properties": {"action": {"const": name}}},
            "then": {"properties": {"arguments": _arguments(model)}},
        }
        for name, model in sorted(ACTIONS.items())
    ]
    return schema


def _arguments(model: type[Action]) -> dict[str, Any]:
    arguments = model.model_json_schema()
    _let_variables_stand(arguments)
    return arguments


def _let_variables_stand(node: Any) -> None:  # noqa: ANN401 - any JSON value
    """Let text that must be of some form hold ``${NAME}`` instead, which is expanded before it is checked."""
    if isinstance(node, list):
        for value in node:
            _let_variables_stand(value)
    elif isinstance(node, dict):
        if node.get("type") == "string" and "pattern" in node:
            moved = {
                key: node.pop(key) for key in ("type", "pattern", "minLength", "maxLength") if key in node
            }
            node["anyOf"] = [moved, {"type": "string", "pattern": _VARIABLE}]
            return
        for key, value in node.items():
            if key not in {"propertyNames", "patternProperties"}:
                _let_variables_stand(value)


def _accept_shorthands(schema: dict[str, Any]) -> None:
    """Allow in the schema what the model accepts besides its own form."""
    integers = {
        "anyOf": [
            {"type": "integer"},
            {"type": "string", "pattern": rf"^\s*(\d+|{_VARIABLE})\s*(-\s*(\d+|{_VARIABLE})\s*)?$"},
        ]
    }
    definitions = schema["$defs"]
    grouping = definitions["BpsStep"]["properties"]["group_by"]
    grouped = {key: grouping.pop(key) for key in ("oneOf", "discriminator", "default") if key in grouping}
    grouped.pop("default", None)
    grouping["anyOf"] = [{"enum": ["everything", "tract"]}, grouped]
    tracts = schema["properties"]["tracts"]
    tracts["anyOf"] = [*tracts.pop("oneOf"), {"const": "discover"}]
    nights = definitions["ByDayObs"]["properties"]["nights"]
    nights["anyOf"] = [*nights.pop("oneOf"), {"const": "discover"}]
    definitions["Select"]["properties"]["day_obs"]["anyOf"].append(_FILE)
    for place in (schema, definitions["BpsStep"]):
        policy = place["properties"]["on_new_data"]
        given = policy.pop("anyOf", None) or [{"$ref": policy.pop("$ref")}]
        policy["anyOf"] = [{"enum": ["ignore", "mark", "redo"]}, *given]
    for name in ("setup", "packages"):
        listed = definitions["Stack"]["properties"][name]
        moved = {key: listed.pop(key) for key in ("type", "items", "default") if key in listed}
        listed["anyOf"] = [{"type": "string"}, moved]
    for name in ("BpsStep", "ActionStep"):
        after = definitions[name]["properties"]["after"]
        after["items"] = {"anyOf": [{"type": "string"}, after["items"]]}
    _loosen(schema, integers)


def _loosen(node: Any, integers: dict[str, Any]) -> None:  # noqa: ANN401 - any JSON value
    """Let every list of integers hold ranges too, or be one number or range, or lie in a file."""
    if isinstance(node, dict):
        if node.get("type") == "array" and node.get("items") == {"type": "integer"}:
            listed = {key: node.pop(key) for key in ("type", "items", "minItems") if key in node}
            node["anyOf"] = [{**listed, "items": integers}, *integers["anyOf"], _FILE]
            return
        for value in node.values():
            _loosen(value, integers)
    elif isinstance(node, list):
        for value in node:
            _loosen(value, integers)


def known_keys() -> list[str]:
    """Return every key that a campaign file may hold, for suggestions."""
    found: set[str] = set()

    def collect(node: Any) -> None:  # noqa: ANN401 - any JSON value
        if isinstance(node, dict):
            found.update(node.get("properties", {}))
            for value in node.values():
                collect(value)
        elif isinstance(node, list):
            for value in node:
                collect(value)

    collect(campaign_schema())
    return sorted(found)
