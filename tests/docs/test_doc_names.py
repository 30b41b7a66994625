"""Every path, module and class that the documentation names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from docs_blocks import blocks, pages
from docs_place import ROOT

PACKAGE = ROOT / "merian_campaign"
ROOMS = {entry.name for entry in PACKAGE.iterdir() if (entry / "__init__.py").is_file()}
TOP = {"bps_configs", "campaign", "docs", "merian_campaign", "site", "tests"}
MADE = {"build", ".venv", "lists", "submissions", "bps", "samples", "parsl"}
"""Folders that the program or the reader makes."""

OF_OTHERS = {"PipelineTask", "ParslService", "CampaignError", "FormatError", "MiniDecam", "DataFlowKernel"}
"""Class names that are said and stand in another package, or in no module of their own."""

_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)+/?|[\w-]+/|[\w.-]+\.(?:py|md|toml|lock)")
_DOTTED = re.compile(r"merian_campaign(?:\.\w+)+")
_CLASS = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]+)+")
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[\w-]+)?\)")


def spans(page: Path) -> list[str]:
    """Return what a page sets as code within a line, its blocks left out."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return _CODE.findall(text)


def is_there(path: str) -> bool:
    """Say whether a path is one of the checkout, or of the package from one of its rooms on."""
    first = path.partition("/")[0]
    if first in TOP:
        return (ROOT / path).exists()
    if first in ROOMS:
        return (PACKAGE / path).exists() or (PACKAGE / f"{path}.py").exists()
    if "/" not in path.rstrip("/"):
        return (ROOT / path).exists() or any(PACKAGE.glob(path)) or bool(list(ROOT.glob(f"*/{path}")))
    return True


def paths(page: Path) -> list[str]:
    """Return the paths of the checkout that a page names."""
    found = [span for span in spans(page) if _PATH.fullmatch(span)]
    return [
        path
        for path in found
        if path.partition("/")[0] in TOP | ROOMS
        and not re.search(r"[A-Z]{2,}\b(?!\.md)|NNN|\bNAME\b", path.rpartition("/")[2])
    ]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_exist(page: Path) -> None:
    assert [path for path in paths(page) if not is_there(path)] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    missing = [
        link for link in _LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()
    ]
    assert missing == []


@cache
def names_in(module: str) -> frozenset[str] | None:
    """Return what a module defines or re-exports; `None` when there is no such module."""
    place = ROOT.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if not file.is_file():
        return None
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found.update(target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found.update(entry.asname or entry.name for entry in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            found.add(node.value)  # names that a package hands out when they are asked for
    return frozenset(found)


def resolves(name: str) -> bool:
    """Say whether a dotted name is a module, or something that a module has."""
    if names_in(name) is not None:
        return True
    module, _, last = name.rpartition(".")
    return bool(module) and last in (names_in(module) or ())


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_dotted_names_exist(page: Path) -> None:
    assert [name for name in _DOTTED.findall(page.read_text(encoding="utf-8")) if not resolves(name)] == []


@cache
def classes() -> frozenset[str]:
    """Return the classes of the package."""
    found: set[str] = set()
    for file in PACKAGE.rglob("*.py"):
        found.update(re.findall(r"^\s*class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
    return frozenset(found)


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_classes_exist(name: str) -> None:
    said = {span.partition(".")[0] for span in spans(ROOT / name) if _CLASS.fullmatch(span.partition(".")[0])}
    # Those that a walk through makes are in its own blocks.
    made = {
        found for block in blocks() if block.file == name for found in re.findall(r"class (\w+)", block.text)
    }
    assert said - classes() - made - OF_OTHERS == set()
    bases = {
        found
        for block in blocks()
        if block.file == name
        for found in re.findall(r"class \w+\((\w+)", block.text)
    }
    assert bases - classes() == set()


def test_modules_that_are_named_without_their_room_exist() -> None:
    """Some parts of ARCHITECTURE name modules without their room."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = (("domain", "### The domain"), ("store", "## The store"), ("wms", "## The WMS service"))
    for room, heading in rooms:
        part = text.partition(f"{heading}\n")[2].partition("\n##")[0]
        named = {span for span in _CODE.findall(part) if re.fullmatch(r"[a-z_]+", span)}
        there = {entry.stem for entry in (PACKAGE / room).rglob("*")} | {"status"}
        assert named - there == set(), room
