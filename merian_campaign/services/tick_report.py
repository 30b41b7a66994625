"""What a tick did, and what the next one would do: values that commands and reports show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from merian_campaign.domain.record.snapshot import Snapshot
from merian_campaign.domain.resources.core_hours import Price
from merian_campaign.domain.resources.expected_cost import Expected
from merian_campaign.domain.resources.memory_model import MemoryForecast
from merian_campaign.domain.tick.decisions import Decision


@dataclass(frozen=True, kw_only=True)
class TickReport:
    """What a tick did.

    Parameters
    ----------
    actions : `tuple` [`str`, ...]
        In words, in order; progress taken in is not among them.
    live : `int`
        Unfinished submissions when it ended.
    progressed : `int`
        Quantum rows that live progress changed.
    notes : `tuple` [`str`, ...]
        What was seen besides, e.g. that Slurm does not answer.
    trouble : `Exception` or `None`
        What is wrong with this machine, for which nothing more was started.
    waiting : `bool`
        Whether the scheduler still has jobs of it, or it or the butler has to answer before it can go on, or
        something is tried again later.
    resting : `bool`
        Whether the hour, or a night's budget, keeps from starting what is ready.
    outcomes : `tuple` [`str`, ...]
        The files that drivers leave when they end, of those under way.
    """

    actions: tuple[str, ...]
    live: int
    progressed: int
    notes: tuple[str, ...] = ()
    trouble: Exception | None = None
    waiting: bool = False
    resting: bool = False
    outcomes: tuple[str, ...] = ()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and nothing was done: only a person can move it on."""
        return not self.actions and self.live == 0 and not self.waiting and self.trouble is None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the next tick would do.

    Parameters
    ----------
    decisions : `tuple` [`Decision`, ...]
        In order.
    snapshot : `Snapshot`
        What they rest on.
    reasons : `~collections.abc.Mapping` [`int`, `str`]
        By id, what groups that have not started, or have no driver now, wait for, in words.
    looks : `bool`
        Whether it would first ask the butler for overlaps, after which there may be more to do.
    prices : `~collections.abc.Mapping` [`str`, `Price`]
        By ``STEP/GROUP``, what is, will be or could be made anew would cost.
    memory : `~collections.abc.Mapping`
        By step of which something would be submitted, the requests of its tasks by what was measured.
    closed : `str`
        Why it is no hour to submit anything, in words; empty when it is.
    expected : `~collections.abc.Mapping` [`int`, `Expected`]
        By group id, what its next submission is expected to cost.
    """

    decisions: tuple[Decision, ...]
    snapshot: Snapshot
    reasons: Mapping[int, str]
    looks: bool
    prices: Mapping[str, Price] = field(default_factory=dict)
    memory: Mapping[str, tuple[MemoryForecast, ...]] = field(default_factory=dict)
    closed: str = ""
    expected: Mapping[int, Expected] = field(default_factory=dict)
