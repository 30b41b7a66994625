"""What the end of a task's log says of its failure, in few lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["telling"]

_TRACEBACK: Final = "Traceback (most recent call last):"
_SAYS_NOTHING: Final = "MPGraphExecutorError: One or more tasks failed during execution."
"""With this, and a traceback of its own, the middleware ends after it has logged what a task raised."""

_AROUND: Final = (" lsst.daf.butler.cli.utils ", " lsst.pipe.base.mp_graph_executor ()")
"""Who logs between the two."""


def telling(text: str, *, lines: int, characters: int) -> str:
    """Return the last lines that say something: no marks below code, not the end that the middleware adds.

    Parameters
    ----------
    text : `str`
        The end of a log.
    lines, characters : `int`
        How much is kept at most.
    """
    found = [
        line.rstrip()
        for line in text.splitlines()
        if line.strip("^~ \t") and not line.startswith(("VERBOSE ", "DEBUG ", "TRACE "))
    ]
    kept = "\n".join(_before_the_end(found)[-lines:])
    # A line of which only the end is left says little, unless there is no other.
    end = kept[-characters:]
    return (end.partition("\n")[2] or end) if len(kept) > characters else kept


def _before_the_end(lines: Sequence[str]) -> Sequence[str]:
    if not lines or not lines[-1].endswith(_SAYS_NOTHING):
        return lines
    last = max((number for number, line in enumerate(lines) if line == _TRACEBACK), default=0)
    while last and any(name in lines[last - 1] for name in _AROUND):
        last -= 1
    return lines[:last] or lines
