"""Tracts of a report: how far each is, and its quanta by step and band."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from merian_campaign.domain.quanta import Counts
from merian_campaign.domain.report.lines import CompletenessLine, TractLine
from merian_campaign.domain.report.rows import ReportGroup, ReportRows
from merian_campaign.domain.states import GroupState
from merian_campaign.domain.text import one_line

_WORST_FIRST: Final = (
    GroupState.NEEDS_REVIEW,
    GroupState.BLOCKED,
    GroupState.CANCELLED,
    GroupState.RUNNING,
    GroupState.READY,
    GroupState.WAITING,
    GroupState.DONE,
)
_LONGEST_REASON: Final = 400


def completeness(rows: ReportRows, *, place: Mapping[str, int]) -> tuple[CompletenessLine, ...]:
    """Return quanta by tract, step and band, in that order; ``place`` orders the steps.

    Quanta without a tract (of exposures and visits) belong to none.
    """
    groups = {group.id: group for group in rows.groups}
    found: dict[tuple[int, str, str], Counter[str]] = defaultdict(Counter)
    for cell in rows.cells:
        group = groups.get(cell.group_id)
        if cell.tract is None or group is None:
            continue
        counted = found[cell.tract, group.step, cell.band or ""]
        counted[cell.state] += cell.n
        counted["caveats"] += cell.caveats
        if group.state == GroupState.DONE and cell.state != "succeeded":
            counted["accepted"] += cell.n
    return tuple(
        _line(key, counted)
        for key, counted in sorted(
            found.items(), key=lambda entry: (entry[0][0], place.get(entry[0][1], len(place)), entry[0][2])
        )
    )


def _line(key: tuple[int, str, str], counted: Counter[str]) -> CompletenessLine:
    tract, step, band = key
    caveats, accepted = counted.pop("caveats", 0), counted.pop("accepted", 0)
    counts = Counts(**counted)
    return CompletenessLine(
        tract=tract,
        step=step,
        band=band,
        expected=counts.expected,
        succeeded=counts.succeeded,
        caveats=caveats,
        failed=counts.failed,
        blocked=counts.blocked,
        open=counts.pending + counts.running + counts.unknown,
        accepted=accepted,
    )


def tracts(
    rows: ReportRows, lines: Sequence[CompletenessLine], counts: Mapping[int, Counts]
) -> tuple[TractLine, ...]:
    """Return the tracts that steps go by, in ascending order; their quanta are those of their own groups."""
    by_tract: dict[int, list[ReportGroup]] = defaultdict(list)
    for group in rows.groups:
        for tract in group.tracts:
            by_tract[tract].append(group)
    own_steps = {tract: {group.step for group in groups} for tract, groups in by_tract.items()}
    caveats: Counter[int] = Counter()
    accepted: Counter[int] = Counter()
    for line in lines:
        if line.step in own_steps.get(line.tract, ()):
            caveats[line.tract] += line.caveats
            accepted[line.tract] += line.accepted
    sums = _sums(lines, own_steps)
    return tuple(
        _tract(
            tract,
            sorted(groups, key=lambda group: group.ordinal),
            counts=_alone(groups, counts) or sums.get(tract, Counts()),
            visits=rows.visits_of_tracts.get(tract, 0),
            caveats=caveats[tract],
            accepted=accepted[tract],
        )
        for tract, groups in sorted(by_tract.items())
    )


def _alone(groups: Iterable[ReportGroup], counts: Mapping[int, Counts]) -> Counts | None:
    """Return the sum of groups that are of one tract; `None` where one is of several."""
    listed = list(groups)
    if any(len(group.values) > 1 for group in listed):
        return None
    return sum((counts[group.id] for group in listed), Counts())


def _sums(lines: Iterable[CompletenessLine], own_steps: Mapping[int, set[str]]) -> Mapping[int, Counts]:
    """Return quanta by tract as their data IDs say, for groups of several tracts."""
    found: dict[int, Counts] = {}
    for line in lines:
        if line.step in own_steps.get(line.tract, ()):
            counts = Counts(
                pending=line.open, succeeded=line.succeeded, failed=line.failed, blocked=line.blocked
            )
            found[line.tract] = found.get(line.tract, Counts()) + counts
    return found


def _tract(
    tract: int, groups: Sequence[ReportGroup], *, counts: Counts, visits: int, caveats: int, accepted: int
) -> TractLine:
    states = [group.state for group in groups]
    reached = next((n for n, state in enumerate(states) if state != GroupState.DONE), len(states))
    worst = next(state for state in _WORST_FIRST if state in states)
    return TractLine(
        tract=tract,
        state=worst.value,
        releasable=reached == len(states),
        reached=reached,
        steps=len(states),
        reached_step=groups[reached - 1].step if reached else "",
        visits=visits,
        expected=counts.expected,
        succeeded=counts.succeeded,
        failed=counts.failed,
        blocked=counts.blocked,
        open=counts.pending + counts.running + counts.unknown,
        caveats=caveats,
        accepted=accepted,
        reason=one_line(
            next((group.reason for group in groups if group.state == worst), ""), limit=_LONGEST_REASON
        ),
    )
