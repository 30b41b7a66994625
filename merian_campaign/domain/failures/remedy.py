"""The afterburner's policy: what of a group may be run again, and with which remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from merian_campaign.domain.execution.quanta import OpenQuanta
from merian_campaign.domain.failures.backoff import charged
from merian_campaign.domain.failures.rule_remedy import (
    AGAIN_REMEDIES,
    HELD_REMEDIES,
    RuleRemedy,
    allowed,
    read_remedy,
)
from merian_campaign.domain.record.snapshot import GroupView, Remedy
from merian_campaign.domain.spec.resources import Afterburner
from merian_campaign.domain.spec.steps import BpsStep
from merian_campaign.domain.states import FINAL_VERDICTS, FREE_VERDICTS, QuantumState, Verdict

MARGIN: Final = 1.25
"""What a quantum is given beyond the most that it was seen to use when it ran out of memory."""

LONGER: Final = 2
"""Times as long as it ran before a limit ended it, for what a rule gives more time."""

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
    default_cpus : `int`
        ``requestCpus`` of tasks that have none of their own.
    cpus_by_task : `~collections.abc.Mapping`
        The same by task label; `None` for a task that has none though others have.
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
    default_cpus: int = 1
    cpus_by_task: Mapping[str, int | None] = field(default_factory=dict)

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

    def cpus(self, task: str) -> int:
        """Return the cores that a task asks for, or the cluster that it is in."""
        own = self.cpus_by_task.get(task, self.default_cpus) or 1
        return max([own, *(entry.cpus or 1 for entry in self.clusters if task in entry.tasks)])

    def multiplier(self, task: str) -> float | None:
        """Return what the BPS files say that a task's request is multiplied by; `None` for nothing."""
        return self.multipliers.get(task, self.default_multiplier)


