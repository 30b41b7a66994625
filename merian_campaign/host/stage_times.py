"""When stages of a submission asked for the repository's lock, got it and ended, one line each.

Only people want to know: what cannot be written down is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

from merian_campaign.domain.execution.journal import format_time
from merian_campaign.host.atomic_files import appending

__all__ = ["STAGE_TIMES", "note_times", "timed"]

STAGE_TIMES: Final = "MERIAN_CAMPAIGN_STAGE_TIMES"
"""Variable that names the file to commands which take the lock by themselves."""


def note_times(file: str, *, name: str, **moments: datetime) -> None:
    """Append moments of a stage to a file."""
    line = {"v": 1, "name": name, **{key: format_time(value) for key, value in moments.items()}}
    with suppress(OSError), appending(file) as stream:
        stream.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


@contextmanager
def timed(lock: AbstractContextManager[Any], *, file: str | None, name: str) -> Iterator[None]:
    """Hold a lock, and write down how long it was waited for and held.

    Parameters
    ----------
    lock : context manager
        To be entered.
    file : `str` or `None`
        File to append to, if any.
    name : `str`
        Name of the stage.
    """
    asked = datetime.now(UTC)
    with lock:
        began = datetime.now(UTC)
        try:
            yield
        finally:
            if file:
                note_times(file, name=name, asked=asked, began=began, ended=datetime.now(UTC))
