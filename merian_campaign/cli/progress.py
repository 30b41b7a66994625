"""How far something is, said to a person who waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from merian_campaign.cli.output import console, note

_SECONDS = 60.0


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Give what shows one line of progress on a terminal, replaced by the next; elsewhere one a minute."""
    from merian_campaign.reports.cells import line  # noqa: PLC0415 - slow

    screen = console(stderr=True)
    if not screen.is_terminal:
        said = time.monotonic()

        def now_and_then(words: str) -> None:
            nonlocal said
            if time.monotonic() - said >= _SECONDS:
                said = time.monotonic()
                note(words)

        yield now_and_then
        return
    with screen.status("") as status:
        yield lambda words: status.update(line(words, fit=True))
