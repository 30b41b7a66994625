"""When a campaign is expected to end: a range, from how fast it went lately and over longer times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from merian_campaign.domain.report.rows import ProgressRow

_WINDOWS: Final = (timedelta(hours=6), timedelta(hours=24), timedelta(days=3), timedelta(days=7))
_PARTS: Final = (0.25, 0.5, 1.0)
"""Of the time so far, where that is shorter than the windows."""

_FARTHEST: Final = timedelta(days=3650)


@dataclass(frozen=True, kw_only=True)
class StepAhead:
    """How much of a step is still to come.

    Parameters
    ----------
    step : `str`
        Its name.
    open : `int`
        Quanta that are predicted, not done, and will run.
    unpredicted : `int`
        Groups that will run and have no graph yet.
    typical : `float` or `None`
        Quanta of one of its groups, on average; `None` where none has a graph.
    """

    step: str
    open: int
    unpredicted: int
    typical: float | None


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """When it ends, at the earliest and at the latest, or why nobody can say."""

    low: datetime | None
    high: datetime | None
    words: str
    foreseen: int
    per_hour: float


def outlook(
    steps: Iterable[StepAhead],
    progress: Sequence[ProgressRow],
    *,
    span_seconds: int,
    now: datetime,
    moves: bool,
) -> Outlook:
    """Return the outlook of a campaign.

    Parameters
    ----------
    steps : `~collections.abc.Iterable` [`StepAhead`]
        What is still to come.
    progress : `~collections.abc.Sequence` [`ProgressRow`]
        What ended when, in spans of ``span_seconds``.
    now : `datetime.datetime`
        UTC.
    moves : `bool`
        Whether anything runs or is ready to.
    """
    listed = tuple(steps)
    unknown = [one.step for one in listed if one.unpredicted and one.typical is None]
    estimated = sum(round(one.unpredicted * one.typical) for one in listed if one.typical is not None)
    remaining = sum(one.open for one in listed) + estimated
    rates = _rates(progress, span_seconds=span_seconds, now=now)
    per_hour = rates[0] if rates else 0.0
    low = high = None
    words = f"without {', '.join(unknown)}, of which nobody knows the size yet" if unknown else ""
    if not remaining and not unknown:
        words = "nothing is left to run"
    elif not moves:
        words = "nothing runs, and nothing is ready to"
    elif not any(rates):
        words = "too little has ended to tell"
    else:
        there = [rate for rate in rates if rate]
        low, high = (_ahead(now, hours=remaining / rate) for rate in (max(there), min(there)))
    return Outlook(low=low, high=high, words=words, foreseen=estimated, per_hour=per_hour)


def _ahead(now: datetime, *, hours: float) -> datetime:
    return now + min(_FARTHEST, timedelta(hours=min(hours, _FARTHEST.total_seconds() / 3600)))


def _rates(progress: Sequence[ProgressRow], *, span_seconds: int, now: datetime) -> list[float]:
    """Return quanta an hour over several windows that end now, the shortest first."""
    if not progress:
        return []
    begin = min(row.start for row in progress)
    so_far = max(now - begin, timedelta(seconds=span_seconds))
    windows = {min(window, so_far) for window in _WINDOWS}
    if so_far < _WINDOWS[0]:
        windows |= {so_far * part for part in _PARTS}
    return [
        sum(row.succeeded for row in progress if row.start >= now - window) / (window.total_seconds() / 3600)
        for window in sorted(windows)
    ]


def totals_by_start(progress: Iterable[ProgressRow]) -> Mapping[datetime, tuple[int, int]]:
    """Return succeeded and failed executions by span, in order of time."""
    found: dict[datetime, tuple[int, int]] = {}
    for row in progress:
        good, bad = found.get(row.start, (0, 0))
        found[row.start] = (good + row.succeeded, bad + row.failed)
    return dict(sorted(found.items()))
