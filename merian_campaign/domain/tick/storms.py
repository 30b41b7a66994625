"""When one failure is everywhere: the campaign stops by itself instead of spending what it has of tries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from merian_campaign.domain.failures.backoff import starved
from merian_campaign.domain.failures.rule_remedy import RuleRemedy, read_remedy
from merian_campaign.domain.record.snapshot import GroupView, Snapshot, SubmissionView
from merian_campaign.domain.safe_text.folding import folded
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.states import GroupState, SubmissionOutcome
from merian_campaign.domain.tick.notices import STORM

__all__ = ["paused_by_rule", "shortage", "stopped", "storm", "unproven"]

WINDOW: Final = timedelta(hours=2)
"""Submissions that ended within this time are looked at together."""

FEWEST: Final = 5
"""Groups that a storm has at least; fewer may be chance, or a bad tract and its neighbours."""

FEWEST_SHORT: Final = 2
"""Groups that could not run for what the machine was short of, before all others wait."""

SHARE: Final = 0.8
"""Of the groups that ended within the window, how many have that failure."""

_EVER: Final = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))

_RAN: Final = frozenset({SubmissionOutcome.SUCCEEDED, SubmissionOutcome.PARTIAL})


def storm(snapshot: Snapshot, *, now: datetime) -> str:
    """Say with its evidence that one failure is everywhere; empty when none is.

    Parameters
    ----------
    snapshot : `Snapshot`
        The campaign. What ended before a person last let it go on counts no more.
    now : `datetime.datetime`
        UTC.
    """
    ended = _ended(snapshot, now=now)
    for entries in _alike(ended):
        if len(entries) >= FEWEST and len(entries) >= SHARE * len(ended):
            return _words(entries, of=len(ended), since=min(last.finished_at or now for _, last in entries))
    return ""


def stopped(snapshot: Snapshot) -> tuple[str, ...]:
    """Return, as ``STEP/KEY``, what a storm has left to a person: what failed alike, however long ago."""
    entries = [
        entry for found in _alike(_ended(snapshot, now=None)) if len(found) >= FEWEST for entry in found
    ]
    names = {f"{group.step}/{group.key}" for group, _ in entries if group.state is GroupState.NEEDS_REVIEW}
    return tuple(sorted(names))


def _alike(
    ended: Iterable[tuple[GroupView, SubmissionView]],
) -> Iterable[list[tuple[GroupView, SubmissionView]]]:
    """Return together what failed alike."""
    by_signature: dict[str, list[tuple[GroupView, SubmissionView]]] = defaultdict(list)
    for group, last in ended:
        found = _signature(group, last)
        if found:
            by_signature[found].append((group, last))
    return by_signature.values()


def paused_by_rule(snapshot: Snapshot) -> str:
    """Say for which failure a rule has the campaign paused; empty when none does.

    What ended before a person last let the campaign go on counts no more.
    """
    resumed = snapshot.campaign.resumed_at
    for group in snapshot.groups:
        last = next((entry for entry in reversed(group.submissions) if entry.outcome is not None), None)
        if last is None or (resumed is not None and (last.finished_at or resumed) <= resumed):
            continue
        for entry in group.open_quanta:
            if entry.verdict is not None and read_remedy(entry.remedy)[0] is RuleRemedy.PAUSE_CAMPAIGN:
                what = ": ".join(filter(None, (entry.task, entry.exception_type, entry.exception_message)))
                return one_line(f"{STORM}rule {entry.rule}: {group.step}/{group.key}: {what}", limit=1000)
    return ""


def shortage(snapshot: Snapshot, *, now: datetime) -> str:
    """Say that machine or database are short of something for everybody; empty when they are not.

    That passes by itself: one submission at a time tries whether it has.
    """
    ended = _ended(snapshot, now=now)
    short = [(group, last) for group, last in ended if starved(last)]
    if len(short) < FEWEST_SHORT or len(short) < SHARE * len(ended):
        return ""
    return one_line(f"{len(short)} groups could not run: {short[-1][1].reason}; one at a time tries again")


def _ended(snapshot: Snapshot, *, now: datetime | None) -> list[tuple[GroupView, SubmissionView]]:
    """Return the groups whose latest run ended within the window, with that run; `None`: at any time.

    What ended before a person last let the campaign go on is not among them.
    """
    resumed = snapshot.campaign.resumed_at or _EVER[0]
    since, until = (resumed, _EVER[1]) if now is None else (max(now - WINDOW, resumed), now)
    found = []
    for group in snapshot.groups:
        last = next((entry for entry in reversed(group.submissions) if entry.outcome is not None), None)
        if last is not None and last.finished_at is not None and since < last.finished_at <= until:
            found.append((group, last))
    return found


def unproven(spec: CampaignSpec, snapshot: Snapshot, step: str, *, release: str = "") -> int | None:
    """Return how many groups of a step may start before one has shown that it works; `None`: any number.

    Parameters
    ----------
    spec, snapshot
        The campaign.
    step : `str`
        The step; one that works under one release of the LSST stack is new under the next.
    release : `str`, optional
        Digest of the versions that a driver would find; where that is not known, the newest that one found.
    """
    canary = spec.limits.canary
    groups = [group for group in snapshot.groups if group.step == step]
    if canary is None or len(groups) <= canary:
        return None
    release = release or _newest_release(snapshot)
    if any(_has_worked(group, release) for group in groups):
        return None
    return max(0, canary - sum(group.live is not None for group in groups))


def _newest_release(snapshot: Snapshot) -> str:
    found = [entry for group in snapshot.groups for entry in group.submissions if entry.versions_sha]
    return max(found, key=lambda entry: (entry.created_at, entry.id)).versions_sha if found else ""


def _has_worked(group: GroupView, release: str) -> bool:
    """Say whether a group has shown under a release that its step works there."""
    ran = [entry for entry in group.submissions if entry.outcome is not None]
    if not any(entry.versions_sha == release for entry in ran):
        # What nobody knows the release of, as in the campaign's first days, has to do.
        return not release and group.state is GroupState.DONE
    if group.state is GroupState.DONE:
        return True
    return bool(group.counts.succeeded) and any(
        entry.outcome in _RAN and entry.versions_sha == release for entry in ran
    )


def _signature(group: GroupView, last: SubmissionView) -> str:
    """Return what a failure has in common with others of its kind; empty for none that counts.

    Of what ran, only that no quantum of the group has ever succeeded counts. Lost drivers, and what the
    machine was short of, are waited for instead.
    """
    if starved(last):
        return ""
    if last.outcome is SubmissionOutcome.FAILED:
        return folded(last.reason)
    if last.outcome is not SubmissionOutcome.PARTIAL or group.counts.succeeded:
        return ""
    failed = [entry for entry in group.open_quanta if entry.verdict is not None]
    worst = max(failed, key=lambda entry: entry.number, default=None)
    if worst is None:
        return folded(last.reason)
    return f"{worst.task}: {worst.verdict}: {worst.exception_type}"


def _words(entries: list[tuple[GroupView, SubmissionView]], *, of: int, since: datetime) -> str:
    group, last = entries[0]
    failed = [entry for entry in group.open_quanta if entry.verdict is not None]
    worst = max(failed, key=lambda entry: entry.number, default=None)
    cause = last.reason
    if last.outcome is not SubmissionOutcome.FAILED and worst is not None:
        cause = f"{worst.task}: {worst.exception_type}: {worst.exception_message}"
    places = ", ".join(f"{entry.step}/{entry.key}" for entry, _ in entries[:3])
    return one_line(
        f"{STORM}{len(entries)} of {of} groups that ended since {since.astimezone(UTC):%H:%M} UTC "
        f"failed alike ({places} ...): {cause}",
        limit=1000,
    )