@dataclass(frozen=True, kw_only=True)
class Prospects:
    """What the open quanta of a group have before them.

    Parameters
    ----------
    retryable, hopeless : `tuple` [`OpenQuanta`, ...]
        Those a further submission may cure, and those it cannot (blocked and accepted ones are in neither).
    accepted : `tuple` [`OpenQuanta`, ...]
        Those without which the group may go on, as a rule has it and within what that allows.
    blocked : `int`
        Quanta behind failed ones.
    """

    retryable: tuple[OpenQuanta, ...]
    hopeless: tuple[OpenQuanta, ...]
    blocked: int
    accepted: tuple[OpenQuanta, ...] = ()


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

    What a failure rule has done about them goes before what their verdict has. Attempts that ran out of
    memory are counted apart from others: they go on as long as the request can be raised, which the
    submissions of the group bound. Where a rule does not raise it, they count like all others.
    """
    if open_quanta.state in _NEVER_RAN:
        return True
    ruled, _ = read_remedy(open_quanta.remedy)
    if open_quanta.state is not QuantumState.FAILED or ruled in HELD_REMEDIES:
        return False
    if open_quanta.verdict in FINAL_VERDICTS and ruled not in AGAIN_REMEDIES:
        return False
    if open_quanta.verdict in FREE_VERDICTS:
        return True
    grows = _gets_memory(open_quanta)
    # With one attempt to have, those of memory are no others; with a rule that raises nothing, neither.
    apart = policy.max_attempts > 1 and (grows or open_quanta.verdict is not Verdict.OUT_OF_MEMORY)
    of_memory = open_quanta.memory_attempts if apart else 0
    if open_quanta.charged_attempts - of_memory >= policy.max_attempts:
        return False
    return not grows or _can_grow(open_quanta, policy, requests)


def _gets_memory(open_quanta: OpenQuanta) -> bool:
    """Say whether these quanta ran out of memory, and are to have more of it."""
    ruled, _ = read_remedy(open_quanta.remedy)
    return open_quanta.verdict is Verdict.OUT_OF_MEMORY and ruled in {
        None,
        RuleRemedy.MORE_MEMORY,
        RuleRemedy.PAUSE_CAMPAIGN,
    }


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
    accepted = _accepted(others)
    hopeless = [entry for entry in others if entry not in retryable and entry not in accepted]
    if not others:
        # What blocked them has succeeded since (or is not of this group): they can run now.
        retryable = blocked
    return Prospects(
        retryable=tuple(retryable),
        hopeless=tuple(hopeless),
        blocked=sum(entry.number for entry in blocked),
        accepted=tuple(accepted),
    )


def _accepted(entries: Iterable[OpenQuanta]) -> list[OpenQuanta]:
    """Return what rules accept the loss of, each as far as it allows: all of what it matches, or nothing."""
    by_rule: dict[tuple[str, str | None], list[OpenQuanta]] = {}
    for entry in entries:
        if read_remedy(entry.remedy)[0] is RuleRemedy.ACCEPT and entry.state is QuantumState.FAILED:
            by_rule.setdefault((entry.task, entry.rule), []).append(entry)
    found = []
    for same in by_rule.values():
        _, up_to = read_remedy(same[0].remedy)
        if sum(entry.number for entry in same) <= allowed(up_to, of=max(entry.of for entry in same)):
            found += same
    return found


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

    Failure rules add what they have done: more time, fewer workers, other nodes. None of it shrinks again.

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
    before = group.submissions[-1].remedy if group.submissions else Remedy()
    memory = dict(before.memory_mb)
    again = [entry for entry in group.open_quanta if is_retryable(entry, policy=policy, requests=requests)]
    attempts: dict[str, int] = {}
    asked: dict[str, int] = {}
    peaks: dict[str, int] = {}
    for entry in again:
        if entry.state is QuantumState.FAILED and _gets_memory(entry):
            attempts[entry.task] = max(attempts.get(entry.task, 0), entry.memory_attempts)
            asked[entry.task] = max(asked.get(entry.task, 0), entry.requested_mb or 0)
            peaks[entry.task] = max(peaks.get(entry.task, 0), entry.peak_mb or 0)
    for task, times in attempts.items():
        resources = step.resources.get(task)
        given = resources.memory_multiplier if resources is not None else None
        multiplier = given or requests.multiplier(task) or policy.memory_multiplier
        # The first request of the group, which may have been learned.
        first = (
            requests.request(task, group.submissions[0].remedy) if group.submissions else requests.base(task)
        )
        if group.submissions and task in dict(group.submissions[0].remedy.by_inputs):
            # Each quantum had one of its own, which is what was really asked for.
            first = 0
        formula = max(first * multiplier**times, asked[task] * multiplier)
        wanted = max(int(formula), int(peaks[task] * MARGIN))
        limit = memory_limit(task=task, policy=policy, requests=requests)
        if requests.site_mb is not None and charged(group) + 1 >= policy.max_submissions:
            wanted = limit
        memory[task] = max(memory.get(task, 0), min(wanted, limit))
    fewer: int | None = None
    if attempts:
        fewer = policy.workers or max(1, int(workers / policy.memory_multiplier ** max(attempts.values())))
    elif memory:
        fewer = before.workers
    return _ruled(
        Remedy(
            memory_mb=tuple(sorted(memory.items())),
            workers=fewer,
            by_inputs=tuple(entry for entry in before.by_inputs if entry[0] not in attempts),
        ),
        again,
        before=before,
        workers=workers,
    )


def _ruled(found: Remedy, again: Iterable[OpenQuanta], *, before: Remedy, workers: int) -> Remedy:
    """Return a remedy with what failure rules have done about what is run again, and had done before."""
    walltime, exclude, fewer = dict(before.walltime), set(before.exclude), found.workers
    for entry in again:
        if entry.state is not QuantumState.FAILED:
            continue
        match read_remedy(entry.remedy)[0]:
            case RuleRemedy.LONGER if entry.seconds:
                minutes = -(-int(entry.seconds * LONGER) // 60)
                walltime[entry.task] = max(walltime.get(entry.task, 0), minutes)
            case RuleRemedy.FEWER_WORKERS:
                half = max(1, (before.workers or workers) // 2)
                fewer = half if fewer is None else min(fewer, half)
            case RuleRemedy.LEAVE_OUT_NODE:
                # As Slurm calls it: without its domain.
                exclude |= {host.partition(".")[0] for host in entry.hosts}
    return replace(
        found, workers=fewer, walltime=tuple(sorted(walltime.items())), exclude=tuple(sorted(exclude))
    )


def with_asked(found: Remedy, asked: Remedy) -> Remedy:
    """Return a remedy with what a person asked for; of memory the larger of the two."""
    memory, walltime = dict(found.memory_mb), dict(found.walltime) | dict(asked.walltime)
    for task, wanted in asked.memory_mb:
        memory[task] = max(wanted, memory.get(task, 0))
    by_inputs = tuple(entry for entry in found.by_inputs if entry[0] not in dict(asked.memory_mb))
    return replace(
        found,
        memory_mb=tuple(sorted(memory.items())),
        walltime=tuple(sorted(walltime.items())),
        by_inputs=by_inputs,
    )


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
    if remedy.exclude:
        parts.append(f"not on {', '.join(remedy.exclude)}")
    return ", ".join(parts)
