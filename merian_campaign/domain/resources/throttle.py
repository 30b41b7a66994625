"""How a campaign shares a cluster: whose turn it is, and how much of the queue is left for it.

A submission under way counts as if it had all the blocks it may have: what it has not asked for yet it may
ask for at any moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Final
from zoneinfo import ZoneInfo

from merian_campaign.domain.record.snapshot import GroupView, Remedy, Snapshot, SubmissionView
from merian_campaign.domain.resources.core_hours import CoreHours
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.spec.clock import WeekdayName, Window

_HALF_DAY: Final = timedelta(hours=12)


def in_turn(spec: CampaignSpec, groups: Iterable[GroupView]) -> tuple[GroupView, ...]:
    """Return ready groups in the order in which they start.

    A higher priority goes first. Among equals the step with more steps before it does: what was begun (a
    tract, a night) is finished before more is begun. Then the order of the file counts.
    """
    depth = _depths(spec)
    return tuple(
        sorted(
            groups,
            key=lambda group: (
                _place(spec, group),
                -spec.step(group.step).priority,
                -depth[group.step],
            ),
        )
    )


def goes_first(spec: CampaignSpec, group: GroupView) -> bool:
    """Say whether a person wants a group before others, by ``limits.first``."""
    return _place(spec, group) < len(spec.limits.first)


def _place(spec: CampaignSpec, group: GroupView) -> int:
    """Return how early a person wants a group: by the first pattern of ``limits.first`` that it has."""
    names = (group.step, group.key, f"{group.step}/{group.key}")
    matching = (
        at
        for at, pattern in enumerate(spec.limits.first)
        if any(fnmatchcase(name, pattern) for name in names)
    )
    return next(matching, len(spec.limits.first))


def closed(spec: CampaignSpec, *, now: datetime) -> str:
    """Say in words that it is no hour to submit anything; empty when it is."""
    window = spec.limits.window
    if window is None or _open(window, now.astimezone(ZoneInfo(window.timezone))):
        return ""
    days = "" if len(window.days) == len(WeekdayName) else f" {', '.join(window.days)}"
    return f"limits.window: submissions start {window.begins}-{window.ends}{days} ({window.timezone})"


def last_noon(spec: CampaignSpec, *, now: datetime) -> datetime:
    """Return when this night began: a night goes from noon to noon, in the window's time zone or UTC."""
    limits = spec.limits
    local = now.astimezone(ZoneInfo(limits.window.timezone if limits.window is not None else "UTC"))
    return (local - _HALF_DAY).replace(hour=0, minute=0, second=0, microsecond=0) + _HALF_DAY


def counts_hours(spec: CampaignSpec) -> bool:
    """Say whether any budget is one of core-hours."""
    return spec.limits.core_hours is not None or spec.limits.core_hours_per_night is not None


def overspent(spec: CampaignSpec, used: CoreHours | None) -> str:
    """Say in words which budget of core-hours is used up; empty when none is.

    What runs then goes on to its end, so that more than the budget may come of it.
    """
    limits = spec.limits
    if used is None:
        return ""
    for name, limit, hours, whose in (
        ("core_hours", limits.core_hours, used.total, "the campaign"),
        ("core_hours_per_night", limits.core_hours_per_night, used.tonight, "this night"),
    ):
        if limit is not None and hours >= limit:
            return f"limits.{name}: {whose} has had {hours:.1f} of its {limit:g} core-hours"
    return ""


def budget(spec: CampaignSpec, snapshot: Snapshot, *, now: datetime) -> tuple[int | None, str]:
    """Return how many submissions the budgets leave, and in words which of them leaves the fewest.

    `None` where there are no budgets.
    """
    limits = spec.limits
    if limits.total is None and limits.per_night is None:
        return None, ""
    noon = last_noon(spec, now=now)
    made = [entry.created_at for group in snapshot.groups for entry in group.submissions]
    tonight = sum(noon <= moment <= now for moment in made)
    left = [
        (limits.total - len(made), f"limits.total: the campaign has had its {limits.total} submissions")
        if limits.total is not None
        else None,
        (
            limits.per_night - tonight,
            f"limits.per_night: this night has had its {limits.per_night} submissions",
        )
        if limits.per_night is not None
        else None,
    ]
    return min(entry for entry in left if entry is not None)


def _open(window: Window, local: datetime) -> bool:
    """Say whether a window is open at a local time; one that ends before it begins goes over midnight."""
    today = list(WeekdayName)[local.weekday()] in window.days
    yesterday = list(WeekdayName)[local.weekday() - 1] in window.days
    clock = f"{local:%H:%M}"
    if window.begins < window.ends:
        return today and window.begins <= clock < window.ends
    return (today and clock >= window.begins) or (yesterday and clock < window.ends)


