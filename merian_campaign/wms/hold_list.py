"""The hold list: quanta that are not run although the graph has them, and count as failed.

``campaignHold`` in the BPS configuration names a JSON file, a list of ``{"task": label, "data_id": {...}}``.
A quantum is held when its task is named and every required dimension of its data ID has the given value.
In a cluster the other quanta are run, except those that depend on a held one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merian_campaign.domain.safe_text import json_values
from merian_campaign.host.regular_files import MEDIUM, DamagedFileError, read_bytes

__all__ = ["HoldEntry", "held_quanta", "read_hold_list", "within_cluster"]


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldEntry:
    """One entry of the hold list; values are compared as text."""

    task: str
    data_id: Mapping[str, str]

    def matches(self, *, task: str, required: Mapping[str, object]) -> bool:
        """Return whether a quantum is the one meant."""
        same = all(self.data_id.get(name) == str(value) for name, value in required.items())
        return task == self.task and same


def read_hold_list(path: Path) -> tuple[HoldEntry, ...]:
    """Read a hold list.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    DamagedFileError
        It is no regular file, or not a list of objects with ``task`` and ``data_id``.
    """
    try:
        entries = json_values.loads(read_bytes(path, limit=MEDIUM))
    except json_values.WrongValueError as error:
        raise DamagedFileError(path, str(error)) from None
    if not isinstance(entries, list):
        raise DamagedFileError(path, f"expected a list, found {type(entries).__name__}")
    return tuple(_held(path, number, entry) for number, entry in enumerate(entries, start=1))


def _held(path: Path, number: int, entry: object) -> HoldEntry:
    match entry:
        case {"task": str(task), "data_id": dict(data_id)}:
            return HoldEntry(task=task, data_id={name: str(value) for name, value in data_id.items()})
    raise DamagedFileError(path, f"entry {number} is no held quantum: task and data_id are needed")


def held_quanta(graph: str, hold: Iterable[HoldEntry]) -> tuple[frozenset[str], dict[str, set[str]]]:
    """Return the UUIDs of held quanta, and the graph's edges as quantum -> quanta that depend on it.

    Parameters
    ----------
    graph : `str`
        The submission's quantum graph file.
    hold : iterable of `HoldEntry`
        The hold list.
    """
    from lsst.pipe.base.pipeline_graph import TaskImportMode  # noqa: PLC0415 - heavy, and rarely needed
    from lsst.pipe.base.quantum_graph import PredictedQuantumGraph  # noqa: PLC0415

    by_task: dict[str, list[HoldEntry]] = {}
    for entry in hold:
        by_task.setdefault(entry.task, []).append(entry)
    with PredictedQuantumGraph.open(graph, import_mode=TaskImportMode.DO_NOT_IMPORT) as reader:
        reader.read_thin_graph()
        built: Any = reader.finish()
    held: set[str] = set()
    for task, quanta in built.quanta_by_task.items():
        for data_id, quantum in quanta.items():
            required = dict(data_id.required)
            if any(entry.matches(task=task, required=required) for entry in by_task.get(task, ())):
                held.add(str(quantum))
    edges: dict[str, set[str]] = {}
    for before, after in built.quantum_only_xgraph.edges:
        edges.setdefault(str(before), set()).add(str(after))
    return frozenset(held), edges


def within_cluster(
    quanta: Iterable[str], *, held: frozenset[str], edges: Mapping[str, set[str]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the quanta of a job that are left out and those that are run.

    Left out are the held ones and what depends on them inside the job.
    """
    members = tuple(quanta)
    out = {quantum for quantum in members if quantum in held}
    waiting = list(out)
    while waiting:
        for after in edges.get(waiting.pop(), ()):
            if after in members and after not in out:
                out.add(after)
                waiting.append(after)
    return tuple(q for q in members if q in out), tuple(q for q in members if q not in out)
