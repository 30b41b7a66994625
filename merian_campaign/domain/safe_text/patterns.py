"""Regular expressions that people write, matched in time that grows with the text, whatever the pattern.

The engine is RE2 (``google-re2``), an automaton: it never goes back in the text, so it has neither references
back nor looks around. Python's own ``re`` needs minutes for 24 characters such as ``(a+)+$`` on a text that
anybody may have put into an error message.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import re2

from merian_campaign.domain.safe_text.text import LONGEST, clean, one_line

__all__ = ["LARGEST_PROGRAM", "found_in", "problem", "whole"]

LARGEST_PROGRAM: Final = 5000
"""Instructions of a compiled pattern; with `LONGEST` characters of text it bounds the steps of a match."""

_ADVICE: Final = {
    "invalid perl operator: (?=": "it cannot look ahead; match the text itself",
    "invalid perl operator: (?!": "it cannot look ahead; write a rule for the exception and put it first",
    "invalid perl operator: (?<": "it cannot look behind; match the text itself",
    "invalid perl operator: (?>": "write an ordinary group (?:...)",
    "invalid perl operator: (?#": "it has no comments; use note:",
    "invalid perl operator: (?(": "it has no conditions; write two rules",
    "invalid perl operator: (?P": "it cannot refer back to a group; write out what may repeat",
    "bad repetition operator: ": "write one *, + or ? only; repetition never goes back here",
    "invalid repetition size": "at most 1000 repetitions, multiplied where they are nested",
    "pattern too large": "fewer or smaller repetitions",
    r"invalid escape sequence: \Z": r"write \z, the end of the text",
}
_DIGITS: Final = frozenset(f"invalid escape sequence: \\{digit}" for digit in range(1, 10))


def problem(pattern: str) -> str:
    """Return what is wrong with a pattern and what to write instead; empty when it can be used."""
    if clean(pattern, limit=max(1, len(pattern))) != pattern:
        return "it holds control characters; write them as \\n, \\t or \\x{1b}"
    try:
        compiled = _compiled(pattern)
    except re2.error as error:
        return _words(error)
    if compiled.programsize > LARGEST_PROGRAM:
        size = f"{compiled.programsize} steps, more than {LARGEST_PROGRAM}"
        return f"it has {size}; write fewer or smaller repetitions"
    return ""


def found_in(pattern: str, text: str) -> bool:
    """Say whether a pattern that has no `problem` matches anywhere in a text."""
    return bool(_compiled(pattern).search(_bounded(text)))


def whole(pattern: str, text: str) -> bool:
    """Say whether a pattern that has no `problem` matches all of a text."""
    return bool(_compiled(pattern).fullmatch(_bounded(text)))


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:  # noqa: ANN401 - re2 has no types
    options = re2.Options()
    options.log_errors = False  # to standard error, from C++
    return re2.compile(pattern, options)


@lru_cache(maxsize=64)  # each is held against one rule after the other
def _bounded(text: str) -> str:
    # Without the last newline: `$` is the end of the text, and matches before that newline in Python.
    return clean(text, limit=LONGEST).removesuffix("\n")


def _words(error: Exception) -> str:
    found = error.args[0] if error.args else ""
    said = one_line(found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found))
    advice = next((words for start, words in _ADVICE.items() if said.startswith(start)), "")
    if said in _DIGITS:
        advice = "it cannot refer back to a group; write out what may repeat"
    return f"{said}; {advice}" if advice else said
