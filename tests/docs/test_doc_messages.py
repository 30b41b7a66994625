"""Troubleshooting by message: what it quotes is said by the program, and most of what is said is there."""

from __future__ import annotations

import ast
import re
from functools import cache

from docs_place import ROOT

PACKAGE = ROOT / "merian_campaign"
ERRORS = {
    "BadInputError",
    "UnavailableError",
    "BusyError",
    "SchemaVersionError",
    "ActionError",
    "ForbiddenError",
}
MOST = 0.8
"""So much of the families of messages must be explained; the rest is new, or says all by itself."""

_SHORTEST = 8


@cache
def page() -> str:
    return " ".join((ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").split())


@cache
def literals() -> str:
    """Return every piece of text in the package, as one: what a message is made of."""
    found: list[str] = []
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found += [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    return "\n".join(" ".join(text.split()) for text in found)


def quoted() -> list[str]:
    """Return the messages in the first columns of the tables, cut where something differs."""
    rows = re.findall(
        r"^\| (`.*?) \| [^|]*\|$", (ROOT / "docs" / "troubleshooting.md").read_text("utf-8"), re.MULTILINE
    )
    spans = [span for row in rows for span in re.findall(r"`([^`]+)`", row)]
    return [part.strip() for span in spans for part in span.split("…")]


def test_what_is_quoted_is_said() -> None:
    parts = [part for part in quoted() if len(part) >= _SHORTEST]
    assert len(parts) > 100
    assert [part for part in parts if part not in literals()] == []


def families() -> list[tuple[str, ...]]:
    """Return the fixed pieces of every message that ends a command or an action."""
    found: list[tuple[str, ...]] = []
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call) or not node.exc.args:
                continue
            if getattr(node.exc.func, "id", "") not in ERRORS:
                continue
            texts = [
                " ".join(part.value.split())
                for part in ast.walk(node.exc.args[0])
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
            if any(len(text) >= _SHORTEST for text in texts):
                found.append(tuple(texts))
    return found


def test_most_messages_are_explained() -> None:
    known = [part for part in quoted() if len(part) >= _SHORTEST]
    said = families()
    missing = [texts for texts in said if not any(part in text for part in known for text in texts)]
    assert len(said) > 80
    assert len(missing) <= (1 - MOST) * len(said), "\n".join(map(" ... ".join, missing))
