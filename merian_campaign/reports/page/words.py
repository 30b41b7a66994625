"""Numbers and times in words, as the page says them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

_THIN: Final = "\N{NARROW NO-BREAK SPACE}"
_FEW: Final = 10


def number(value: float) -> str:
    """Return a whole number with its thousands apart."""
    return f"{round(value):,}".replace(",", _THIN)


def fixed(value: float, digits: int) -> str:
    """Return a number with so many decimals, and its thousands apart."""
    return f"{value:,.{digits}f}".replace(",", _THIN)


def short(value: float) -> str:
    """Return a large number in short, e.g. ``1.2 M``."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            return f"{value / (limit if unit != 'k' else 1e3):.3g}{_THIN}{unit}"
    return number(value)


def percent(part: float, whole: float) -> str:
    """Return a part of a whole; 100% only when nothing is missing, 0% only when nothing is there."""
    if not whole:
        return "—"
    shown = f"{100 * part / whole:.1f}"
    if part != whole and shown == "100.0":
        return "99.9%"
    if part and shown == "0.0":
        return "<0.1%"
    return shown.removesuffix(".0") + "%"


def when(value: datetime) -> str:
    """Return a time to the minute."""
    return f"{value:%Y-%m-%d %H:%M}"


def ago(value: datetime, now: datetime) -> str:
    """Return how long ago something was."""
    minutes = max(0, round((now - value) / timedelta(minutes=1)))
    if minutes < 1:
        return "just now"
    if minutes < 120:  # noqa: PLR2004 - two hours
        return f"{minutes} min ago"
    hours_ago = minutes // 60
    return f"{hours_ago} h ago" if hours_ago < 48 else f"{hours_ago // 24} days ago"  # noqa: PLR2004 - two days


def hours(value: float) -> str:
    """Return hours, as exact as they are few."""
    if 0 < value < 0.1:  # noqa: PLR2004 - below that there are no hours to speak of
        return "<0.1"
    return fixed(value, 1) if value < _FEW else short(value)


def rate(value: float) -> str:
    """Return a rate."""
    return fixed(value, 1) if 0 < value < _FEW else number(value)


def changes(diff: str) -> str:
    """Return in words how much a unified diff changes."""
    lines = diff.splitlines()
    more = sum(line.startswith("+") and not line.startswith("+++") for line in lines)
    less = sum(line.startswith("-") and not line.startswith("---") for line in lines)
    return f"{more} lines added, {less} removed"
