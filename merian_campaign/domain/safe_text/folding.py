"""What failures of one kind have in common in their words: all but numbers, paths, ids and quoted names."""

from __future__ import annotations

import re
from typing import Final

from merian_campaign.domain.safe_text.text import one_line

__all__ = ["escaped", "folded", "pattern_of"]

# Bounded repetitions: what is folded was made by others.
_VARYING: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|0x[0-9a-f]+|/\S+|\d+|'[^']{0,200}'|\"[^\"]{0,200}\"",
    re.IGNORECASE,
)
_MARK: Final = "#"
_LONGEST: Final = 200
_SPECIAL: Final = re.compile(r"([\\.+*?()|\[\]{}^$])")
_SHORTEST_PIECE: Final = 3


def folded(text: str) -> str:
    """Return a text with ``#`` in place of all that varies from one failure of its kind to the next."""
    return _VARYING.sub(_MARK, text)[:_LONGEST]


def escaped(text: str) -> str:
    """Return a pattern of RE2 that matches a text and nothing else."""
    return _SPECIAL.sub(r"\\\1", text)


def pattern_of(text: str) -> str:
    """Return a pattern of RE2 that matches what is folded alike, by the words that stay; empty for none."""
    pieces = (piece.strip() for piece in _VARYING.split(one_line(text, limit=_LONGEST)))
    # Words that are cut at the end, or by what is not shown in the middle, would match nothing else.
    kept = [piece for piece in pieces if len(piece) >= _SHORTEST_PIECE and "…" not in piece]
    return ".*".join(map(escaped, kept))
