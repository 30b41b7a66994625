"""Whether the clusters of BPS can be put in order: the rule of ctrl_bps's ``dimension_clustering``.

ctrl_bps finds a cycle after a whole quantum graph has been built, and names nothing. Rule from
``check_clustering_config`` in ``lsst.ctrl.bps.quantum_clustering_funcs``: with each cluster taken as one
node, and every other task as one of its own, the tasks' graph has no cycle, and a task is in one cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from merian_campaign.domain.preflight.facts import Finding, PipelineFacts, TaskFacts
from merian_campaign.domain.preflight.inputs import few

type Clusters = Mapping[str, tuple[str, ...]]
"""Task labels by the label of their cluster, in the order of the files."""


def cluster_findings(place: str, pipeline: PipelineFacts, clusters: Clusters) -> list[Finding]:
    """Return clusters of which BPS could make no workflow.

    Parameters
    ----------
    place : `str`
        Step, or step/group.
    pipeline : `PipelineFacts`
        Its pipeline.
    clusters : `~collections.abc.Mapping`
        Its clusters; empty when it does not cluster by dimensions.
    """
    if pipeline.problem or not clusters:
        return []
    owner: dict[str, str] = {}
    for name, labels in clusters.items():
        for label in labels:
            if label in owner and label in pipeline.labels:
                return [
                    Finding(
                        place=place,
                        message=f"cluster: {label} is in {owner[label]} and in {name}",
                        fix="leave it in one of them",
                    )
                ]
            owner[label] = name
    cycle = _cycle(pipeline.tasks, owner)
    if not cycle:
        return []
    return [_finding(place, pipeline.tasks, owner, cycle)]


def _edges(tasks: Iterable[TaskFacts]) -> Iterable[tuple[TaskFacts, TaskFacts, str]]:
    """Yield which task reads what of which."""
    makers = {name: task for task in tasks for name in task.makes}
    for task in tasks:
        for name in sorted(task.reads):
            if name in makers:
                yield makers[name], task, name


def _cycle(tasks: tuple[TaskFacts, ...], owner: Mapping[str, str]) -> list[str]:
    before: dict[str, set[str]] = {owner.get(task.label, task.label): set() for task in tasks}
    for maker, reader, _ in _edges(tasks):
        first, second = (owner.get(task.label, task.label) for task in (maker, reader))
        if first != second:
            before[second].add(first)
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        # Each comes before the next; the last is the first again.
        return list(error.args[1])
    return []


def _finding(place: str, tasks: tuple[TaskFacts, ...], owner: Mapping[str, str], cycle: list[str]) -> Finding:
    steps = set(pairwise(cycle))
    said = [
        f"{reader.label} reads {name} of {maker.label}"
        for maker, reader, name in _edges(tasks)
        if (owner.get(maker.label, maker.label), owner.get(reader.label, reader.label)) in steps
    ]
    members = {
        name: [task.label for task in tasks if owner.get(task.label) == name] for name in dict.fromkeys(cycle)
    }
    chain = " -> ".join(cycle)
    shown = ", ".join(f"{name} ({', '.join(labels)})" for name, labels in members.items() if labels)
    alone = [name for name, labels in members.items() if not labels]
    first = next(name for name, labels in members.items() if labels)
    fix = (
        f"put {few(alone)} into {first} too, or take one of {few(members[first])} out of it"
        if alone
        else f"put them into one cluster, or take a task out of {first}"
    )
    return Finding(
        place=place,
        message=f"cluster: BPS cannot put these in order: {chain}, with {shown}: {few(said, at_most=6)}",
        fix=f"{fix} (cluster: in a BPS file of include:)",
    )
