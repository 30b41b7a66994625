"""When a campaign is expected to end: a range, from how fast it went lately and over longer times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from operator import or_
from typing import Final

from merian_campaign.domain.report.rows import ProgressRow
from merian_campaign.domain.resources.foreseen import Foreseen

_WINDOWS: Final = (timedelta(hours=6), timedelta(hours=24), timedelta(days=3), timedelta(days=7))
_PARTS: Final = (0.25, 0.5, 1.0)
"""Of the time so far, where that is shorter than the windows."""

_NEAR: Final = timedelta(hours=20)
"""Until then an end is told to the minute, not to the day."""

_NAMED: Final = 3
"""Steps of unknown size that are named."""

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
    foreseen : `Foreseen`
        Groups that have no graph yet.
    hours_each : `float` or `None`
        How long a quantum of it ran until it was done, failures included, on average; `None` where none did.
    """

    step: str
    open: int
    foreseen: Foreseen
    hours_each: float | None = None


@dataclass(frozen=True, kw_only=True)
class StepOutlook:
    """When a step ends, if steps end in their order: at the earliest and at the latest.

    `None` where nobody can say, and where nothing of it is left that will run.
    """

    step: str
    foreseen: int
    low: datetime | None
    high: datetime | None


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """When it ends, at the earliest and at the latest, or why nobody can say; the same of its steps.

    Where nobody knows the size of steps (``unsized``), it has no latest end.
    """

    low: datetime | None
    high: datetime | None
    words: str
    foreseen: int
    per_hour: float
    steps: tuple[StepOutlook, ...] = ()
    unsized: tuple[str, ...] = ()


def outlook(
    steps: Iterable[StepAhead],
    progress: Sequence[ProgressRow],
    *,
    span_seconds: int,
    now: datetime,
    moves: bool,
) -> Outlook:
    """Return the outlook of a campaign.

    What is left counts by how long it runs, step by step: a coadd is not a detector. The rate is what ran at
    the same time, on average, over windows that end now. The range spans the rates of the windows, the
    quartiles of the sizes of groups without a graph, and, for a step that never ran, what the others take.

    Parameters
    ----------
    steps : `~collections.abc.Iterable` [`StepAhead`]
        What is still to come, in order.
    progress : `~collections.abc.Sequence` [`ProgressRow`]
        What ended when, in spans of ``span_seconds``.
    now : `datetime.datetime`
        UTC.
    moves : `bool`
        Whether anything runs or is ready to.
    """
    listed = tuple(steps)
    unknown = tuple(one.step for one in listed if one.foreseen.quanta is None)
    lengths = {one.step: one.hours_each for one in listed if one.hours_each}
    usual = sum(lengths.values()) / len(lengths) if lengths else 1.0
    weights = {one.step: lengths.get(one.step, usual) for one in listed}
    counted = _rates(progress, span_seconds=span_seconds, now=now, weights={})
    rates = [rate for rate in _rates(progress, span_seconds=span_seconds, now=now, weights=weights) if rate]
    nobody_knows = _why_no_end(listed, moves=moves, rates=rates)
    ends = [] if nobody_knows else _ends(listed, lengths=lengths, rates=rates, now=now)
    low, high = ends[-1] if ends else (None, None)
    uncounted = f"{_named(unknown)} not counted: of unknown size until a graph is there" if unknown else ""
    return Outlook(
        low=low,
        high=high,
        words=nobody_knows or uncounted,
        foreseen=sum(one.foreseen.quanta or 0 for one in listed),
        per_hour=counted[0] if counted else 0.0,
        steps=tuple(
            StepOutlook(
                step=one.step,
                foreseen=one.foreseen.quanta or 0,
                low=first if one.open or one.foreseen.groups else None,
                high=last if one.open or one.foreseen.groups else None,
            )
            for one, (first, last) in zip(listed, ends or [(None, None)] * len(listed), strict=True)
        ),
        unsized=unknown,
    )


