"""What the store knows about a campaign at one moment, as frozen values for `decide`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from merian_campaign.domain.execution.busy_blocks import BusyBlock
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.execution.quanta import OpenQuanta
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.overlaps import Overlaps
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.states import CampaignState, GroupState, SubmissionOutcome, SubmissionState


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """What an afterburner does differently from the submission before it.

    Parameters
    ----------
    memory_mb : `tuple` [`tuple` [`str`, `int`], ...]
        Task label and its new memory request in MiB, sorted by label.
    workers : `int` or `None`
        Workers a node; `None` leaves the site's number.
    blocks : `int` or `None`
        Its share of the blocks that the campaign's limits allow; `None` leaves the site's number.
    walltime : `tuple` [`tuple` [`str`, `int`], ...]
        Task label and the walltime of its quanta that a person or a rule asked for, minutes, sorted by label.
    exclude : `tuple` [`str`, ...]
        Nodes that its blocks must not get, sorted.
    by_inputs : `tuple` [`tuple` [`str`, `tuple` [`tuple` [`int`, `int`], ...]], ...]
        Task label, and what its quanta ask for by the number of their inputs: from so many on, MiB. Not more
        than the request of the task.
    """

    memory_mb: tuple[tuple[str, int], ...] = ()
    workers: int | None = None
    blocks: int | None = None
    walltime: tuple[tuple[str, int], ...] = ()
    exclude: tuple[str, ...] = ()
    by_inputs: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = ()


@dataclass(frozen=True, kw_only=True)
class SubmissionView:
    """One submission.

    Parameters
    ----------
    id, group_id : `int`
        Database keys.
    number : `int`
        1 for the first of its group; later ones are afterburners.
    state : `SubmissionState`
        Current state.
    outcome : `SubmissionOutcome` or `None`
        How it ended, when finished.
    run_collection : `str`
        Its RUN collection; empty for an action.
    directory : `str`
        Its own directory, absolute.
    remedy : `Remedy`
        What it does differently.
    reason : `str`
        Why it was made, or how it ended, in words.
    driver : `ProcessIdentity` or `None`
        The driver that claimed it.
    epoch : `int`
        How many drivers have claimed it.
    launched_at : `datetime.datetime` or `None`
        When a driver was started that has not claimed it yet.
    launches : `int`
        How many drivers were started since one last claimed it.
    lease_expires_at, created_at, finished_at : `datetime.datetime` or `None`
        UTC.
    cancel_requested : `bool`
        Whether a person asked for it to stop.
    driver_job : `str`
        Name of the Slurm job of its latest driver; empty when that is a process.
    needs_person : `bool`
        Whether it failed of something that only a person can mend.
    versions_sha : `str`
        Digest of the versions of the LSST stack that it ran under; empty when it ran nothing.
    versions_short : `str`
        The versions that its driver found, in a few words.
    generation : `int`
        Of the group's outputs, to which it adds.
    followed : `int` or `None`
        Bytes of its journal that live progress has put on record; `None` while its graph is not, either.
    busy : `~collections.abc.Mapping` [`str`, `BusyBlock`] or `None`
        How long its blocks worked up to there, by Slurm job id; `None` where nobody kept it.
    """

    id: int
    group_id: int
    number: int
    state: SubmissionState
    outcome: SubmissionOutcome | None
    run_collection: str
    directory: str
    remedy: Remedy
    reason: str
    driver: ProcessIdentity | None
    epoch: int
    created_at: datetime
    launched_at: datetime | None = None
    launches: int = 0
    lease_expires_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested: bool = False
    driver_job: str = ""
    needs_person: bool = False
    versions_sha: str = ""
    versions_short: str = ""
    generation: int = 1
    followed: int | None = None
    busy: Mapping[str, BusyBlock] | None = None


@dataclass(frozen=True, kw_only=True)
class GroupView:
    """One group with its submissions and quanta summed.

    Parameters
    ----------
    id : `int`
        Database key.
    step, key : `str`
        Step name and group key, unique together in a campaign.
    selection : `Selection`
        What it selects.
    state : `GroupState`
        Current state.
    reason : `str`
        Why it is in this state, in words.
    accepted : `bool`
        Whether a person accepted it as it is.
    attempts_from : `int`
        Submissions up to this number no longer count against the caps (a person said «retry»).
    submissions : `tuple` [`SubmissionView`, ...]
        By number.
    stack_from : `int`
        Submissions up to this number do not bind later ones to their versions of the stack.
    counts : `Counts`
        Quanta by state.
    open_quanta : `tuple` [`OpenQuanta`, ...]
        What has not succeeded.
    generation : `int`
        Of its outputs, from 1; a redo makes the next one, in RUN collections of its own.
    published : `int`
        The generation that the step's chain shows; 0 for none, of what was taken out of the file.
    basis : `Basis` or `None`
        What the outputs of its generation were made from; `None` when there are none, or nobody wrote it
        down.
    combines : `bool` or `None`
        Whether any quantum of it is neither of one exposure nor of one visit, so that new data change
        outputs that exist; `None` before its first graph.
    gathers : `bool` or `None`
        Whether any quantum of it has no detector, so that more raws of an exposure change outputs that exist;
        `None` before its first graph.
    hold : `str`
        Why a person holds it, so that nothing of it starts; empty when nobody does.
    accepted_until : `datetime.datetime` or `None`
        When what a person accepted is to be looked at again, UTC; `None` is never.
    asked : `Remedy`
        What a person asked its submissions to do differently from now on.
    """

    id: int
    step: str
    key: str
    selection: Selection
    state: GroupState
    reason: str
    accepted: bool
    attempts_from: int
    submissions: tuple[SubmissionView, ...]
    counts: Counts
    open_quanta: tuple[OpenQuanta, ...]
    stack_from: int = 0
    generation: int = 1
    published: int = 1
    basis: Basis | None = None
    combines: bool | None = None
    gathers: bool | None = None
    hold: str = ""
    accepted_until: datetime | None = None
    asked: Remedy = field(default_factory=Remedy)

    @property
    def tract(self) -> int | None:
        """The tract, when the group is one tract."""
        if self.selection.dimension == "tract" and len(self.selection.values) == 1:
            return self.selection.values[0]
        return None

    @property
    def live(self) -> SubmissionView | None:
        """The unfinished submission, of which there is at most one."""
        for submission in self.submissions:
            if submission.state is not SubmissionState.FINISHED:
                return submission
        return None


@dataclass(frozen=True, kw_only=True)
class CampaignView:
    """One campaign as applied.

    Parameters
    ----------
    id : `int`
        Database key.
    name : `str`
        Unique name.
    state : `CampaignState`
        Current state.
    file : `str`
        Absolute path of the campaign file it was applied from.
    revision : `int`
        Number of the revision in force, from 1.
    sha256 : `str`
        Of the file as applied.
    spec : `~collections.abc.Mapping`
        The resolved campaign document (variables expanded, paths absolute), for `CampaignSpec`.
    reason : `str`
        Why it is paused or cancelled, with who said so; empty while it is active.
    uuid : `str`
        Of this campaign in this database; one that is created anew has another.
    resumed_at : `datetime.datetime` or `None`
        When a person last let it go on, UTC; `None` also where nobody asked: a snapshot does.
    """

    id: int
    name: str
    state: CampaignState
    file: str
    revision: int
    sha256: str
    spec: Mapping[str, object]
    reason: str = ""
    uuid: str = ""
    resumed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A campaign with all its groups, read in one transaction.

    Parameters
    ----------
    campaign : `CampaignView`
        The campaign.
    groups : `tuple` [`GroupView`, ...]
        In the order of the steps.
    overlaps : `Overlaps` or `None`
        Which tracts its exposures overlap, as last seen; `None` when nobody has looked.
    """

    campaign: CampaignView
    groups: tuple[GroupView, ...]
    overlaps: Overlaps | None = None

    def group(self, group_id: int) -> GroupView:
        """Return a group by database key."""
        for group in self.groups:
            if group.id == group_id:
                return group
        raise KeyError(group_id)
