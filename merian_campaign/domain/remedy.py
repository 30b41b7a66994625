"""The afterburner's policy: what of a group may be run again, and with which remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from merian_campaign.domain.backoff import charged
from merian_campaign.domain.quanta import OpenQuanta
from merian_campaign.domain.snapshot import GroupView, Remedy
from merian_campaign.domain.spec.steps import Afterburner, BpsStep
from merian_campaign.domain.states import FINAL_VERDICTS, FREE_VERDICTS, QuantumState, Verdict

MARGIN: Final = 1.25
"""What a quantum is given beyond the most that it was seen to use when it ran out of memory."""

_NEVER_RAN = frozenset({QuantumState.PENDING, QuantumState.RUNNING, QuantumState.UNKNOWN})


@dataclass(frozen=True, kw_only=True)
class ClusterRequest:
    """What a cluster of quanta asks for itself: in BPS that goes before what its tasks ask for.

    Parameters
    ----------
    label : `str`
        Its label under ``cluster`` in a BPS file.
    tasks : `tuple` [`str`, ...]
        Labels of its tasks.
    memory_mb, cpus, walltime : `int` or `None`
        Its own ``requestMemory`` (MiB), ``requestCpus`` and ``requestWalltime`` (minutes), where it has them;
        with what the step asks for its tasks, when that is more.
    """

    label: str
    tasks: tuple[str, ...]
    memory_mb: int | None = None
    cpus: int | None = None
    walltime: int | None = None


@dataclass(frozen=True, kw_only=True)
class RequestTable:
    """What the BPS files and the resources of a step ask for before any remedy; memory in MiB.

    Parameters
    ----------
    default_mb : `int`
        Of tasks that have no request of their own.
    by_task : `~collections.abc.Mapping`
        By task label.
    maximum_mb : `~collections.abc.Mapping`
        Largest request by task label; `None` for a task that has none though others have.
    default_maximum_mb : `int` or `None`
        The same for all other tasks.
    multipliers : `~collections.abc.Mapping`
        ``memoryMultiplier`` by task label, likewise; what is not above 1 never raises a request.
    default_multiplier : `float` or `None`
        The same for all other tasks.
    limit_mb : `int` or `None`
        ``memoryLimit`` of the BPS files.
    clusters : `tuple` [`ClusterRequest`, ...]
        The clusters of the BPS files.
    qgraph_options : `str`
        ``extraQgraphOptions`` of the BPS files.
    environment : `tuple` [`str`, ...]
        Names of the variables that the BPS files set for jobs.
    unused : `tuple` [`str`, ...]
        What the BPS files say that is not used here, a sentence each.
    files : `tuple` [`str`, ...]
        The BPS files themselves, of which later ones win; without the site's.
    site_mb : `int` or `None`
        The most that any node of the site shares out; `None` when only the node knows.
    """

    default_mb: int = 2048
    by_task: Mapping[str, int] = field(default_factory=dict)
    maximum_mb: Mapping[str, int | None] = field(default_factory=dict)
    default_maximum_mb: int | None = None
    multipliers: Mapping[str, float | None] = field(default_factory=dict)
    default_multiplier: float | None = None
    limit_mb: int | None = None
    clusters: tuple[ClusterRequest, ...] = ()
    qgraph_options: str = ""
    environment: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    site_mb: int | None = None

    def base(self, task: str) -> int:
        """Return the request of a task, MiB: its cluster's own goes before it."""
        return self.request(task, Remedy())

    def request(self, task: str, remedy: Remedy) -> int:
        """Return the request of a task under a remedy, MiB."""
        memory = dict(remedy.memory_mb)
        for cluster in self.clusters:
            if task in cluster.tasks and cluster.memory_mb is not None:
                return max(cluster.memory_mb, *(memory.get(other, 0) for other in cluster.tasks))
        return memory.get(task, self.by_task.get(task, self.default_mb))

    def multiplier(self, task: str) -> float | None:
        """Return what the BPS files say that a task's request is multiplied by; `None` for nothing."""
        return self.multipliers.get(task, self.default_multiplier)


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
    """Return the largest request a task may have, MiB.

    That is the least of ``requestMemoryMax``, ``memoryLimit``, the policy's and the site's. A
    ``memoryMultiplier`` that is not above 1 leaves a request as it is, as in BPS.
    """
    multiplier = requests.multiplier(task)
    limits = (
        policy.memory_max,
        requests.maximum_mb.get(task, requests.default_maximum_mb),
        requests.limit_mb,
        requests.site_mb,
        requests.base(task) if multiplier is not None and multiplier <= 1 else None,
    )
    return min(limit for limit in limits if limit is not None)


