"""Puts a report together: every number that page, terminal, JSON and tables show, once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.report import causes as cause_lines
from merian_campaign.domain.report import tract_lines, work
from merian_campaign.domain.report.lines import (
    BlockSumLine,
    CauseLine,
    ChangeLine,
    CompletenessLine,
    GroupLine,
    Headline,
    RevisionLine,
    StepLineOfReport,
    SubmissionLine,
    TractLine,
)
from merian_campaign.domain.report.outlook import Outlook, StepAhead, StepOutlook, outlook
from merian_campaign.domain.report.remaking import Remade, Remaking, remaking, stale_words
from merian_campaign.domain.report.rows import ProgressRow, ReportGroup, ReportRows, StackRow, UsageRow
from merian_campaign.domain.resources.core_hours import Price
from merian_campaign.domain.resources.foreseen import Sized, foreseen
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.sky_regions import SkyRegion
from merian_campaign.domain.states import CampaignState, GroupState, derived_state

_MOVING = frozenset({GroupState.RUNNING, GroupState.READY})
_AHEAD = frozenset({GroupState.WAITING, GroupState.READY, GroupState.RUNNING})
_LONGEST_REASON = 400


@dataclass(frozen=True, kw_only=True)
class Report:
    """A campaign at one moment, as tables; see the lines for what they say."""

    headline: Headline
    file: str
    schema: str
    span_seconds: int
    collections: Mapping[str, object]
    steps: tuple[StepLineOfReport, ...]
    groups: tuple[GroupLine, ...]
    tracts: tuple[TractLine, ...]
    completeness: tuple[CompletenessLine, ...]
    causes: tuple[CauseLine, ...]
    usage: tuple[UsageRow, ...]
    progress: tuple[ProgressRow, ...]
    blocks: tuple[BlockSumLine, ...]
    submissions: tuple[SubmissionLine, ...]
    changes: tuple[ChangeLine, ...]
    revisions: tuple[RevisionLine, ...]
    stacks: tuple[StackRow, ...]
    regions: tuple[SkyRegion, ...]

    @property
    def nights(self) -> tuple[GroupLine, ...]:
        """Groups that select nights."""
        return tuple(line for line in self.groups if line.dimension == "day_obs")

    @cached_property
    def tract_steps(self) -> tuple[str, ...]:
        """Steps that go by tract, in order."""
        return tuple(dict.fromkeys(line.step for line in self.groups if line.dimension == "tract"))


def report_of(rows: ReportRows) -> Report:
    """Return the report of a moment."""
    counts = counts_by_group(rows)
    ordered = _steps(rows)
    place = {name: number for number, name in enumerate(ordered)}
    completeness = tract_lines.completeness(rows, place=place)
    tracts = tract_lines.tracts(rows, completeness, counts)
    ahead = _outlook(rows, counts, kinds=ordered)
    ends = {step.step: step for step in ahead.steps}
    return Report(
        headline=_headline(rows, counts, tracts=tracts, outlook=ahead),
        file=one_line(rows.file),
        schema=rows.schema,
        span_seconds=rows.span_seconds,
        collections=work.collections(rows.spec),
        steps=tuple(
            _step_line(name, kind, rows.groups, counts, ends=ends.get(name)) for name, kind in ordered.items()
        ),
        groups=tuple(_group_line(group, counts[group.id]) for group in rows.groups),
        tracts=tracts,
        completeness=completeness,
        causes=cause_lines.causes(rows),
        usage=tuple(sorted(rows.usage, key=lambda row: (place.get(row.step, len(place)), row.task))),
        progress=rows.progress,
        blocks=work.blocks(rows, place=place),
        submissions=work.submissions(rows),
        changes=_changes(rows),
        revisions=work.revisions(rows.revisions),
        stacks=rows.stacks,
        regions=rows.regions,
    )


def counts_by_group(rows: ReportRows) -> Mapping[int, Counts]:
    """Return the quanta of every group by state."""
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for cell in rows.cells:
        found[cell.group_id][cell.state] += cell.n
    return {group.id: Counts(**found[group.id]) for group in rows.groups}


def _steps(rows: ReportRows) -> Mapping[str, str]:
    """Return the steps in their order, with their kind: ``bps`` or ``action``."""
    given = rows.spec.get("steps")
    listed = [step for step in given if isinstance(step, Mapping)] if isinstance(given, list) else []
    kinds = {str(step.get("name")): "action" if "action" in step else "bps" for step in listed}
    return kinds | {group.step: kinds.get(group.step, "bps") for group in rows.groups}


def _group_line(group: ReportGroup, counts: Counts) -> GroupLine:
    return GroupLine(
        step=group.step,
        group=group.group,
        dimension=group.dimension,
        values=group.values,
        state=group.state,
        reason=one_line(group.reason, limit=_LONGEST_REASON),
        submissions=group.submissions,
        expected=counts.expected,
        succeeded=counts.succeeded,
        failed=counts.failed,
        blocked=counts.blocked,
        open=_open(counts),
        updated_at=group.updated_at,
        stale=group.stale,
        remade=group.remade,
    )


def _open(counts: Counts) -> int:
    """Return the quanta of which nothing is known to have gone wrong, and that are not done."""
    return counts.pending + counts.running + counts.unknown


def _step_line(
    name: str,
    kind: str,
    groups: Sequence[ReportGroup],
    counts: Mapping[int, Counts],
    *,
    ends: StepOutlook | None,
) -> StepLineOfReport:
    here = [group for group in groups if group.step == name]
    states = Counter(group.state for group in here)
    quanta = sum((counts[group.id] for group in here), Counts())
    return StepLineOfReport(
        step=name,
        kind=kind,
        groups=len(here),
        done=states["done"],
        running=states["running"],
        needs_review=states["needs_review"],
        blocked=states["blocked"] + states["cancelled"],
        waiting=states["waiting"] + states["ready"],
        expected=quanta.expected,
        succeeded=quanta.succeeded,
        failed=quanta.failed,
        quanta_blocked=quanta.blocked,
        open=_open(quanta),
        foreseen=ends.foreseen if ends is not None else 0,
        eta_low=ends.low if ends is not None else None,
        eta_high=ends.high if ends is not None else None,
    )


def _outlook(rows: ReportRows, counts: Mapping[int, Counts], *, kinds: Mapping[str, str]) -> Outlook:
    own = [group for group in rows.groups if kinds[group.step] == "bps"]
    discovered = [step for step in tract_lines.to_be_discovered(rows) if kinds[step] == "bps"]
    ahead = foreseen(
        [
            *(Sized(step=group.step, state=group.state, expected=counts[group.id].expected) for group in own),
            *(Sized(step=step, state=GroupState.WAITING, expected=0) for step in discovered),
        ]
    )
    left: Counter[str] = Counter()
    for group in own:
        if group.state in _AHEAD:
            left[group.step] += counts[group.id].open
    each = _hours_each(rows.usage)
    steps = [
        StepAhead(step=step, open=left[step], foreseen=ahead[step], hours_each=each.get(step))
        for step in kinds
        if step in ahead
    ]
    moves = rows.state == CampaignState.ACTIVE and any(group.state in _MOVING for group in rows.groups)
    return outlook(steps, rows.progress, span_seconds=rows.span_seconds, now=rows.at, moves=moves)


def _hours_each(usage: Sequence[UsageRow]) -> Mapping[str, float]:
    """Return by step how long a quantum ran until it was done, what failed included, hours."""
    hours: dict[str, float] = defaultdict(float)
    done: Counter[str] = Counter()
    for row in usage:
        hours[row.step] += row.hours
        done[row.step] += row.executions - row.failed
    return {step: hours[step] / number for step, number in done.items() if number > 0 and hours[step] > 0}


def _headline(
    rows: ReportRows, counts: Mapping[int, Counts], *, tracts: Sequence[TractLine], outlook: Outlook
) -> Headline:
    whole = sum(counts.values(), Counts())
    states = Counter(group.state for group in rows.groups)
    stale = [group for group in rows.groups if group.stale]
    anew = _remaking(rows, counts)
    return Headline(
        campaign=rows.campaign,
        state=derived_state(rows.state, set(states)),
        at=rows.at,
        past=rows.past,
        tracts=len(tracts),
        releasable=sum(line.releasable for line in tracts),
        groups=len(rows.groups),
        done=states["done"],
        running=states["running"],
        needs_you=states["needs_review"],
        blocked_groups=states["blocked"],
        expected=whole.expected,
        succeeded=whole.succeeded,
        failed=whole.failed,
        blocked=whole.blocked,
        open=_open(whole),
        executions=sum(row.executions for row in rows.usage),
        foreseen=outlook.foreseen,
        quantum_hours=sum(row.hours for row in rows.usage),
        block_hours=work.block_hours(rows.jobs, now=rows.at),
        per_hour=outlook.per_hour,
        eta_low=outlook.low,
        eta_high=outlook.high,
        eta_words=outlook.words,
        unsized=outlook.unsized,
        last_tick=rows.last_tick,
        since=rows.since,
        done_since=rows.succeeded_since,
        failed_since=rows.failed_since,
        stale=len(stale),
        stale_tracts=len({tract for group in stale for tract in group.tracts}),
        stale_words=one_line(
            stale_words([(f"{group.step}/{group.group}", group.reason) for group in stale]),
            limit=_LONGEST_REASON,
        ),
        redo_price=sum(rows.prices.values(), start=Price()) if rows.prices else None,
        remade=anew,
        remade_words="" if anew is None else one_line(anew.in_words(), limit=_LONGEST_REASON),
    )


def _remaking(rows: ReportRows, counts: Mapping[int, Counts]) -> Remaking | None:
    return remaking(
        Remade(
            name=f"{group.step}/{group.group}",
            state=group.state,
            reason=group.remade,
            expected=counts[group.id].expected,
            succeeded=counts[group.id].succeeded,
        )
        for group in rows.groups
        if group.remade is not None
    )


def _changes(rows: ReportRows) -> tuple[ChangeLine, ...]:
    """Return the groups that moved since the last report, the latest first; there and back is no move."""
    first: dict[tuple[str, str], str] = {}
    last: dict[tuple[str, str], tuple[str, datetime, str]] = {}
    for event in rows.events:
        if event.step is None or event.group is None or event.to_state is None:
            continue
        key = (event.step, event.group)
        first.setdefault(key, event.from_state or "")
        last[key] = (event.to_state, event.at, event.reason)
    moved = [
        ChangeLine(
            step=step,
            group=group,
            from_state=first[step, group],
            to_state=to_state,
            at=at,
            reason=one_line(reason, limit=_LONGEST_REASON),
        )
        for (step, group), (to_state, at, reason) in last.items()
        if to_state != first[step, group]
    ]
    return tuple(sorted(moved, key=lambda line: line.at, reverse=True))
