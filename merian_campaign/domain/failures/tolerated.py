"""What of a group's losses its step takes without asking a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from merian_campaign.domain.execution.quanta import OpenQuanta
from merian_campaign.domain.record.snapshot import GroupView
from merian_campaign.domain.spec.tolerance import Tolerance
from merian_campaign.domain.states import QuantumState

__all__ = ["Tolerated", "tolerated"]


_LOST: Final = frozenset({QuantumState.FAILED, QuantumState.BLOCKED})


@dataclass(frozen=True, kw_only=True)
class Tolerated:
    """How many of a group's open quanta may be lost, and in words by what leave."""

    quanta: int
    words: str


def tolerated(group: GroupView, *, tolerate: tuple[Tolerance, ...]) -> Tolerated:
    """Return what may be lost of a group's open quanta.

    A failed quantum whose data ID is named is taken in any case; others are taken when all that a tolerance
    fits are no more than it allows. What is blocked goes with what it stands behind.

    Parameters
    ----------
    group : `GroupView`
        The group.
    tolerate : `tuple` [`Tolerance`, ...]
        Of its step.
    """
    lost = [entry for entry in group.open_quanta if entry.state in _LOST]
    taken = {entry for entry in lost if entry.tolerated}
    said = [f"{sum(entry.number for entry in taken)} named in advance"] if taken else []
    for leave in tolerate:
        if leave.where:
            continue
        fitting = [entry for entry in lost if entry not in taken and _fits(leave, entry)]
        failed = sum(entry.number for entry in fitting if entry.state is QuantumState.FAILED)
        most = leave.count if leave.count is not None else int((leave.fraction or 0) * group.counts.expected)
        if 0 < failed <= most:
            taken.update(fitting)
            said.append(f"{failed} of {leave.in_words()}")
    return Tolerated(quanta=sum(entry.number for entry in taken), words=", ".join(said))


def _fits(leave: Tolerance, entry: OpenQuanta) -> bool:
    if entry.state is QuantumState.FAILED:
        return leave.fits(task=entry.task, verdict=entry.verdict)
    if entry.state is QuantumState.BLOCKED and entry.behind_task is not None:
        return leave.fits(task=entry.behind_task, verdict=entry.behind_verdict)
    return False