def is_retryable(open_quanta: OpenQuanta, *, policy: Afterburner, requests: RequestTable) -> bool:
    """Say whether these quanta deserve another attempt. Blocked ones never by themselves.

    Attempts that ran out of memory are counted apart from others: they go on as long as the request can be
    raised, which the group's submissions bound.
    """
    if open_quanta.state in _NEVER_RAN:
        return True
    if open_quanta.state is not QuantumState.FAILED or open_quanta.verdict in FINAL_VERDICTS:
        return False
    if open_quanta.verdict in FREE_VERDICTS:
        return True
    of_memory = open_quanta.memory_attempts if policy.max_attempts > 1 else 0
    if open_quanta.charged_attempts - of_memory >= policy.max_attempts:
        return False
    return open_quanta.verdict is not Verdict.OUT_OF_MEMORY or _can_grow(open_quanta, policy, requests)


def _can_grow(open_quanta: OpenQuanta, policy: Afterburner, requests: RequestTable) -> bool:
    """Say whether the request of quanta that ran out of memory can be raised."""
    if open_quanta.requested_mb is None:
        return open_quanta.memory_attempts < policy.max_attempts
    return open_quanta.requested_mb < memory_limit(task=open_quanta.task, policy=policy, requests=requests)


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
    raised once stays raised for the group. What a quantum really asked for when it ran out is multiplied
    at least once: it may have been more than its task's request (the largest of a cluster's), or have
    been raised before. The last submission that a group may have asks for all that is allowed, where it is
    known what nodes have: whatever the first request was, none is given up below that. Workers a node shrink
    alike, so that the bigger quanta find room.

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
    asked: dict[str, int] = {}
    peaks: dict[str, int] = {}
    for entry in group.open_quanta:
        if entry.verdict is Verdict.OUT_OF_MEMORY and is_retryable(entry, policy=policy, requests=requests):
            attempts[entry.task] = max(attempts.get(entry.task, 0), entry.memory_attempts)
            asked[entry.task] = max(asked.get(entry.task, 0), entry.requested_mb or 0)
            peaks[entry.task] = max(peaks.get(entry.task, 0), entry.peak_mb or 0)
    for task, times in attempts.items():
        resources = step.resources.get(task)
        given = resources.memory_multiplier if resources is not None else None
        multiplier = given or requests.multiplier(task) or policy.memory_multiplier
        formula = max(requests.base(task) * multiplier**times, asked[task] * multiplier)
        wanted = max(int(formula), int(peaks[task] * MARGIN))
        limit = memory_limit(task=task, policy=policy, requests=requests)
        if requests.site_mb is not None and charged(group) + 1 >= policy.max_submissions:
            wanted = limit
        memory[task] = max(memory.get(task, 0), min(wanted, limit))
    fewer: int | None = None
    if attempts:
        fewer = policy.workers or max(1, int(workers / policy.memory_multiplier ** max(attempts.values())))
    elif memory:
        fewer = group.submissions[-1].remedy.workers
    return Remedy(memory_mb=tuple(sorted(memory.items())), workers=fewer)


def with_asked(found: Remedy, asked: Remedy) -> Remedy:
    """Return a remedy with what a person asked for; of memory the larger of the two."""
    memory = dict(found.memory_mb)
    for task, wanted in asked.memory_mb:
        memory[task] = max(wanted, memory.get(task, 0))
    return replace(found, memory_mb=tuple(sorted(memory.items())), walltime=asked.walltime)


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
    parts += [f"{task} gets {minutes} minutes" for task, minutes in remedy.walltime]
    if remedy.workers is not None:
        parts.append(f"{remedy.workers} worker{'s' if remedy.workers > 1 else ''} a node")
    return ", ".join(parts)
