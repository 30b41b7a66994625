"""Memory requests of quanta by the number of their inputs, as the BPS configuration has them.

``campaignMemory`` is text, for BPS takes braces for its own: ``TASK=LEAST:MIB,LEAST:MIB``, a blank between
tasks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["request_of", "requests_from", "requests_text"]

type Requests = tuple[tuple[int, int], ...]
"""From so many inputs on, the request, MiB; ascending."""

_TASK: Final = re.compile(
    r"(?P<task>[^\s=]{1,200})=(?P<pairs>[0-9]{1,9}:[0-9]{1,9}(?:,[0-9]{1,9}:[0-9]{1,9}){0,99})"
)


def requests_text(by_task: Iterable[tuple[str, Requests]]) -> str:
    """Return requests as the configuration has them."""
    return " ".join(
        f"{task}={','.join(f'{least}:{request}' for least, request in pairs)}" for task, pairs in by_task
    )


def requests_from(text: str) -> Mapping[str, Requests]:
    """Return the requests of a configuration, by task.

    Raises
    ------
    ValueError
        Raised if the text is none.
    """
    found: dict[str, Requests] = {}
    for word in text.split():
        match = _TASK.fullmatch(word)
        if match is None:
            raise ValueError(
                f"campaignMemory: {word!r} is not TASK=LEAST:MIB,LEAST:MIB with numbers ascending"
            )
        pairs = (pair.split(":") for pair in match["pairs"].split(","))
        found[match["task"]] = tuple(sorted((int(least), int(request)) for least, request in pairs))
    return found


def request_of(requests: Requests, *, inputs: int) -> int:
    """Return the request of a quantum with so many inputs, MiB."""
    return next((request for least, request in reversed(requests) if least <= inputs), requests[0][1])
