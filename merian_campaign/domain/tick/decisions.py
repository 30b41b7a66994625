"""What a tick knows when it decides, and what it may decide to do: values, no policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from merian_campaign.domain.execution.liveness import Liveness
from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.readiness.complete_nights import NO_ARRIVALS, Arrivals
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.records import NewGroup
from merian_campaign.domain.record.snapshot import GroupView, Remedy, SubmissionView
from merian_campaign.domain.resources.cluster import Cluster, ResourceRequest
from merian_campaign.domain.resources.core_hours import CoreHours
from merian_campaign.domain.resources.memory_model import MemoryForecast
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.states import GroupState

LAUNCH_GRACE = timedelta(seconds=90)
"""How long a started driver may take to claim its submission before another is started."""

STACK_GRACE = timedelta(minutes=5)
"""The same where a driver sets up an LSST stack first, which a busy file system can make slow."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What `decide` needs besides the snapshot.

    Parameters
    ----------
    drivers : `~collections.abc.Mapping`
        Liveness by submission id, for every unfinished submission.
    requests : `~collections.abc.Mapping`
        Memory requests by step name.
    workers : `int`
        The site's workers a node.
    now : `datetime.datetime`
        UTC.
    words : `~collections.abc.Mapping`
        By submission id, what the scheduler says of the driver's job.
    damaged : `~collections.abc.Mapping`
        By submission id, why what is known of it cannot be read; its driver need not be among ``drivers``.
    site : `SiteProfile` or `None`
        Where it runs; needed with ``cluster`` only.
    cluster : `Cluster` or `None`
        What the Slurm cluster allows; `None` when there is none, or nobody has asked yet.
    no_submission : `str`
        Why nothing may be submitted now, in words: the scheduler does not answer.
    no_jobs : `str`
        Why no driver's Slurm job can be submitted now, in words: the scheduler takes no more of them.
    others : `int` or `None`
        Slurm jobs of this user that belong to no submission under way; `None` when nobody counted.
    grace : `~datetime.timedelta`
        How long a started driver may take to claim its submission.
    arrivals : `Arrivals`
        What was seen of new data on the file system.
    core_hours : `CoreHours` or `None`
        What was used of them; `None` when nobody counted.
    release : `str`
        Digest of the LSST stack that a driver would find; empty when only the driver can say.
    learned : `~collections.abc.Mapping`
        By step, the memory requests that its tasks get by what was measured.
    """

    drivers: Mapping[int, Liveness]
    requests: Mapping[str, RequestTable]
    workers: int
    now: datetime
    words: Mapping[int, str] = field(default_factory=dict)
    damaged: Mapping[int, str] = field(default_factory=dict)
    site: SiteProfile | None = None
    cluster: Cluster | None = None
    no_submission: str = ""
    no_jobs: str = ""
    others: int | None = None
    grace: timedelta = LAUNCH_GRACE
    arrivals: Arrivals = NO_ARRIVALS
    core_hours: CoreHours | None = None
    release: str = ""
    learned: Mapping[str, tuple[MemoryForecast, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PauseCampaign:
    """Start nothing more of the campaign until a person says so: one failure is everywhere."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class AddGroups:
    """Create the groups of a step that new data ask for."""

    step: str
    groups: tuple[NewGroup, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class MoveGroup:
    """Change the state of a group.

    ``misfit`` is the job for which the cluster's partitions have no room, where that is the reason.
    """

    group: GroupView
    state: GroupState
    reason: str
    misfit: ResourceRequest | None = None


@dataclass(frozen=True, kw_only=True)
class Submit:
    """Prepare submission ``number`` of a group and start its driver.

    ``basis`` is what it selects and reads at this moment; `None` when that is not known.
    """

    group: GroupView
    number: int
    remedy: Remedy
    reason: str
    basis: Basis | None = None


@dataclass(frozen=True, kw_only=True)
class Again:
    """Let a group that has run go on with new data.

    Its caps are forgotten and it waits for what it needs. With ``redo`` a new generation begins, in RUN
    collections of its own, for which nothing of the old one is skipped; else the next submission adds what is
    missing to the generation that is there.
    """

    group: GroupView
    reason: str
    redo: bool


@dataclass(frozen=True, kw_only=True)
class Publish:
    """Put the RUN collections of a group's generation into the step's chain, in the place of older ones.

    Parameters
    ----------
    group : `GroupView`
        The group.
    none : `bool`
        Whether the chain shows none of it instead: the file has no more what it is of.
    """

    group: GroupView
    none: bool = False


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Leave a ready group where it is: a limit, or the scheduler, has no room for it now."""

    group: GroupView
    reason: str


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Start a driver for a submission that has none alive."""

    group: GroupView
    submission: SubmissionView
    reason: str


@dataclass(frozen=True, kw_only=True)
class Harvest:
    """Take in what a driver left behind and finish its submission."""

    group: GroupView
    submission: SubmissionView


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """Finish a submission whose drivers keep dying."""

    group: GroupView
    submission: SubmissionView
    reason: str


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """Ask a person about a group that cannot be gone on with; what runs of it is ended, and not read."""

    group: GroupView
    reason: str


@dataclass(frozen=True, kw_only=True)
class CallOff:
    """Finish a submission that was cancelled before any driver began it."""

    group: GroupView
    submission: SubmissionView
    reason: str


@dataclass(frozen=True, kw_only=True)
class Follow:
    """Take in the progress of a running submission."""

    group: GroupView
    submission: SubmissionView


type Decision = (
    PauseCampaign
    | AddGroups
    | MoveGroup
    | Again
    | Publish
    | Submit
    | Wait
    | Launch
    | Harvest
    | GiveUp
    | SetAside
    | CallOff
    | Follow
)
