"""Python's collector of cyclic garbage, kept away while many values are made of which nothing is garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collect_seldom", "no_collection"]

_COLLECT_AFTER = 100_000


def collect_seldom() -> None:
    """Let new objects be many before those are looked for that only refer to each other.

    Python's own number is 700: modules, while they are imported, and the rows of a large campaign would be
    walked again and again for nothing, a third of a tick.
    """
    gc.set_threshold(_COLLECT_AFTER)


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the collector away: it would walk all that was made, again and again, and find nothing."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
