"""Quanta that did not run because something before them failed, and what each of them stands behind."""

from __future__ import annotations

from collections.abc import Mapping

from merian_campaign.domain.execution.provenance import Predicted
from merian_campaign.domain.states import QuantumState

__all__ = ["blockers", "mark_blocked"]


def mark_blocked(states: dict[str, QuantumState], plan: Mapping[str, Predicted]) -> None:
    """Mark what did not run because something before it failed."""
    blocking = {QuantumState.FAILED, QuantumState.BLOCKED}
    changed = True
    while changed:
        changed = False
        for uuid, entry in plan.items():
            if states[uuid] is QuantumState.UNKNOWN and any(
                states.get(other) in blocking for other in entry.after
            ):
                states[uuid] = QuantumState.BLOCKED
                changed = True


def blockers(states: Mapping[str, QuantumState], plan: Mapping[str, Predicted]) -> dict[str, str]:
    """Return by UUID, of what is blocked, the first quantum upstream that neither is so nor succeeded.

    A failed one goes before one of which nothing is known; of several it is the first that the graph names.
    """
    found: dict[str, str] = {}
    for uuid, state in states.items():
        path = [uuid] if state is QuantumState.BLOCKED else []
        while path:
            behind = [other for other in plan[path[-1]].after if other in plan]
            todo = [
                other
                for other in behind
                if states[other] is QuantumState.BLOCKED and other not in found and other not in path
            ]
            if todo:
                path.append(todo[0])
                continue
            here = path.pop()
            roots = [
                found.get(other, "") if states[other] is QuantumState.BLOCKED else other
                for other in behind
                if states[other] is not QuantumState.SUCCEEDED
            ]
            failed = [root for root in roots if states.get(root) is QuantumState.FAILED]
            found[here] = next(iter(failed or filter(None, roots)), "")
    return found
