"""What ``--help`` says of commands: the same words for the same things, and examples that can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
from cli_help import Cli
from typer.main import get_command

from merian_campaign.app import app

PROGRAM = "merian-campaign"
EXAMPLE = re.compile(r"For example: `([^`]+)`")


def commands(group: Any, *before: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the commands that the help lists, with the words that call them."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        yield (*before, name), command
        if hasattr(command, "commands"):
            yield from commands(command, *before, name)


ALL: dict[tuple[str, ...], Any] = dict(commands(get_command(app)))
EXAMPLES = [found for command in ALL.values() for found in EXAMPLE.findall(command.help or "")]


def long_options(command: Any) -> list[str]:
    options = [param for param in command.params if param.param_type_name == "option" and not param.hidden]
    return [max(param.opts, key=len) for param in options]


def test_every_command_stands_under_a_heading(cli: Cli) -> None:
    told = cli("--help", COLUMNS="80").fine()
    assert {command.rich_help_panel for words, command in ALL.items() if len(words) == 1} == set(
        re.findall(r"╭─ ([A-Z][a-z ]+?) ─", told)
    ) - {"Options"}
    assert "╭─ Commands" not in told


def test_a_narrow_terminal_cuts_nothing(cli: Cli) -> None:
    for words in [(), *ALL]:
        told = cli(*words, "--help", COLUMNS="80").fine()
        assert "…" not in told, words
        assert max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_is_plain_and_says_what_a_command_does(words: tuple[str, ...]) -> None:
    command = ALL[words]
    context = command.make_context(" ".join(words), [], resilient_parsing=True)
    for param in command.get_params(context):
        if getattr(param, "hidden", False):
            continue
        assert "<" not in (param.metavar or ""), "a name, no type"
        assert param.help, "each says what it is for"
        assert param.help.endswith((".", ")", "tables.")), param.help
    assert not re.search(r"[^\n]\n[^\n]", command.help), "a paragraph is one line, which any terminal wraps"


def test_options_of_one_name_stand_in_one_order_everywhere() -> None:
    seen: dict[tuple[str, str], str] = {}
    for words, command in ALL.items():
        for pair in combinations(long_options(command), 2):
            assert pair[::-1] not in seen, (words, pair, seen[pair[::-1]])
            seen[pair] = " ".join(words)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_can_be_typed(example: str) -> None:
    program, *words = shlex.split(example)
    assert program == PROGRAM
    command: Any = get_command(app)
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    assert command.make_context(example, words)
