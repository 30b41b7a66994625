"""What the log of a program says went wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ERROR_LINE = re.compile(
    r"(?:^|\s)(?:(?:\w+\.)*[A-Z]\w*(?:Error|Exception)\b.*|ERROR\b.*|Error: .*)"
    r"|^\(?psycopg2\.errors\.[A-Z]\w*\)?: "
)
_TRACEBACK = "Traceback (most recent call last):"
_AFTERMATH = re.compile(
    r"no such savepoint|current transaction is aborted|invalid transaction is rolled back"
    r"|transaction has been rolled back due to a previous exception",
    re.IGNORECASE,
)


def last_error(*texts: str) -> str:
    """Return the line of logs that most likely names the error, of the first log that has one."""
    logs = [[line.strip() for line in text.splitlines() if line.strip()] for text in texts]
    for lines in logs:
        errors = [line for line in lines if _ERROR_LINE.search(line)]
        if errors:
            return telling(errors)[-400:]
    return next((_last_line(lines)[-400:] for lines in logs if lines), "no output")


def _last_line(lines: Sequence[str]) -> str:
    """Return the last line, unless a full disk or a kill cut it short within a traceback."""
    if _TRACEBACK not in lines:
        return lines[-1]
    where = "" if lines[-1] == _TRACEBACK else f": {lines[-1]}"
    return f"an exception whose traceback was cut short (killed, or no room on the disk){where}"


def telling(errors: Sequence[str]) -> str:
    """Return the last of some error lines that says why, not merely what a database refused after it.

    A full disk makes SQLite give up the whole transaction, and rolling back to its savepoints fails then;
    PostgreSQL refuses every statement after one that failed.
    """
    why = [line for line in errors if _AFTERMATH.search(line) is None]
    return (why or errors)[-1]
