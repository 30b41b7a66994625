"""The afterburner's policy: what of a group may be run again, and with which remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from merian_campaign.domain.quanta import OpenQuanta
from merian_campaign.domain.snapshot import GroupView, Remedy
from merian_campaign.domain.spec.steps import Afterburner, BpsStep
from merian_campaign.domain.states import QuantumState, Verdict

FINAL_VERDICTS = frozenset({Verdict.ALGORITHM, Verdict.CONFIGURATION})
"""Verdicts that a retry cannot cure."""

_NEVER_RAN = frozenset({QuantumState.PENDING, QuantumState.RUNNING, QuantumState.UNKNOWN})


@dataclass(frozen=True, kw_only=True)
class RequestTable:
    """Memory requests before any remedy, MiB.

    Parameters
    ----------
    default_mb : `int`
        Of tasks that have no request of their own.
    by_task : `~collections.abc.Mapping`
        By task label.
    maximum_mb : `~collections.abc.Mapping`
        Largest request by task label, where one is set.
    site_mb : `int` or `None`
        The most that any node of the site shares out; `None` when only the node knows.
    """

    default_mb: int = 2048
    by_task: Mapping[str, int] = field(default_factory=dict)
    maximum_mb: Mapping[str, int] = field(default_factory=dict)
    site_mb: int | None = None

    def base(self, task: str) -> int:
        """Return the request of a task, MiB."""
        return self.by_task.get(task, self.default_mb)

    def request(self, task: str, remedy: Remedy) -> int:
        """Return the request of a task under a remedy, MiB."""
        return dict(remedy.memory_mb).get(task, self.base(task))


@dataclass(frozen=True, kw_only=True)
class Prospects:
    """What the open quanta of a group have before them.

    Parameters
    ----------
    retryable, hopeless : `tuple` [`OpenQuanta`, ...]
        Those a further submission may cure, and those it cannot (blocked ones are in neither).
    blocked : `int`
        Quanta behind failed ones.
    """

    retryable: tuple[OpenQuanta, ...]
    hopeless: tuple[OpenQuanta, ...]
    blocked: int


def memory_limit(*, task: str, policy: Afterburner, requests: RequestTable) -> int:
    """Return the largest request a task may have, MiB: ``requestMemoryMax``, the policy's or the site's."""
    limit = min(requests.maximum_mb.get(task, policy.memory_max), policy.memory_max)
    return limit if requests.site_mb is None else min(limit, requests.site_mb)


def is_retryable(open_quanta: OpenQuanta, *, policy: Afterburner, requests: RequestTable) -> bool:
    """Say whether these quanta deserve another attempt. Blocked ones never by themselves."""
    if open_quanta.state in _NEVER_RAN:
        return True
    if open_quanta.state is not QuantumState.FAILED or open_quanta.verdict in FINAL_VERDICTS:
        return False
    if open_quanta.verdict is Verdict.NODE_LOST:
        return True
    if open_quanta.charged_attempts >= policy.max_attempts:
        return False
    if open_quanta.verdict is Verdict.OUT_OF_MEMORY and open_quanta.requested_mb is not None:
        return open_quanta.requested_mb < memory_limit(
            task=open_quanta.task, policy=policy, requests=requests
        )
    return True


def prospects(group: GroupView, *, policy: Afterburner, requests: RequestTable) -> Prospects:
    """Divide a group's open quanta into what may be cured and what may not."""
    blocked = [entry for entry in group.open_quanta if entry.state is QuantumState.BLOCKED]
    others = [entry for entry in group.open_quanta if entry.state is not QuantumState.BLOCKED]
    retryable = [entry for entry in others if is_retryable(entry, policy=policy, requests=requests)]
    hopeless = [entry for entry in others if entry not in retryable]
    if not others:
        # What blocked them has succeeded since (or is not of this group): they can run now.
        retryable = blocked
    return Prospects(
        retryable=tuple(retryable), hopeless=tuple(hopeless), blocked=sum(entry.number for entry in blocked)
    )


def next_remedy(
    group: GroupView, *, step: BpsStep, policy: Afterburner, requests: RequestTable, workers: int
) -> Remedy:
    """Return what the next submission of a group does differently.

    Memory follows the formula BPS users know, ``min(requestMemory * memoryMultiplier**n,
    requestMemoryMax)``, with n counting only attempts whose verdict was memory; a request that was
    raised once stays raised for the group. Workers a node shrink alike, so that the bigger quanta
    find room.

    Parameters
    ----------
    group : `GroupView`
        The group.
    step : `BpsStep`
        Its step (for per-task multipliers).
    policy : `Afterburner`
        The retry policy.
    requests : `RequestTable`
        Requests before any remedy.
    workers : `int`
        The site's workers a node.
    """
    memory = dict(group.submissions[-1].remedy.memory_mb) if group.submissions else {}
    attempts: dict[str, int] = {}
    for entry in group.open_quanta:
        if entry.verdict is Verdict.OUT_OF_MEMORY and is_retryable(entry, policy=policy, requests=requests):
            attempts[entry.task] = max(attempts.get(entry.task, 0), entry.memory_attempts)
    for task, times in attempts.items():
        resources = step.resources.get(task)
        multiplier = (resources and resources.memory_multiplier) or policy.memory_multiplier
        wanted = int(requests.base(task) * multiplier**times)
        limit = memory_limit(task=task, policy=policy, requests=requests)
        memory[task] = max(memory.get(task, 0), min(wanted, limit))
    fewer: int | None = None
    if attempts:
        fewer = policy.workers or max(1, int(workers / policy.memory_multiplier ** max(attempts.values())))
    elif memory:
        fewer = group.submissions[-1].remedy.workers
    return Remedy(memory_mb=tuple(sorted(memory.items())), workers=fewer)


def describe_failures(entries: Iterable[OpenQuanta]) -> str:
    """Say in words which quanta have which verdict, e.g. ``calibrate: out of memory x2``."""
    found: dict[tuple[str, str], int] = {}
    for entry in entries:
        words = (entry.verdict or entry.state).value.replace("_", " ")
        found[entry.task, words] = found.get((entry.task, words), 0) + entry.number
    return ", ".join(f"{task}: {words} x{number}" for (task, words), number in sorted(found.items()))


def describe_remedy(remedy: Remedy) -> str:
    """Say in words what a remedy changes; empty when it changes nothing."""
    parts = [f"{task} gets {memory} MB" for task, memory in remedy.memory_mb]
    if remedy.workers is not None:
        parts.append(f"{remedy.workers} worker{'s' if remedy.workers > 1 else ''} a node")
    return ", ".join(parts)
