"""Records that cross the border of the tracking database: what is handed to it, and rows it hands back.

Values only; how they are stored is the store's business, what they are for is the services'.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what only annotations name: `status` starts with this module
    from collections.abc import Mapping
    from typing import Any

    from merian_campaign.domain.record.snapshot import CampaignView, GroupView, SubmissionView
    from merian_campaign.domain.selection import Selection
    from merian_campaign.domain.slurm.slurm_jobs import SlurmJob


@dataclass(frozen=True, kw_only=True)
class NewGroup:
    """A group to be created: step, key, what it selects, its place in the order of steps."""

    step: str
    key: str
    selection: Selection
    ordinal: int


@dataclass(frozen=True, kw_only=True)
class Event:
    """One transition, for the append-only record.

    ``before`` is what a person's order changed of its group, as it was: by that it can be taken back.
    """

    kind: str
    actor: str
    reason: str = ""
    group_id: int | None = None
    submission_id: int | None = None
    from_state: str | None = None
    to_state: str | None = None
    before: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class RecordedEvent:
    """An event as stored, with its time (UTC) and the names it belongs to."""

    at: datetime
    kind: str
    actor: str
    reason: str
    step: str | None
    group: str | None
    submission: int | None
    from_state: str | None
    to_state: str | None
    group_id: int | None = None
    before: Mapping[str, Any] | None = None


class JobRole(StrEnum):
    """What a Slurm job does for its submission."""

    DRIVER = "driver"
    """It drives it."""
    BLOCK = "block"
    """It runs its quanta."""


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A Slurm job as seen, its role, and for how many seconds any quantum ran in it.

    One that is not ``sure`` is second-hand: it is put on record only if nothing is known of the job.
    """

    job: SlurmJob
    role: str
    busy_seconds: float | None = None
    sure: bool = True


@dataclass(frozen=True, kw_only=True)
class OpenJobs:
    """The Slurm jobs of one submission that were alive when last seen."""

    submission_id: int
    directory: str
    driver_job: str
    jobs: tuple[JobRecord, ...]


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """A stored Slurm job, for `blocks`; times UTC."""

    step: str
    group: str
    submission: int
    role: str
    job_id: str
    name: str
    slurm_state: str
    fate: str
    reason: str
    cancelled_by: str
    exit_code: int | None
    signal: int | None
    nodes: str
    submitted: datetime | None
    started: datetime | None
    ended: datetime | None
    restarts: int
    busy_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class BadNode:
    """A node on which blocks keep being lost: how many of late, and when the last one was (UTC)."""

    node: str
    lost: int
    last: datetime


@dataclass(frozen=True, kw_only=True)
class OpenTick:
    """A tick that has begun (UTC) and not ended: it is at work, hangs, or was killed."""

    id: int
    host: str
    pid: int
    started_at: datetime


@dataclass(frozen=True, kw_only=True)
class CampaignRow:
    """How one campaign stands, for the list of all: groups by state, and its last tick (UTC)."""

    name: str
    state: str
    reason: str
    revision: int
    file: str
    groups: int
    done: int
    ready: int
    running: int
    review: int
    stale: int
    ticked_at: datetime | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a driver that claimed a submission works on; ``gap``: since when it had none, and until when."""

    submission: SubmissionView
    group: GroupView
    campaign: CampaignView
    epoch: int
    gap: tuple[datetime, datetime] | None = None


@dataclass(frozen=True, kw_only=True)
class ArchivedCampaign:
    """What an archive holds.

    Parameters
    ----------
    campaign : `str`
        Name of the campaign.
    schema : `str`
        Version of the database's schema that the rows are of.
    rows : `~collections.abc.Mapping` [`str`, `int`]
        Number of rows by table.
    sha256 : `~collections.abc.Mapping` [`str`, `str`]
        Of each table's file.
    """

    campaign: str
    schema: str
    rows: Mapping[str, int]
    sha256: Mapping[str, str]
