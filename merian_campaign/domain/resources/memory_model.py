"""The memory request of a task, learned from what its quanta were measured to use.

Measurements are kept in bins: how many quanta of a task, with so many inputs, in groups of so many exposures,
used so much, and how long. Of a quantum that ran out of memory only a lower bound is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Final

from merian_campaign.domain.failures.remedy import MARGIN, RequestTable, memory_limit
from merian_campaign.domain.record.snapshot import GroupView, Remedy
from merian_campaign.domain.spec.base import MOST_MEMORY
from merian_campaign.domain.spec.resources import Afterburner
from merian_campaign.domain.spec.steps import BpsStep

__all__ = [
    "EXPLAINED",
    "FEWEST_OF_A_CLASS",
    "FEWEST_TO_LOWER",
    "FEWEST_TO_RAISE",
    "HEADROOM",
    "MOST_OVER",
    "RAISED_ABOVE",
    "MemoryBin",
    "MemoryForecast",
    "forecast",
    "forecasts",
    "with_learned",
]

FEWEST_TO_LOWER: Final = 200
"""Measured quanta of a task before its request is lowered: a quantile of fewer says little."""

FEWEST_TO_RAISE: Final = 10
"""Measured quanta of a task before its request is raised for all."""

MOST_OVER: Final = 0.2
"""Part of a task's quanta that a learned request may leave to a second attempt, where that is cheaper."""

RAISED_ABOVE: Final = 0.3
"""Part of a task's quanta that may have needed more before the request of the whole task is raised."""

FEWEST_OF_A_CLASS: Final = 100
"""Measured quanta with about as many inputs or exposures, before these have a request of their own."""

EXPLAINED: Final = 0.85
"""Part of the GB-hours of one request for all that requests by such a number may need, to be worth it."""

HEADROOM: Final = 1.1
"""A learned request over the use that it is learned from."""

_SMALLEST_MB: Final = 256
_MOST_RUNGS: Final = 20
_MB_HOURS: Final = 1024 * 3600


@dataclass(frozen=True, kw_only=True)
class MemoryBin:
    """Quanta of a task that used about the same.

    Parameters
    ----------
    peak_mb : `int`
        The most that they used, MiB, rounded up by at most a twentieth.
    number : `int`
        How many executions.
    seconds : `float`
        Run time of all of them.
    inputs : `int`
        Their groups were made from at least so many exposures, and less than twice as many; 0: nobody knows.
    datasets : `int`
        Each has at least so many input datasets, and less than twice as many; 0: nobody knows.
    needed_more : `bool`
        Whether they ran out of memory there.
    """

    peak_mb: int
    number: int
    seconds: float = 0.0
    inputs: int = 0
    datasets: int = 0
    needed_more: bool = False

    @property
    def needs_mb(self) -> float:
        """What they need, as far as is known."""
        return self.peak_mb * (MARGIN if self.needed_more else 1.0)


@dataclass(frozen=True, kw_only=True)
class MemoryForecast:
    """The request that a task gets next, and what is to be expected of it.

    Parameters
    ----------
    task : `str`
        Its label.
    request_mb : `int`
        The request, MiB.
    measured : `int`
        Quanta that it is learned from.
    fits : `float`
        Part of the quanta that it is enough for.
    wasted : `float`
        GB-hours that a thousand quanta ask for and do not use, second attempts included.
    learned : `bool`
        Whether it is another than what the files ask for.
    by_exposures : `tuple` [`tuple` [`int`, `int`], ...]
        Where the number of exposures explains the spread: from so many on, the request, MiB; ascending.
    by_inputs : `tuple` [`tuple` [`int`, `int`], ...]
        Where the number of a quantum's own inputs explains more of it: the same.
    limit_mb : `int`
        The most that may be asked for.
    """

    task: str
    request_mb: int
    measured: int
    fits: float
    wasted: float
    learned: bool
    by_exposures: tuple[tuple[int, int], ...] = ()
    by_inputs: tuple[tuple[int, int], ...] = ()
    limit_mb: int = MOST_MEMORY

    def request_for(self, exposures: int) -> int:
        """Return the request in a group of so many exposures, MiB; 0 is a number that nobody knows.

        More exposures than were ever measured get more in proportion. Where each quantum asks by its own
        inputs, the largest request.
        """
        if self.by_inputs:
            return max(request for _, request in self.by_inputs)
        if not self.by_exposures or not exposures:
            return max([self.request_mb, *(request for _, request in self.by_exposures)])
        known = [entry for entry in self.by_exposures if entry[0] <= exposures] or [self.by_exposures[0]]
        fewest, request = known[-1]
        beyond = exposures / (2 * fewest) if known[-1] == self.by_exposures[-1] else 1.0
        return min(int(request * max(1.0, beyond)), self.limit_mb)

    @property
    def retries(self) -> float:
        """Second attempts that are to be expected of a hundred quanta."""
        return 100 * (1 - self.fits)