def _why_no_end(listed: Sequence[StepAhead], *, moves: bool, rates: Sequence[float]) -> str:
    """Say why nobody knows when a campaign ends; empty when that can be told."""
    if all(one.foreseen.quanta is not None and not one.open + one.foreseen.quanta for one in listed):
        return "nothing is left to run"
    if not moves:
        return "nothing runs, and nothing is ready to"
    return "" if rates else "too little has ended to tell"


def _ends(
    listed: Sequence[StepAhead], *, lengths: Mapping[str, float], rates: Sequence[float], now: datetime
) -> list[tuple[datetime | None, datetime | None]]:
    """Return when each step ends at the earliest and at the latest, if they end in their order.

    There is no latest end from the first step on of which nobody knows the size.
    """
    shortest, longest = min(lengths.values(), default=1.0), max(lengths.values(), default=1.0)
    least = accumulate((one.open + one.foreseen.least) * lengths.get(one.step, shortest) for one in listed)
    most = accumulate((one.open + one.foreseen.most) * lengths.get(one.step, longest) for one in listed)
    unsized = accumulate((one.foreseen.quanta is None for one in listed), or_)
    return [
        (
            _ahead(now, hours=first / max(rates)),
            None if unknown else _ahead(now, hours=last / min(rates)),
        )
        for first, last, unknown in zip(least, most, unsized, strict=True)
    ]


def span_words(now: datetime, low: datetime | None, high: datetime | None) -> str:
    """Return in words when something is expected to end, as exact as it is near; empty if nobody can say.

    Without a latest end it is the earliest one.
    """
    if low is None:
        return ""
    near = (high or low) - now < _NEAR
    first = _time_words(low, near=near)
    if high is None:
        return f"after {first}"
    last = _time_words(high, near=near)
    if first == last:
        return first
    if near:
        return f"{first}\N{EN DASH}{last}"
    same = (low.year, low.month) == (high.year, high.month)
    return f"{low.day}\N{EN DASH}{last}" if same else f"{first} \N{EN DASH} {last}"


def _time_words(when: datetime, *, near: bool) -> str:
    return f"{when:%H:%M}" if near else f"{when.day} {when:%b}"


def _named(steps: Sequence[str]) -> str:
    """Return the first of some steps, and how many more there are, with a verb to come."""
    rest = len(steps) - _NAMED
    if rest > 0:
        return f"{', '.join(steps[:_NAMED])} and {rest} more are"
    *first, last = steps
    return f"{', '.join(first)} and {last} are" if first else f"{last} is"


def _ahead(now: datetime, *, hours: float) -> datetime:
    return now + min(_FARTHEST, timedelta(hours=min(hours, _FARTHEST.total_seconds() / 3600)))


def _rates(
    progress: Sequence[ProgressRow], *, span_seconds: int, now: datetime, weights: Mapping[str, float]
) -> list[float]:
    """Return what was done an hour over several windows that end now, the shortest first.

    A quantum counts as its step's ``weights`` say, without one as 1.
    """
    if not progress:
        return []
    begin = min(row.start for row in progress)
    so_far = max(now - begin, timedelta(seconds=span_seconds))
    windows = {min(window, so_far) for window in _WINDOWS}
    if so_far < _WINDOWS[0]:
        windows |= {so_far * part for part in _PARTS}
    return [
        sum(row.succeeded * weights.get(row.step, 1.0) for row in progress if row.start >= now - window)
        / (window.total_seconds() / 3600)
        for window in sorted(windows)
    ]


def totals_by_start(progress: Iterable[ProgressRow]) -> Mapping[datetime, tuple[int, int]]:
    """Return succeeded and failed executions by span, in order of time."""
    found: dict[datetime, tuple[int, int]] = {}
    for row in progress:
        good, bad = found.get(row.start, (0, 0))
        found[row.start] = (good + row.succeeded, bad + row.failed)
    return dict(sorted(found.items()))
