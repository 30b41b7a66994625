"""Tracts of a report: how far each is, and its quanta by step and band."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Final

from merian_campaign.domain.execution.counts import COUNTED_STATES, Counts
from merian_campaign.domain.report.lines import CompletenessLine, TractLine
from merian_campaign.domain.report.rows import ReportGroup, ReportRows
from merian_campaign.domain.resources.foreseen import OVER
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.states import GroupState

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
_CAVEATS: Final = ("caveats", "no_work", "upstream", "unprocessable", "partial")
_NAMED: Final = 3
"""Steps that are named of those that a tract still misses."""


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
        for name in _CAVEATS:
            counted[name] += getattr(cell, name)
        if group.state == GroupState.DONE and cell.state != "succeeded":
            counted["accepted"] += cell.n
    for key, number in _estimated(rows.groups, found).items():
        found[key]["estimated"] = number
    return tuple(
        _line(key, counted)
        for key, counted in sorted(
            found.items(), key=lambda entry: (entry[0][0], place.get(entry[0][1], len(place)), entry[0][2])
        )
    )


type _Key = tuple[int, str, str]


def _estimated(groups: Iterable[ReportGroup], found: Mapping[_Key, Mapping[str, int]]) -> Mapping[_Key, int]:
    """Return what tracts are expected to have in steps in which they have no graph yet.

    That is what the step's other tracts have in the same band, on average.
    """
    by_band: dict[tuple[str, str], list[int]] = defaultdict(list)
    there = set()
    for (tract, step, band), counted in found.items():
        by_band[step, band].append(sum(counted[state] for state in COUNTED_STATES if state in counted))
        there.add((tract, step))
    return {
        (tract, step, band): round(mean(sizes))
        for tract, step in {
            (tract, group.step) for group in groups if group.state not in OVER for tract in group.tracts
        }
        - there
        for (of, band), sizes in by_band.items()
        if of == step
    }


def _line(key: _Key, counted: Counter[str]) -> CompletenessLine:
    tract, step, band = key
    counts = Counts(**{state: counted[state] for state in COUNTED_STATES})
    return CompletenessLine(
        tract=tract,
        step=step,
        band=band,
        expected=counts.expected + counted["estimated"],
        succeeded=counts.succeeded,
        failed=counts.failed,
        blocked=counts.blocked,
        open=counts.pending + counts.running + counts.unknown + counted["estimated"],
        accepted=counted["accepted"],
        estimated=counted["estimated"],
        **{name: counted[name] for name in _CAVEATS},
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
    estimated: Counter[int] = Counter()
    for line in lines:
        if line.step in own_steps.get(line.tract, ()):
            caveats[line.tract] += line.caveats
            accepted[line.tract] += line.accepted
            estimated[line.tract] += line.estimated
    sums = _sums(lines, own_steps)
    to_come = to_be_discovered(rows)
    sized = {line.step for line in lines}
    return tuple(
        _tract(
            tract,
            sorted(groups, key=lambda group: group.ordinal),
            counts=_alone(groups, counts) or sums.get(tract, Counts()),
            visits=rows.visits_of_tracts.get(tract, 0),
            caveats=caveats[tract],
            accepted=accepted[tract],
            to_come=to_come,
            foreseen=None
            if to_come or any(group.state not in OVER and group.step not in sized for group in groups)
            else estimated[tract],
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
                pending=line.open - line.estimated,
                succeeded=line.succeeded,
                failed=line.failed,
                blocked=line.blocked,
            )
            found[line.tract] = found.get(line.tract, Counts()) + counts
    return found


def to_be_discovered(rows: ReportRows) -> tuple[str, ...]:
    """Return the steps that go by tract and have no group yet, because their tracts are to be discovered."""
    listed = rows.spec.get("steps")
    there = {group.step for group in rows.groups}
    found = []
    for step in listed if isinstance(listed, list) else ():
        given = step.get("group_by") if isinstance(step, Mapping) else None
        kind = given.get("kind") if isinstance(given, Mapping) else given
        if kind == "tract" and step.get("name") not in there:
            found.append(str(step.get("name")))
    return tuple(found)


def _tract(
    tract: int,
    groups: Sequence[ReportGroup],
    *,
    counts: Counts,
    visits: int,
    caveats: int,
    accepted: int,
    to_come: Sequence[str],
    foreseen: int | None,
) -> TractLine:
    states = [group.state for group in groups]
    reached = next((n for n, state in enumerate(states) if state != GroupState.DONE), len(states))
    worst = next(state for state in _WORST_FIRST if state in states)
    missing = [group for group in groups if group.state != GroupState.DONE]
    releasable = not missing and not to_come
    why = _why_not(missing, to_come) if not releasable else _why(groups, accepted=accepted, caveats=caveats)
    return TractLine(
        tract=tract,
        state=worst.value,
        releasable=releasable,
        reached=reached,
        steps=len(states) + len(to_come),
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
        why=one_line(why, limit=_LONGEST_REASON),
        stale=sum(group.stale for group in groups),
        foreseen=foreseen,
    )


def _why_not(missing: Sequence[ReportGroup], to_come: Sequence[str]) -> str:
    """Return what keeps a tract from being released, the worst first."""
    ranked = sorted(missing, key=lambda group: _WORST_FIRST.index(GroupState(group.state)))
    said = [
        f"{group.step} {GroupState(group.state).value.replace('_', ' ')}"
        + (f": {group.reason}" if group.state in _TOLD and group.reason else "")
        for group in ranked
    ] + [f"{step} to come" for step in to_come]
    rest = len(said) - _NAMED
    more = [f"and {rest} more steps" if rest > 1 else said[-1]] if rest > 0 else []
    return "; ".join(said[:_NAMED] + more)


_TOLD: Final = frozenset({GroupState.NEEDS_REVIEW, GroupState.CANCELLED})
"""Whose reason stands in the way itself: what is blocked has the reason of another."""


def _why(groups: Sequence[ReportGroup], *, accepted: int, caveats: int) -> str:
    """Return what it rests on that a tract may be released: losses, who took them, and caveats."""
    said = [f"all {len(groups)} steps are done"]
    if accepted:
        person = [group.step for group in groups if group.accepted]
        by = f"accepted by a person in {', '.join(person)}" if person else "within the budgets"
        said.append(f"{accepted} quanta lost, {by}")
    if caveats:
        said.append(f"{caveats} with caveats")
    stale = [group.step for group in groups if group.stale]
    if stale:
        said.append(f"{', '.join(stale)} of older data than there are now")
    return "; ".join(said)