@dataclass(frozen=True, kw_only=True)
class _Uses:
    """Bins in the order of what they need, with sums from the end of those that need more."""

    bins: Sequence[MemoryBin]
    multiplier: float
    number: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", sum(entry.number for entry in self.bins))

    def over(self, request_mb: float) -> float:
        """Return which part needs more than a request."""
        return sum(entry.number for entry in self.bins if entry.needs_mb > request_mb) / self.number

    def cost(self, request_mb: float) -> tuple[float, float]:
        """Return the MiB-seconds that all of them ask for under a request, and those that they use."""
        asked, used = 0.0, 0.0
        for entry in self.bins:
            used += entry.needs_mb * entry.seconds
            rung = request_mb
            asked += rung * entry.seconds
            for _ in range(_MOST_RUNGS):
                if rung >= entry.needs_mb:
                    break
                # As the afterburner does it: what is ended at its limit has used no more than that.
                rung *= self.multiplier
                asked += rung * entry.seconds
        return asked, used


def forecast(
    task: str,
    bins: Iterable[MemoryBin],
    *,
    base_mb: int,
    limit_mb: int,
    multiplier: float,
    may_lower: bool = True,
    by_inputs: bool = True,
) -> MemoryForecast:
    """Return the request that a task gets next.

    Parameters
    ----------
    task : `str`
        Its label.
    bins : iterable of `MemoryBin`
        What its quanta used, at least one.
    base_mb : `int`
        What the files ask for, MiB.
    limit_mb : `int`
        The most that may be asked for, MiB.
    multiplier : `float`
        What the afterburner multiplies a request by.
    may_lower : `bool`, optional
        Whether it may be less than the files ask for; not where a person has asked for it by task.
    by_inputs : `bool`, optional
        Whether each quantum may ask by its own inputs.

    Notes
    -----
    Of a few it is what the files say, unless more than `RAISED_ABOVE` needed more. Of many, the quantile
    of the measured use, with headroom, for which the fewest GB-hours are asked for, second attempts included;
    never one that leaves more than `MOST_OVER` to those.
    """
    uses = _Uses(bins=_resolved(bins), multiplier=multiplier)
    request = base_mb
    if uses.number >= FEWEST_TO_LOWER:
        best = _cheapest(uses)
        request = best if may_lower else max(base_mb, best)
    elif uses.number >= FEWEST_TO_RAISE and uses.over(base_mb) > RAISED_ABOVE:
        request = max(base_mb, int(max(entry.needs_mb for entry in uses.bins) * HEADROOM))
    least = base_mb if not may_lower else min(_SMALLEST_MB, base_mb)

    def allowed(wanted: int) -> int:
        return max(min(wanted, limit_mb), min(least, limit_mb))

    request = allowed(request)
    asked, used = uses.cost(request)
    over = uses.over(request)
    candidates = [_RequestsByNumber.of(uses, "inputs", allowed)]
    if by_inputs:
        candidates.append(_RequestsByNumber.of(uses, "datasets", allowed))
    chosen = min((one for one in candidates if one is not None), key=lambda one: one.asked, default=None)
    if chosen is not None and chosen.asked > EXPLAINED * asked:
        chosen = None
    if chosen is not None:
        asked, used, over = chosen.asked, chosen.used, chosen.over
    return MemoryForecast(
        task=task,
        request_mb=request,
        measured=uses.number,
        fits=1 - over,
        wasted=1000 * max(0.0, asked - used) / _MB_HOURS / uses.number,
        learned=request != base_mb or chosen is not None,
        by_exposures=chosen.requests if chosen is not None and chosen.number == "inputs" else (),
        by_inputs=chosen.requests if chosen is not None and chosen.number == "datasets" else (),
        limit_mb=limit_mb,
    )


@dataclass(frozen=True, kw_only=True)
class _RequestsByNumber:
    """Requests by a number that bins tell, and what they come to."""

    number: str
    requests: tuple[tuple[int, int], ...]
    asked: float
    used: float
    over: float

    @classmethod
    def of(cls, uses: _Uses, number: str, allowed: Callable[[int], int]) -> _RequestsByNumber | None:
        """Return the requests by a number; `None` where too little is known."""
        classes = _classes(uses, number) if uses.number >= FEWEST_TO_LOWER else ()
        if not classes:
            return None
        requests = [allowed(_cheapest(entry)) for entry in classes]
        costs = [entry.cost(wanted) for entry, wanted in zip(classes, requests, strict=True)]
        pairs = zip(classes, requests, strict=True)
        return cls(
            number=number,
            requests=tuple(
                (min(getattr(one, number) for one in entry.bins), request)
                for entry, request in zip(classes, requests, strict=True)
            ),
            asked=sum(cost for cost, _ in costs),
            used=sum(use for _, use in costs),
            over=sum(entry.over(wanted) * entry.number for entry, wanted in pairs) / uses.number,
        )


