"""Rows that a report is made of, as one moment of the tracking database has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.record.board_row import STALE
from merian_campaign.domain.record.records import JobRow, RecordedEvent
from merian_campaign.domain.resources.core_hours import Price
from merian_campaign.domain.sky_regions import SkyRegion
from merian_campaign.domain.states import GroupState


@dataclass(frozen=True, kw_only=True)
class ReportGroup:
    """A group; ``dimension`` and ``values`` are what it selects, ``empty_graph`` that its graph was empty."""

    id: int
    step: str
    group: str
    ordinal: int
    dimension: str
    values: tuple[int, ...]
    state: str
    reason: str
    accepted: bool
    submissions: int
    empty_graph: bool
    updated_at: datetime
    remade: str | None = None
    """Why its next generation is being made while readers see an older one; `None` when none is."""

    @property
    def stale(self) -> bool:
        """Whether it is done for older data than there were, and stays so."""
        return self.state == GroupState.DONE and self.reason.startswith(STALE)

    @property
    def tracts(self) -> tuple[int, ...]:
        """The tracts that it selects."""
        return self.values if self.dimension == "tract" else ()

    @property
    def nights(self) -> tuple[int, ...]:
        """The nights that it selects."""
        return self.values if self.dimension == "day_obs" else ()


@dataclass(frozen=True, kw_only=True)
class QuantaCell:
    """Quanta of a group by tract, band and state, and how many of them succeeded with which caveats."""

    group_id: int
    tract: int | None
    band: str | None
    state: str
    n: int
    caveats: int
    no_work: int = 0
    upstream: int = 0
    unprocessable: int = 0
    partial: int = 0


@dataclass(frozen=True, kw_only=True)
class CauseRow:
    """Failed quanta of one step, task, verdict and exception, with the first of them as an example.

    ``behind`` are the blocked quanta that point at them; ``tracts`` and ``patches`` those of both.
    """

    step: str
    ordinal: int
    task: str
    verdict: str
    exception: str
    quanta: int
    behind: int
    group_ids: tuple[int, ...]
    tracts: int
    patches: int
    last_ended: datetime | None
    example: int
    group: str
    data_id: str
    evidence: str
    message: str | None
    log_path: str | None
    certainty: str | None = None
    log_tail: str | None = None


@dataclass(frozen=True, kw_only=True)
class CauseRows:
    """What the failures of a campaign are told from: all groups, their counts, the causes asked for.

    ``unpointed`` are blocked quanta, by group, of which it is not on record what blocks them.
    """

    campaign: str
    groups: tuple[ReportGroup, ...]
    counts: Mapping[int, Counts]
    causes: tuple[CauseRow, ...]
    failed_attempts: int
    unpointed: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class UsageRow:
    """Executions of a task: how many, how many failed, memory in MiB, run times in seconds.

    What was asked for is told by its median, and by the largest, which afterburners have. Of large campaigns
    medians and 95% are told to within a hundredth.

    Of ``waited`` executions it is known when they could have started: handed over, and all before them
    ended. The ``wait`` is from then to their start, medians and 95% to within a hundredth; `None` where no
    journal that says it was taken in.
    """

    step: str
    task: str
    executions: int
    failed: int
    requested_mb_median: int | None
    requested_mb: int | None
    peak_mb_median: int | None
    peak_mb_p95: int | None
    peak_mb: int | None
    seconds_median: float | None
    seconds_p95: float | None
    seconds_longest: float | None
    hours: float
    waited: int | None = None
    wait_seconds_median: float | None = None
    wait_seconds_p95: float | None = None
    wait_seconds_longest: float | None = None
    wait_hours: float | None = None


@dataclass(frozen=True, kw_only=True)
class ProgressRow:
    """Executions that ended in a span of time, by step; ``done`` are quanta whose last success is of then."""

    start: datetime
    step: str
    succeeded: int
    failed: int
    done: int = 0


@dataclass(frozen=True, kw_only=True)
class SubmissionRow:
    """A submission, with the group that it is of."""

    step: str
    group: str
    tract: int | None
    number: int
    state: str
    outcome: str | None
    reason: str
    remedy: Mapping[str, Any]
    run_collection: str
    created_at: datetime
    claimed_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class StackRow:
    """Versions of the LSST stack that submissions ran under."""

    digest: str
    short: str
    submissions: int
    first: datetime
    last: datetime


@dataclass(frozen=True, kw_only=True)
class RevisionRow:
    """A revision of the campaign file."""

    number: int
    actor: str
    applied_at: datetime
    sha256: str
    text: str


@dataclass(frozen=True, kw_only=True)
class ReportRows:
    """All of one moment.

    Parameters
    ----------
    campaign, state, file : `str`
        Name, state and file of the campaign.
    spec : `~collections.abc.Mapping`
        What the revision in force resolved to.
    at : `datetime.datetime`
        The moment, UTC.
    past : `bool`
        Whether it is the record of an earlier moment.
    since : `datetime.datetime` or `None`
        From when on changes are told.
    began : `datetime.datetime` or `None`
        When the first submission was made.
    span_seconds : `int`
        Length of the spans of ``progress``.
    schema : `str`
        Version of the database's schema.
    last_tick : `datetime.datetime` or `None`
        When the last tick began.
    unpointed : `~collections.abc.Mapping`
        As of `CauseRows`.
    succeeded_since, failed_since : `int`
        Executions that ended after ``since``, if there is such a time.
    prices : `~collections.abc.Mapping`
        By ``STEP/GROUP``, what it would cost to make anew what is done for older data.
    """

    campaign: str
    state: str
    file: str
    spec: Mapping[str, Any]
    at: datetime
    past: bool
    since: datetime | None
    began: datetime | None
    span_seconds: int
    schema: str
    last_tick: datetime | None
    groups: tuple[ReportGroup, ...]
    cells: tuple[QuantaCell, ...]
    causes: tuple[CauseRow, ...]
    unpointed: Mapping[int, int]
    usage: tuple[UsageRow, ...]
    progress: tuple[ProgressRow, ...]
    succeeded_since: int
    failed_since: int
    jobs: tuple[JobRow, ...]
    submissions: tuple[SubmissionRow, ...]
    stacks: tuple[StackRow, ...]
    revisions: tuple[RevisionRow, ...]
    events: tuple[RecordedEvent, ...]
    regions: tuple[SkyRegion, ...]
    visits: tuple[int, ...]
    visits_of_tracts: Mapping[int, int]
    prices: Mapping[str, Price] = field(default_factory=dict)
