"""What there is to be told of a campaign at one moment, whether or not it was told before: the keys say."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Final

from merian_campaign.domain.failures.rules import RETURNED
from merian_campaign.domain.record.board_row import EXPIRED, STALE
from merian_campaign.domain.record.snapshot import GroupView, Snapshot
from merian_campaign.domain.safe_text.shell import shown
from merian_campaign.domain.safe_text.text import clean, one_line
from merian_campaign.domain.states import CampaignState, GroupState
from merian_campaign.domain.tick.notices import (
    LONGEST_BODY,
    MOST_TOLD,
    STORM,
    Activity,
    Notice,
    NoticeKind,
    NoticeOptions,
    digest_key,
)

__all__ = ["notices_of"]

_MOST_RETRIES: Final = 8


def notices_of(
    snapshot: Snapshot, *, activity: Activity, options: NoticeOptions, now: datetime, resting: bool = False
) -> tuple[Notice, ...]:
    """Return all that there is to be told of a campaign now, whether or not it was told before.

    While it is ``resting``, for its hours or a night's budget, what is ready need not start.
    """
    found = [_review(snapshot, group) for group in snapshot.groups if group.state is GroupState.NEEDS_REVIEW]
    campaign = snapshot.campaign
    if campaign.state is CampaignState.CANCELLED:
        return ()
    if campaign.state is CampaignState.PAUSED and campaign.reason.startswith(STORM):
        found.append(_storm(snapshot))
    due = {GroupState.RUNNING} if resting else {GroupState.READY, GroupState.RUNNING}
    if _stalls(snapshot, due, activity=activity, hours=options.stall_hours, now=now):
        found.append(_stall(snapshot, activity=activity))
    found += _returned(snapshot)
    stale = _stale_groups(snapshot)
    states = {group.state for group in snapshot.groups}
    if stale and states.isdisjoint({GroupState.READY, GroupState.RUNNING}):
        found.append(_stale(snapshot, stale))
    if states == {GroupState.DONE}:
        last = max((entry.id for group in snapshot.groups for entry in group.submissions), default=0)
        # An edit of the file that brings no group and no submission is no news.
        parts = ",".join(str(group.id) for group in snapshot.groups)
        digest = hashlib.sha256(parts.encode()).hexdigest()[:16]
        older = f", {_stale_words(stale)}" if stale else ""
        found.append(
            Notice(
                kind=NoticeKind.COMPLETION,
                key=f"completion:{digest}:{last}",
                subject=f"campaign {campaign.name} is done{older}",
                body=f"{len(snapshot.groups)} groups; `merian-campaign status {campaign.name}`",
            )
        )
    if options.digest_hour is not None and now.hour >= options.digest_hour and not activity.quiet:
        found.append(_digest(snapshot, activity=activity, now=now))
    return tuple(found)


def _review(snapshot: Snapshot, group: GroupView) -> Notice:
    name, place = snapshot.campaign.name, f"{group.step}/{group.key}"
    commands = "\n".join(
        shown(("merian-campaign", verb, name, place)) for verb in ("show", "retry", "accept")
    )
    # After a person's retry it has run again, and what it needs then is news; so is the end of an acceptance.
    key = f"review:{group.id}:{len(group.submissions)}:{group.attempts_from}"
    if group.reason.startswith(EXPIRED):
        key += f":{hashlib.sha256(group.reason.encode()).hexdigest()[:16]}"
    return Notice(
        kind=NoticeKind.PERSON,
        key=key,
        subject=f"{name} {place} needs a person",
        body=f"{group.reason}\n{commands}",
    )


def _storm(snapshot: Snapshot) -> Notice:
    campaign = snapshot.campaign
    digest = hashlib.sha256(campaign.reason.encode()).hexdigest()[:16]
    last = max((entry.id for group in snapshot.groups for entry in group.submissions), default=0)
    return Notice(
        kind=NoticeKind.STORM,
        key=f"storm:{last}:{digest}",
        subject=f"campaign {campaign.name} paused itself",
        body=f"{campaign.reason}\nOnce the cause is mended: "
        f"{shown(('merian-campaign', 'resume', campaign.name))}",
    )


def _returned(snapshot: Snapshot) -> list[Notice]:
    """Return what is told of failures that were said to be solved: once for each rule and release."""
    name = snapshot.campaign.name
    found: dict[str, Notice] = {}
    for group in snapshot.groups:
        for entry in group.open_quanta:
            if entry.rule is None or not entry.rule.endswith(RETURNED):
                continue
            rule = entry.rule.removesuffix(RETURNED)
            release = group.submissions[-1].versions_sha if group.submissions else ""
            key = f"returned:{hashlib.sha256(rule.encode()).hexdigest()[:16]}:{release}"
            what = ": ".join(filter(None, (entry.exception_type, entry.exception_message)))
            found.setdefault(
                key,
                Notice(
                    kind=NoticeKind.RETURNED,
                    key=key,
                    subject=f"{name}: a failure that was solved is back: {rule}",
                    body=f"{group.step}/{group.key}, {entry.task}: {what}\n"
                    f"{shown(('merian-campaign', 'failures', name, '--task', entry.task))}",
                ),
            )
    return list(found.values())


def _stale_groups(snapshot: Snapshot) -> list[GroupView]:
    """Return the groups that are done for older data than there are now."""
    return [
        group
        for group in snapshot.groups
        if group.state is GroupState.DONE and group.reason.startswith(STALE)
    ]


def _stale_words(stale: Sequence[GroupView]) -> str:
    return f"{len(stale)} group{' is' if len(stale) == 1 else 's are'} done for older data"


def _stale(snapshot: Snapshot, stale: Sequence[GroupView]) -> Notice:
    """Return what is told of them when nothing else is under way: once, until it is something else."""
    name = snapshot.campaign.name
    what = "\n".join(f"{group.id} {len(group.submissions)} {group.reason}" for group in stale)
    places = [f"{group.step}/{group.key}: {group.reason.removeprefix(STALE)}" for group in stale[:MOST_TOLD]]
    more = [f"and {len(stale) - MOST_TOLD} more"] if len(stale) > MOST_TOLD else []
    redo = shown(("merian-campaign", "redo", name, f"{stale[0].step}/{stale[0].key}"))
    return Notice(
        kind=NoticeKind.STALE,
        key=f"stale:{hashlib.sha256(what.encode('utf-8', 'replace')).hexdigest()[:16]}",
        subject=f"campaign {name}: {_stale_words(stale)}",
        body=clean("\n".join([*places, *more, shown(("merian-campaign", "plan", name)), redo])),
    )


def _stalls(
    snapshot: Snapshot, due: AbstractSet[GroupState], *, activity: Activity, hours: float, now: datetime
) -> bool:
    if snapshot.campaign.state is not CampaignState.ACTIVE or activity.moved_at is None:
        return False
    should = any(group.state in due and not group.hold for group in snapshot.groups)
    return should and now - activity.moved_at > timedelta(hours=hours)


def _stall(snapshot: Snapshot, *, activity: Activity) -> Notice:
    name = snapshot.campaign.name
    places = [f"{group.step}/{group.key}" for group in snapshot.groups if group.state is GroupState.RUNNING]
    runs = f"; under way: {', '.join(places[:5])}{' ...' if len(places) > 5 else ''}" if places else ""  # noqa: PLR2004
    return Notice(
        kind=NoticeKind.STALL,
        key=f"stall:{activity.moved_at:%Y-%m-%dT%H:%M:%S}",
        subject=f"campaign {name} has not moved since {activity.moved_at:%Y-%m-%d %H:%M} UTC",
        body=f"something should be under way{runs}\n{shown(('merian-campaign', 'plan', name))}",
    )


def _digest(snapshot: Snapshot, *, activity: Activity, now: datetime) -> Notice:
    campaign, groups = snapshot.campaign, snapshot.groups
    before = activity.before or Activity(moved_at=None)
    done = sum(group.state is GroupState.DONE for group in groups)
    succeeded = sum(group.counts.succeeded for group in groups)
    expected = sum(group.counts.expected for group in groups)
    review = [group for group in groups if group.state is GroupState.NEEDS_REVIEW]
    lines = [
        f"campaign {campaign.name} ({campaign.state}): {done} of {len(groups)} groups done",
        f"{succeeded} of {expected} quanta succeeded",
        "since yesterday (the day before): " + ", ".join(_day(activity, before)),
        f"submissions ended: {_tally(activity.ended)}",
    ]
    lines += [f"failed: {words}: {number}" for words, number in activity.failed]
    lines += [f"retried: {one_line(words)}" for words in activity.retried[:_MOST_RETRIES]]
    if len(activity.retried) > _MOST_RETRIES:
        lines.append(f"retried: {len(activity.retried) - _MOST_RETRIES} more")
    stale = _stale_groups(snapshot)
    if stale:
        first = f"{stale[0].step}/{stale[0].key}: {stale[0].reason.removeprefix(STALE)}"
        lines.append(f"{_stale_words(stale)}, e.g. {first}")
    if activity.ends:
        lines.append(f"expected to end {activity.ends}")
    for group in review[:MOST_TOLD]:
        place = f"{group.step}/{group.key}"
        lines.append(f"needs you: {place}: {group.reason}")
        lines.append(f"  {shown(('merian-campaign', 'retry', campaign.name, place))}")
    if review:
        lines.append(shown(("merian-campaign", "failures", campaign.name)))
    return Notice(
        kind=NoticeKind.DIGEST,
        key=digest_key(now),
        subject=f"campaign {campaign.name}: {done} of {len(groups)} groups done"
        + (f", {len(review)} need you" if review else ""),
        body=clean("\n".join(lines), limit=LONGEST_BODY),
    )


def _day(activity: Activity, before: Activity) -> tuple[str, ...]:
    """Return what a day brought, and in parentheses what the day before did."""
    done, review = GroupState.DONE, GroupState.NEEDS_REVIEW
    return (
        f"{_moved(activity, done)} ({_moved(before, done)}) groups done",
        f"{_moved(activity, review)} ({_moved(before, review)}) began to need you",
        f"{activity.attempts} ({before.attempts}) quanta ended",
        f"{activity.core_hours:.1f} ({before.core_hours:.1f}) core-hours",
    )


def _moved(activity: Activity, state: GroupState) -> int:
    return dict(activity.moves).get(state.value, 0)


def _tally(pairs: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{number} {name}" for name, number in pairs) or "none"