def _classes(uses: _Uses, number: str) -> tuple[_Uses, ...]:
    """Divide bins by a number, none with too few quanta; not where some do not tell it."""
    tells = attrgetter(number)
    if not all(map(tells, uses.bins)):
        return ()
    found: list[list[MemoryBin]] = [[]]
    for value in sorted(set(map(tells, uses.bins))):
        if sum(entry.number for entry in found[-1]) >= FEWEST_OF_A_CLASS:
            found.append([])
        found[-1] += [entry for entry in uses.bins if tells(entry) == value]
    if len(found) > 1 and sum(entry.number for entry in found[-1]) < FEWEST_OF_A_CLASS:
        last = found.pop()
        found[-1] += last
    return tuple(_Uses(bins=bins, multiplier=uses.multiplier) for bins in found) if len(found) > 1 else ()


def _cheapest(uses: _Uses) -> int:
    candidates = sorted(
        {max(_SMALLEST_MB, -(-int(entry.needs_mb * HEADROOM * 16) // 16)) for entry in uses.bins}
    )
    allowed = [request for request in candidates if uses.over(request) <= MOST_OVER]
    return min(allowed, key=lambda request: (uses.cost(request)[0], -request))


def _resolved(bins: Iterable[MemoryBin]) -> tuple[MemoryBin, ...]:
    """Leave out of what ran out of memory those that have succeeded since, as far as that can be told.

    Those are counted twice: once with a lower bound, and once with what they used. As many as succeeded with
    more than that bound may be them.
    """
    given = sorted(bins, key=lambda entry: (entry.peak_mb, not entry.needed_more), reverse=True)
    free, kept = 0, []
    for entry in given:
        if not entry.needed_more:
            free += entry.number
            kept.append(entry)
            continue
        left = max(0, entry.number - free)
        free = max(0, free - entry.number)
        if left:
            part = left / entry.number
            kept.append(replace(entry, number=left, seconds=entry.seconds * part))
    return tuple(kept)


def forecasts(
    step: BpsStep,
    measured: Mapping[str, Sequence[MemoryBin]],
    *,
    policy: Afterburner,
    requests: RequestTable,
    only_raise: bool = False,
) -> tuple[MemoryForecast, ...]:
    """Return what each measured task of a step gets next, by label.

    Parameters
    ----------
    step : `BpsStep`
        The step.
    measured : `~collections.abc.Mapping`
        What its tasks' quanta used.
    policy : `Afterburner`
        Its retry policy.
    requests : `RequestTable`
        What the files ask for.
    only_raise : `bool`, optional
        Whether no request may be lower than in the files.
    """
    found = []
    clustered = {task for cluster in requests.clusters for task in cluster.tasks}
    for task, bins in sorted(measured.items()):
        own = step.resources.get(task)
        multiplier = (own and own.memory_multiplier) or requests.multiplier(task) or policy.memory_multiplier
        if not bins or multiplier <= 1:
            continue
        found.append(
            forecast(
                task,
                bins,
                base_mb=requests.base(task),
                limit_mb=memory_limit(task=task, policy=policy, requests=requests),
                multiplier=multiplier,
                may_lower=not only_raise and (own is None or own.memory is None),
                by_inputs=not only_raise and task not in clustered,
            )
        )
    return tuple(found)


def with_learned(
    found: Remedy,
    learned: Iterable[MemoryForecast],
    *,
    group: GroupView,
    requests: RequestTable,
    exposures: int = 0,
) -> Remedy:
    """Return a remedy with learned requests; what a group has asked for once is never lowered again."""
    memory, by_inputs = dict(found.memory_mb), dict(found.by_inputs)
    for entry in learned:
        if not entry.learned:
            continue
        before = requests.request(entry.task, found) if group.submissions else 0
        request = entry.request_for(exposures)
        if request > before:
            memory[entry.task] = request
        if entry.by_inputs and not group.submissions:
            by_inputs[entry.task] = entry.by_inputs
    return replace(found, memory_mb=tuple(sorted(memory.items())), by_inputs=tuple(sorted(by_inputs.items())))
