"""Failures of a report by cause: how many, what stands behind them, and what a person may type next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from merian_campaign.domain.report.lines import CauseLine
from merian_campaign.domain.report.rows import CauseRow, CauseRows, ReportGroup, ReportRows
from merian_campaign.domain.safe_text.shell import shown
from merian_campaign.domain.safe_text.text import clean, one_line
from merian_campaign.domain.states import FINAL_VERDICTS, GroupState

_LONGEST_MESSAGE = 400
_LONGEST_NAME = 200


@dataclass(frozen=True, kw_only=True)
class FailureTotals:
    """What failures come to.

    ``blocked`` are quanta behind failed ones of their group; ``asking`` groups that need a person;
    ``attempts`` every execution that failed, also of quanta that have succeeded since.
    """

    causes: int
    quanta: int
    blocked: int
    groups: int
    asking: int
    held: int
    attempts: int
    one_cause: bool


ONE_CAUSE: Final = 0.9
"""From which part of the failed quanta on one cause is said to be that of all."""

_EVERYWHERE: Final = 3
"""In how many groups, at least."""


def causes(rows: ReportRows | CauseRows) -> tuple[CauseLine, ...]:
    """Return the causes of failures, those first that stand in the way of most.

    What holds most groups comes first, then what takes most quanta with those behind it, most patches, most
    tracts; what a person accepted comes last.
    """
    groups = {group.id: group for group in rows.groups}
    lines = [_line(rows.campaign, row, groups, rows.unpointed) for row in rows.causes]
    return tuple(
        sorted(
            lines,
            key=lambda line: (
                line.losses == line.quanta,
                -line.held,
                -line.blocked - line.quanta,
                -line.patches,
                -line.tracts,
            ),
        )
    )


def failure_totals(rows: CauseRows, lines: Sequence[CauseLine]) -> FailureTotals:
    """Return what the causes come to; what several of them block is counted once."""
    groups = {group.id: group for group in rows.groups}
    here = {one for row in rows.causes for one in row.group_ids if one in groups}
    asking = [groups[one] for one in here if groups[one].state == GroupState.NEEDS_REVIEW]
    quanta = sum(line.quanta for line in lines)
    most = max(lines, key=lambda line: line.quanta, default=None)
    return FailureTotals(
        causes=len(lines),
        quanta=quanta,
        blocked=sum(rows.counts[one].blocked for one in here),
        groups=len(here),
        asking=len(asking),
        held=len(_held(asking, groups)),
        attempts=rows.failed_attempts,
        one_cause=most is not None and most.groups >= _EVERYWHERE and most.quanta >= ONE_CAUSE * quanta,
    )


def _line(
    campaign: str, row: CauseRow, groups: Mapping[int, ReportGroup], unpointed: Mapping[int, int]
) -> CauseLine:
    here = [groups[one] for one in row.group_ids if one in groups]
    asking = [group for group in here if group.state == GroupState.NEEDS_REVIEW]
    held = _held(asking, groups)
    return CauseLine(
        step=row.step,
        task=row.task,
        verdict=row.verdict,
        exception=one_line(row.exception, limit=_LONGEST_NAME),
        quanta=row.quanta,
        groups=len(here),
        tracts=row.tracts,
        patches=row.patches,
        # Of what an earlier version harvested nobody knows which failure it is behind.
        blocked=row.behind + sum(unpointed.get(group.id, 0) for group in here),
        held=len(held),
        held_tracts=len({tract for one in held for tract in groups[one].tracts}),
        losses=row.quanta if here and all(group.state == GroupState.DONE for group in here) else 0,
        last_ended=row.last_ended,
        example=row.example,
        group=row.group,
        data_id=one_line(row.data_id),
        evidence=one_line(row.evidence, limit=_LONGEST_MESSAGE),
        certainty=row.certainty or "",
        message=one_line(_first_line(row.message or ""), limit=_LONGEST_MESSAGE),
        log_path=one_line(row.log_path or "", limit=4000),
        log_tail=clean(row.log_tail or ""),
        command=_command(campaign, row, asking),
    )


def _held(asking: list[ReportGroup], groups: Mapping[int, ReportGroup]) -> set[int]:
    """Return the blocked groups of later steps that a group which needs review stands in the way of.

    A group of one tract blocks groups of that tract, and all that are not of a tract.
    """
    first_of_tract: dict[int, int] = {}
    first = first_of_all = max((group.ordinal for group in groups.values()), default=0)
    for cause in asking:
        first = min(first, cause.ordinal)
        first_of_all = first_of_all if cause.tracts else min(first_of_all, cause.ordinal)
        for tract in cause.tracts:
            first_of_tract[tract] = min(first_of_tract.get(tract, cause.ordinal), cause.ordinal)
    found: set[int] = set()
    for group in groups.values():
        if group.state != GroupState.BLOCKED:
            continue
        mine = [first_of_tract[tract] for tract in group.tracts if tract in first_of_tract]
        if group.ordinal > (min([first_of_all, *mine]) if group.tracts else first):
            found.add(group.id)
    return found


def _command(campaign: str, row: CauseRow, asking: list[ReportGroup]) -> str:
    """Return what to type: where a person is asked, at the first such group; else to look at the log."""
    log = shown(("merian-campaign", "log", campaign, str(row.example)))
    if not asking:
        return log
    place = f"{asking[0].step}/{asking[0].group}"
    if row.verdict in FINAL_VERDICTS:
        return (
            log if row.verdict == "configuration" else shown(("merian-campaign", "accept", campaign, place))
        )
    return shown(("merian-campaign", "retry", campaign, place))


def _first_line(message: str) -> str:
    return next((found for found in message.splitlines() if found.strip()), "")
