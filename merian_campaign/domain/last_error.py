"""What the log of a program says went wrong."""

from __future__ import annotations

import re

_ERROR_LINE = re.compile(r"(?:^|\s)(?:[A-Z]\w*(?:Error|Exception)\b.*|ERROR\b.*|Error: .*)")


def last_error(text: str) -> str:
    """Return the line of a log that most likely names the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        if _ERROR_LINE.search(line):
            return line[-400:]
    return lines[-1][-400:] if lines else "no output"
