"""Failures of a report by cause: how many, what stands behind them, and what a person may type next."""

from __future__ import annotations

from collections.abc import Mapping

from merian_campaign.domain.quanta import Counts
from merian_campaign.domain.report.lines import CauseLine
from merian_campaign.domain.report.rows import CauseRow, ReportGroup, ReportRows
from merian_campaign.domain.shell import shown
from merian_campaign.domain.states import FINAL_VERDICTS, GroupState
from merian_campaign.domain.text import one_line

_LONGEST_MESSAGE = 400
_LONGEST_NAME = 200


def causes(rows: ReportRows, counts: Mapping[int, Counts]) -> tuple[CauseLine, ...]:
    """Return the causes of failures, those first that most quanta failed of."""
    groups = {group.id: group for group in rows.groups}
    lines = [_line(rows.campaign, row, groups, counts) for row in rows.causes]
    # What a person accepted comes last.
    return tuple(sorted(lines, key=lambda line: line.losses == line.quanta))


def _line(
    campaign: str, row: CauseRow, groups: Mapping[int, ReportGroup], counts: Mapping[int, Counts]
) -> CauseLine:
    here = [groups[one] for one in row.group_ids if one in groups]
    asking = [group for group in here if group.state == GroupState.NEEDS_REVIEW]
    return CauseLine(
        step=row.step,
        task=row.task,
        verdict=row.verdict,
        exception=one_line(row.exception, limit=_LONGEST_NAME),
        quanta=row.quanta,
        groups=len(here),
        tracts=row.tracts,
        blocked=sum(counts[group.id].blocked for group in here),
        held=len(_held(asking, groups)),
        losses=row.quanta if here and all(group.state == GroupState.DONE for group in here) else 0,
        last_ended=row.last_ended,
        example=row.example,
        group=row.group,
        data_id=one_line(row.data_id),
        evidence=one_line(row.evidence, limit=_LONGEST_MESSAGE),
        message=one_line(_first_line(row.message or ""), limit=_LONGEST_MESSAGE),
        log_path=one_line(row.log_path or "", limit=4000),
        command=_command(campaign, row, asking),
    )


def _held(asking: list[ReportGroup], groups: Mapping[int, ReportGroup]) -> set[int]:
    """Return the blocked groups of later steps that a group which needs review stands in the way of.

    A group of one tract blocks groups of that tract, and all that are not of a tract.
    """
    found: set[int] = set()
    for group in groups.values():
        for cause in asking:
            apart = cause.tracts and group.tracts and not set(cause.tracts) & set(group.tracts)
            if group.state == GroupState.BLOCKED and group.ordinal > cause.ordinal and not apart:
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
