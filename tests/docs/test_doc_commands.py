"""Every command in the documentation: it can be typed as it stands, and what is cheap is run."""

from __future__ import annotations

import io
import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from docs_blocks import Block, blocks
from docs_place import ROOT, Place

from merian_campaign.app import app, main

LANGUAGES = {"bash", "console", "python", "sql", "text", "yaml"}
NOT_HERE = {
    "run": "reduces a whole campaign",
    "demo": "reduces a whole survey",
    "export": "needs a reduced campaign",
}
"""Commands that are read only, wherever they stand, with why."""

SHELL = {".", "cd", "export", "source"}
"""What changes the reader's shell and nothing else."""

MAY_END_WITH = {"preflight": {0, 2}, "stack": {0, 1}, "tick": {0, 1}}
COMMANDS = [block for block in blocks() if block.language in {"bash", "console"}]
_ASSIGNMENT = re.compile(r"[A-Z_]+=.*")


def typed(block: Block) -> list[tuple[str, ...]]:
    """Return the commands of a block, without variables before them."""
    found = []
    for line in block.command_lines():
        words = list(line)
        while words and _ASSIGNMENT.fullmatch(words[0]):
            del words[0]
        if words:
            found.append(tuple(words))
    return found


@cache
def program_parser() -> Any:
    return typer.main.get_command(app)


def parse(words: tuple[str, ...]) -> None:
    """Have the program's own parser take the words, without anything being done."""
    command = program_parser()
    rest, name = list(words), "merian-campaign"
    while True:
        if "--help" in rest or "--version" in rest:
            return
        inner = getattr(command, "commands", None)
        if inner is None:
            command.make_context(name, rest)
            return
        assert rest, f"{name}: a command is missing"
        assert rest[0] in inner, f"{name} has no command {rest[0]!r}"
        name, command, rest = rest[0], inner[rest[0]], rest[1:]


@pytest.mark.parametrize("block", blocks(), ids=str)
def test_a_block_says_what_it_is(block: Block) -> None:
    assert block.language in LANGUAGES


@pytest.mark.parametrize("block", COMMANDS, ids=str)
def test_commands_are_those_of_the_program(block: Block) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert typed(block), "nothing to type; in a console block commands begin with $"
    for program, *words in typed(block):
        if Path(program).name == "merian-campaign":
            parse(tuple(words))
        elif program == "make":
            assert {word for word in words if "=" not in word} <= targets
        else:
            assert block.not_run or program in SHELL, f"{program}: mark the block with why it is not run"


@pytest.mark.parametrize("block", [block for block in COMMANDS if not block.not_run], ids=str)
def test_commands_do_what_they_say(
    block: Block, place: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for program, *words in typed(block):
        if program != "merian-campaign" or words[0] in NOT_HERE or tuple(words) in _done:
            continue
        code, error = run_here(place, words, monkeypatch, capfd)
        assert code in MAY_END_WITH.get(words[0], {0}), f"{words}: {error}"
        _done.add(tuple(words))


_done: set[tuple[str, ...]] = set()
"""What stands on several pages is run once."""


def run_here(
    place: Place, words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Run the program's entry point in this process, which has imported the middleware once for all."""
    place.as_it_was()
    monkeypatch.chdir(place.folder)
    for name in set(os.environ) - set(place.environ):
        monkeypatch.delenv(name)
    for name, value in place.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    monkeypatch.setattr(sys, "argv", ["merian-campaign", *words])
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    return code, capfd.readouterr().err


@pytest.mark.parametrize("block", [block for block in blocks() if block.language == "sql"], ids=str)
def test_queries_are_answered(block: Block, place: Place) -> None:
    for statement in block.text.split(";"):
        if statement.strip():
            place.sql(statement)


@pytest.mark.parametrize("block", [block for block in blocks() if block.language == "python"], ids=str)
def test_python_can_be_read(block: Block) -> None:
    compile(block.text, str(block), "exec")


def why_not(block: Block, words: tuple[str, ...]) -> str:
    """Say why a command is only read; empty when it is run."""
    program, *rest = words
    if block.not_run or program != "merian-campaign":
        return block.not_run or "its target is looked up" if program == "make" else block.not_run or "shell"
    return NOT_HERE.get(rest[0], "")


def test_what_is_not_run_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    """Count and list the commands that are only read, and hold them below half of all."""
    lines = [(block, words) for block in COMMANDS for words in typed(block)]
    only_read = [
        f"{block}: {' '.join(words)} ({why_not(block, words)})"
        for block, words in lines
        if why_not(block, words)
    ]
    with capsys.disabled():
        print(f"\n{len(only_read)} of {len(lines)} commands of the documentation are read and not run:")  # noqa: T201
        print("\n".join(f"  {entry}" for entry in only_read))  # noqa: T201
    assert len(only_read) < len(lines) / 2
