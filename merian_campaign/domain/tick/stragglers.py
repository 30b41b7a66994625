"""Stragglers: groups whose next afterburner fills no node wait for others of their step, to share one.

Only where a block has its nodes for itself, so that three quanta would cost a whole one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

from merian_campaign.domain.failures.backoff import due
from merian_campaign.domain.record.board_row import AFTERBURNER
from merian_campaign.domain.record.snapshot import GroupView, Remedy, Snapshot
from merian_campaign.domain.resources.resource_fit import collects, submission_shape
from merian_campaign.domain.resources.throttle import goes_first
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.campaign import steps_before
from merian_campaign.domain.states import GroupState
from merian_campaign.domain.tick import storms
from merian_campaign.domain.tick.decisions import Situation, Submit

__all__ = ["COLLECTS", "MAY_WAIT", "latest_start", "waiting_stragglers"]

COLLECTS: Final = "afterburner.collect_hours: "
"""How the reason begins for which a straggler is not submitted yet."""

MAY_WAIT: Final = "; may wait until "
"""How the end of a straggler's reason begins, which says until when it waits at the latest."""


@dataclass(frozen=True, kw_only=True)
class _Straggler:
    """A group, the share of a node that its block takes, and when its last submission ended."""

    group: GroupView
    share: float
    since: datetime


def waiting_stragglers(
    spec: CampaignSpec,
    snapshot: Snapshot,
    ready: Sequence[GroupView],
    situation: Situation,
    *,
    next_of: Callable[[GroupView], Submit | None],
) -> Mapping[int, str]:
    """Return by group id why stragglers are not submitted yet; those that are not among them may start.

    All of a step start when together they fill a node, when the first of them has waited for
    ``afterburner.collect_hours``, when as many wait as may be under way at once, or when no more can come.
    Until then those start that find room on a node beside stragglers that run.

    Parameters
    ----------
    spec, snapshot
        The campaign.
    ready : sequence of `GroupView`
        Groups that may be submitted, in their turn.
    situation : `Situation`
        What was observed.
    next_of : callable
        Returns the next submission of a group; `None` when nobody can tell.
    """
    by_step: dict[str, list[_Straggler]] = defaultdict(list)
    for group in ready if collects(spec, situation.site) else ():
        found = None if goes_first(spec, group) else _straggler(spec, group, situation, next_of)
        if found is not None:
            by_step[group.step].append(found)
    waits: dict[int, str] = {}
    for step, entries in by_step.items():
        until = min(entry.since for entry in entries) + _patience(spec, step)
        if (
            sum(entry.share for entry in entries) < 1
            and _lies_ahead(until, spec, step, now=situation.now)
            and len(entries) < min(spec.limits.submissions, spec.limits.blocks or spec.limits.submissions)
            and storms.unproven(spec, snapshot, step, release=situation.release) is None
            and _more_may_come(spec, snapshot, step, ready=ready, entries=entries, until=until)
        ):
            words = _words(step, entries, until=until)
            beside = _beside_others(spec, snapshot, step, entries, situation)
            waits |= {entry.group.id: words for entry in entries if entry.group.id not in beside}
    return waits


def latest_start(
    spec: CampaignSpec, group: GroupView, situation: Situation, remedy: Remedy
) -> datetime | None:
    """Return when a group starts at the latest whose next afterburner has this remedy; `None`: at once."""
    ended = group.submissions[-1].finished_at
    if ended is None or not collects(spec, situation.site) or goes_first(spec, group):
        return None
    until = ended + _patience(spec, group.step)
    small = _share(spec, group, situation, remedy=remedy, reason=AFTERBURNER) < 1
    return until if small and _lies_ahead(until, spec, group.step, now=situation.now) else None


def _patience(spec: CampaignSpec, name: str) -> timedelta:
    step = spec.step(name)
    return timedelta(hours=spec.afterburner_of(step).collect_hours if isinstance(step, BpsStep) else 0)


def _lies_ahead(until: datetime, spec: CampaignSpec, step: str, *, now: datetime) -> bool:
    """Say whether to wait until a moment: never longer than was said, whatever clock wrote it down."""
    return now < until <= now + _patience(spec, step)


def _straggler(
    spec: CampaignSpec,
    group: GroupView,
    situation: Situation,
    next_of: Callable[[GroupView], Submit | None],
) -> _Straggler | None:
    ended = group.submissions[-1].finished_at if group.submissions else None
    if ended is None or not group.reason.startswith(AFTERBURNER):
        return None
    wanted = next_of(group)
    if wanted is None:
        return None
    share = _share(spec, group, situation, remedy=wanted.remedy, reason=wanted.reason)
    return _Straggler(group=group, share=share, since=ended) if share < 1 else None


def _share(
    spec: CampaignSpec, group: GroupView, situation: Situation, *, remedy: Remedy, reason: str
) -> float:
    """Return the share of a node that the block of a submission takes; 1 for all that are not small."""
    shape = submission_shape(
        group,
        spec=spec,
        remedy=remedy,
        requests=situation.requests.get(group.step),
        site=situation.site,
        reason=reason,
    )
    return 1.0 if shape is None else shape.share


def _more_may_come(
    spec: CampaignSpec,
    snapshot: Snapshot,
    step: str,
    *,
    ready: Iterable[GroupView],
    entries: Iterable[_Straggler],
    until: datetime,
) -> bool:
    """Say whether another group of the step runs, starts, or may do so before the stragglers have to."""
    here = {entry.group.id for entry in entries}
    if any(group.step == step and group.id not in here for group in ready):
        return True
    before = steps_before(spec, step)
    others = [group for group in snapshot.groups if group.step == step and group.id not in here]
    moving = any(group.live is not None and group.step in before for group in snapshot.groups)
    return any(
        group.live is not None
        or (group.state is GroupState.WAITING and moving)
        or (group.state is GroupState.READY and not group.hold and _is_due(spec, group, until))
        for group in others
    )


def _is_due(spec: CampaignSpec, group: GroupView, until: datetime) -> bool:
    moment = due(spec, group)
    return moment is not None and moment <= until


def _beside_others(
    spec: CampaignSpec,
    snapshot: Snapshot,
    step: str,
    entries: Iterable[_Straggler],
    situation: Situation,
) -> set[int]:
    """Return the stragglers for which there is room beside those that run: they cost no other node."""
    taken = 0.0
    for group in snapshot.groups:
        if group.step == step and group.live is not None:
            share = _share(spec, group, situation, remedy=group.live.remedy, reason=group.live.reason)
            taken += share if share < 1 else 0
    room = ceil(taken) - taken
    found = set()
    for entry in entries:
        if entry.share <= room:
            found.add(entry.group.id)
            room -= entry.share
    return found


def _words(step: str, entries: Sequence[_Straggler], *, until: datetime) -> str:
    quanta = sum(entry.group.counts.open for entry in entries)
    groups = f"{len(entries)} group{'s' if len(entries) > 1 else ''} of {step}"
    share = sum(entry.share for entry in entries)
    return (
        f"{COLLECTS}{quanta} {'quanta' if quanta > 1 else 'quantum'} of {groups} for {share:.0%} of a node; "
        f"more are waited for, until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC at the latest"
    )
