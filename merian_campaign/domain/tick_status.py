"""How a tick ends, for whatever started it."""

from __future__ import annotations

from typing import Final

__all__ = ["BUSY", "FAILED", "NOTHING", "PERSON"]

NOTHING: Final = 0
"""Nothing for a person to do, or nothing that was not said before."""

PERSON: Final = 1
"""A person is needed, and this is said for the first time."""

FAILED: Final = 2
"""It failed, or could start nothing; the next one goes on."""

BUSY: Final = 75
"""Another tick is at work (``EX_TEMPFAIL`` of ``sysexits.h``)."""
