"""What ``--json`` prints has one shape, whatever the command."""

from __future__ import annotations

import ast
import inspect
import io
import json
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from merian_campaign.app import app
from merian_campaign.cli import output

COMMANDS: dict[str, Callable[..., Any]] = {
    command.name or command.callback.__name__: command.callback
    for command in app.registered_commands
    if command.callback is not None
}
WITH_JSON = {name for name, made in COMMANDS.items() if "as_json" in inspect.signature(made).parameters}


def calls(function: Callable[..., Any]) -> set[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def test_every_command_prints_the_one_object() -> None:
    assert {"list", "status", "preflight", "select", "stack", "import", "clean", "plan"} <= WITH_JSON
    for name, function in COMMANDS.items():
        assert ("show_report" in calls(function)) == (name in WITH_JSON), name
        # A JSON Schema is no report.
        assert ("show_json" in calls(function)) == (name == "schema"), name


def test_the_object_has_a_version_a_campaign_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for values, campaign, expected in (
        ({"findings": []}, "wide", {"schema": 1, "campaign": "wide", "findings": []}),
        ({"campaign": "wide", "jobs": []}, None, {"schema": 1, "campaign": "wide", "jobs": []}),
        ({"campaigns": [1]}, None, {"schema": 1, "campaign": None, "campaigns": [1]}),
    ):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stdout", stream)
        output.show_report(values, campaign=campaign)
        assert json.loads(stream.getvalue()) == expected