def _depths(spec: CampaignSpec) -> dict[str, int]:
    """Return, by step, how many steps the longest chain of gates before it has."""
    found: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in found:
            found[name] = max((depth(gate.step) + 1 for gate in spec.step(name).after), default=0)
        return found[name]

    return {step.name: depth(step.name) for step in spec.steps}


def nice_of(spec: CampaignSpec, step: BpsStep) -> int | None:
    """Return how far a step's blocks stand back in Slurm's queue; `None` leaves it to Slurm.

    To the campaign's own ``nice`` comes what the step's priority lacks to the highest one of the file; a
    step's ``nice`` is taken as it is.
    """
    if step.nice is not None:
        return step.nice
    behind = max(entry.priority for entry in spec.steps if isinstance(entry, BpsStep)) - step.priority
    return spec.limits.nice if behind == 0 else (spec.limits.nice or 0) + behind


@dataclass(frozen=True, kw_only=True)
class Allotment:
    """What one submission may have in Slurm's queue at once: blocks, and jobs with its driver's."""

    blocks: int = 0
    jobs: int = 0


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """What is left of a campaign's limits; `None` is no limit."""

    submissions: int
    blocks: int | None = None
    jobs: int | None = None

    def less(self, share: Allotment) -> Headroom:
        """Return what is left after one more submission."""
        return replace(
            self,
            submissions=self.submissions - 1,
            blocks=None if self.blocks is None else self.blocks - share.blocks,
            jobs=None if self.jobs is None else self.jobs - share.jobs,
        )

    def share(self, wanted: Allotment) -> Allotment | None:
        """Return as much of a share as there is room for; `None` when that is no use."""
        driver = wanted.jobs - wanted.blocks
        for_blocks = None if self.jobs is None else self.jobs - driver
        blocks = min(value for value in (wanted.blocks, self.blocks, for_blocks) if value is not None)
        if not wanted.blocks:
            blocks = 0 if not driver or for_blocks is None or for_blocks >= 0 else -1
        enough = self.submissions > 0 and blocks >= min(1, wanted.blocks)
        return Allotment(blocks=blocks, jobs=driver + blocks) if enough else None


def room(spec: CampaignSpec, snapshot: Snapshot, *, site: SiteProfile | None, others: int | None) -> Headroom:
    """Return what is left for submissions that are not under way yet.

    Parameters
    ----------
    spec, snapshot
        The campaign.
    site : `SiteProfile` or `None`
        Where it runs.
    others : `int` or `None`
        Jobs of this user in the queue that belong to no submission under way; `None`: nobody looked.
    """
    live = [(group, group.live) for group in snapshot.groups if group.live is not None]
    shares = [_held(spec, group, submission, site=site) for group, submission in live]
    limits = spec.limits
    blocks = None if limits.blocks is None else limits.blocks - sum(share.blocks for share in shares)
    jobs = None
    if limits.jobs is not None and others is not None:
        jobs = limits.jobs - others - sum(share.jobs for share in shares)
    return Headroom(submissions=limits.submissions - len(live), blocks=blocks, jobs=jobs)


def _held(
    spec: CampaignSpec, group: GroupView, submission: SubmissionView, *, site: SiteProfile | None
) -> Allotment:
    """Return the share of a submission under way; its step may be in the file no more."""
    step = next((entry for entry in spec.steps if entry.name == group.step), None)
    if site is None or site.blocks is None or step is None or isinstance(step, ActionStep):
        return Allotment(jobs=int(bool(submission.driver_job)))
    blocks = submission.remedy.blocks or site.blocks.max_blocks
    return Allotment(blocks=blocks, jobs=blocks + bool(submission.driver_job))


def limited(spec: CampaignSpec, remedy: Remedy, given: Allotment) -> Remedy:
    """Return what a submission does differently, with its share of the blocks where these are limited."""
    if (spec.limits.blocks is None and spec.limits.jobs is None) or not given.blocks:
        return remedy
    return replace(remedy, blocks=given.blocks)


def why_not(spec: CampaignSpec, left: Headroom, wanted: Allotment) -> str:
    """Say in words which limit a group waits for."""
    limits = spec.limits
    if left.submissions <= 0:
        return f"limits.submissions: as many are under way as may be ({limits.submissions})"
    if wanted.blocks and left.blocks is not None and left.blocks <= 0:
        return f"limits.blocks: submissions under way may have all {limits.blocks} blocks"
    return (
        f"limits.jobs: all {limits.jobs} Slurm jobs of this user are in the queue, or due to submissions "
        "under way"
    )


def never(spec: CampaignSpec, wanted: Allotment) -> str:
    """Say why even an empty queue has no room for a submission; empty when it has."""
    fewest = wanted.jobs - max(0, wanted.blocks - 1)
    if spec.limits.jobs is None or fewest <= spec.limits.jobs:
        return ""
    return (
        f"limits.jobs of the campaign is {spec.limits.jobs}, and a submission has at least {fewest} Slurm "
        "jobs, its driver's and one block; raise it, or let drivers be processes"
    )
