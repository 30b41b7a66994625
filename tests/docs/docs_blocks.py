"""The blocks of code in the documentation, and how each is marked.

A remark before a block says what a test cannot know: ``<!-- not run: WHY -->``, or
``<!-- as: X for Y -->``, by which X is typed where the reader finds Y.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from docs_place import ROOT

_MARK = re.compile(r"<!-- (not run|as): (.*?) -->")
_FENCE = re.compile(r"^( *)```(\S*)\s*$")
_DIRECTIVE = re.compile(r"\{\w+\}")


@dataclass(frozen=True)
class Block:
    """One block: where it stands, its language, its text, and its marks."""

    file: str
    line: int
    language: str
    text: str
    not_run: str = ""
    instead: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def command_lines(self) -> Iterator[tuple[str, ...]]:
        """Yield the words of each line that a reader types."""
        for line in self.text.splitlines():
            typed = line.removeprefix("$ ") if self.language == "console" else line
            if (self.language == "console" and not line.startswith("$ ")) or not typed.strip():
                continue
            words = shlex.split(typed, comments=True)
            given = dict(self.instead)
            if words:
                yield tuple(given.get(word, word) for word in words)


def pages() -> list[Path]:
    """Return every page of the documentation."""
    top = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")]
    folders = [ROOT / name / "README.md" for name in ("bps_configs", "campaign", "site", "tests/slurm")]
    return [*(page for page in (*top, *folders) if page.is_file()), *sorted((ROOT / "docs").rglob("*.md"))]


@cache
def blocks() -> tuple[Block, ...]:
    """Return every block of every page; what is a directive of the documentation's own is none."""
    return tuple(block for page in pages() for block in _blocks_of(page))


def _blocks_of(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    name = str(page.relative_to(ROOT))
    start, indent, language = 0, "", ""
    marks: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.match(line)
        if start == 0 and fence is not None:
            start, indent, language = number, fence[1], fence[2]
        elif start and line.strip() == "```":
            if not _DIRECTIVE.fullmatch(language):
                text = "\n".join(entry.removeprefix(indent) for entry in lines[start : number - 1]) + "\n"
                yield Block(
                    file=name,
                    line=start,
                    language=language,
                    text=text,
                    not_run=marks.get("not run", ""),
                    instead=_pairs(marks.get("as", "")),
                )
            start, marks = 0, {}
        elif start == 0 and line.strip():
            found = _MARK.search(line)
            marks = {**marks, found[1]: found[2]} if found else {}


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Read ``X for Y, Z for W``; another word stands for itself."""
    if " for " not in text:
        return ((text, text),) if text else ()
    found = (entry.partition(" for ") for entry in text.split(", "))
    return tuple((reader.strip(), typed.strip()) for typed, _, reader in found)
