"""What the services ask of the rooms that implement it. Frozen domain values in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from merian_campaign.domain import journal
from merian_campaign.domain.basis import Basis
from merian_campaign.domain.blocks import BlockLine
from merian_campaign.domain.cluster import Cluster, ResourceRequest
from merian_campaign.domain.core_hours import RunTime
from merian_campaign.domain.generations import ChainChange, Generation
from merian_campaign.domain.liveness import Liveness
from merian_campaign.domain.notices import Activity, Notice, PendingNotice
from merian_campaign.domain.overlap_refresh import OverlapQuery, OverlapRefresh, OverlapRefreshFailed
from merian_campaign.domain.overlaps import Overlaps
from merian_campaign.domain.process_identity import ProcessIdentity
from merian_campaign.domain.provenance import LineReport, Predicted, RawQuantum
from merian_campaign.domain.quanta import Counts, HeldQuantum, Quantum
from merian_campaign.domain.records import (
    AttemptRow,
    BadNode,
    Claim,
    Event,
    JobRecord,
    JobRow,
    NewGroup,
    OpenJobs,
    OpenTick,
    RecordedEvent,
)
from merian_campaign.domain.remains import Remains
from merian_campaign.domain.report.rows import ReportRows
from merian_campaign.domain.runs import RunResult, Salvaged
from merian_campaign.domain.sbatch import SubmitResult
from merian_campaign.domain.sky_regions import RegionQuery, SkyRegion
from merian_campaign.domain.slurm_jobs import JobQuery, QueueSnapshot
from merian_campaign.domain.snapshot import CampaignView, Remedy, Snapshot, SubmissionView
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.domain.stack_versions import Versions
from merian_campaign.domain.states import (
    CampaignState,
    GroupState,
    SubmissionOutcome,
)

__all__ = [
    "Drivers",
    "Registry",
    "Scheduler",
    "Store",
    "SubmissionRunner",
]


class Store(Protocol):
    """The tracking database.

    Every method is one transaction unless it says otherwise.
    """

    # -- campaigns ---------------------------------------------------------------------------------
    def campaign(self, name: str) -> CampaignView | None:
        """Return a campaign by name."""

    def campaigns(self) -> tuple[CampaignView, ...]:
        """Return all campaigns, by name."""

    def apply(
        self,
        *,
        name: str,
        file: str,
        text: str,
        sha256: str,
        spec: Mapping[str, object],
        groups: Sequence[NewGroup],
        dropped: Sequence[int],
        actor: str,
        now: datetime,
    ) -> CampaignView:
        """Create a campaign, or add a revision to it, and create the groups that do not exist yet.

        ``dropped`` are ids of groups that the new revision no longer contains and that never ran:
        they are deleted. Applying the same sha256 again adds no revision.
        """

    def add_groups(
        self, *, campaign_id: int, groups: Sequence[NewGroup], reason: str, actor: str, now: datetime
    ) -> int:
        """Create groups that do not exist yet, with an event; return how many there were to create."""

    def record_overlaps(self, *, campaign_id: int, overlaps: Overlaps, actor: str, now: datetime) -> bool:
        """Put on record which tracts a campaign's exposures overlap, in place of what was seen before.

        Returns
        -------
        changed : `bool`
            Whether any exposure, or what it overlaps, is news; then there is an event.
        """

    def record_regions(self, *, campaign: str, regions: Sequence[SkyRegion]) -> None:
        """Keep where tracts and visits lie on the sky."""

    def report(
        self, name: str, *, at: datetime, past: bool = False, since: datetime | None = None
    ) -> ReportRows:
        """Return all that a report is made of, now or of a moment that is past."""

    def set_campaign_state(self, *, name: str, state: CampaignState, event: Event, now: datetime) -> None:
        """Change a campaign's state and record the event."""

    def skip_submission_ids(self, *, above: int) -> None:
        """Give later submissions ids above this one: drivers of a lost database may still say theirs."""

    def forget(self, name: str) -> None:
        """Delete a campaign with everything that is recorded of it, events included."""

    def campaign_lock(self, name: str) -> AbstractContextManager[None]:
        """Hold the campaign's advisory lock; raise `BusyError` naming the holder when it is taken."""

    def repository_lock(
        self, repository: str, *, go_on: Callable[[], bool] = ..., patience: float = ...
    ) -> AbstractContextManager[None]:
        """Hold the butler repository's advisory lock; wait for it, and for a database that is away.

        `BusyError` after so many seconds of patience.

        The key is a function of the repository's resolved path, the same in every process. `CalledOffError`
        when ``go_on`` says that it is not wanted any more.
        """

    def tick_started(self, *, campaign_id: int, host: str, pid: int, now: datetime) -> int:
        """Record that a tick began; return its id."""

    def open_tick(self, name: str) -> OpenTick | None:
        """Return the newest tick of a campaign, if it has not ended."""

    def tick_finished(self, *, tick_id: int, now: datetime, actions: int, error: str | None) -> None:
        """Record how a tick ended."""

    # -- reading -----------------------------------------------------------------------------------
    def snapshot(self, name: str) -> Snapshot:
        """Return the whole campaign, in a number of statements that does not grow with its groups."""

    def attempts(self, *, group_id: int) -> tuple[AttemptRow, ...]:
        """Return the stored attempts of a group's quanta."""

    def events(
        self, name: str, *, group_id: int | None = None, limit: int = 50, since: datetime | None = None
    ) -> tuple[RecordedEvent, ...]:
        """Return the newest events, newest first."""

    def last_cancels(self, name: str) -> Mapping[int, str]:
        """Return, by group id, why it was last cancelled, as the event says."""

    def held_quanta(self, *, group_id: int) -> tuple[HeldQuantum, ...]:
        """Return quanta whose last verdict forbids running them again (algorithm, configuration)."""

    # -- groups and submissions --------------------------------------------------------------------
    def move_group(
        self,
        *,
        group_id: int,
        state: GroupState,
        reason: str,
        actor: str,
        now: datetime,
        accepted: bool = False,
        accepted_until: datetime | None = None,
        kind: str = "group",
    ) -> None:
        """Move a group along the transition table and record the event."""

    def hold_group(
        self, *, group_id: int, hold: str, reason: str, actor: str, now: datetime, kind: str = ""
    ) -> None:
        """Keep a group from starting, for a reason, or with an empty ``hold`` let it; record the event."""

    def retry_group(
        self,
        *,
        group_id: int,
        reason: str,
        actor: str,
        now: datetime,
        allow_stack_change: bool = False,
        asked: Remedy | None = None,
    ) -> None:
        """Move a group to READY, forgetting its caps (``attempts_from`` = its last submission number).

        ``asked`` is what its submissions do differently from now on. With ``allow_stack_change`` also what
        versions of the stack it ran under (``stack_from``) is forgotten.
        """

    def again(self, *, group_id: int, redo: bool, reason: str, actor: str, now: datetime) -> None:
        """Let a group that has run go on: it waits, its caps are forgotten, and it is accepted no longer.

        With ``redo`` its next generation begins: all its quanta are superseded, their attempts stay.
        """

    def published(self, *, group_id: int, generation: int, actor: str, now: datetime) -> None:
        """Record that the step's chain shows a generation of a group."""

    def generations(self, *, group_id: int) -> tuple[Generation, ...]:
        """Return the generations of a group that have had a submission, the oldest first."""

    def prepare_submission(
        self,
        *,
        group_id: int,
        number: int,
        run_collection: str,
        repository: str,
        directory: str,
        remedy: Remedy,
        reason: str,
        actor: str,
        now: datetime,
        basis: Basis | None = None,
    ) -> SubmissionView:
        """Commit the intention to submit: submission row PREPARED, group RUNNING, event.

        It adds to the generation that the group has.
        """

    def launching(self, *, submission_id: int, now: datetime, driver_job: str = "") -> None:
        """Record that a driver is about to be started (committed before it is).

        ``driver_job`` is the name its Slurm job will have; empty for a process.
        """

    def not_launched(self, *, submission_id: int) -> None:
        """Record that no driver is on its way after all, so that one may be started at any time."""

    def claim(
        self,
        *,
        submission_id: int,
        driver: ProcessIdentity,
        lease_seconds: float,
        now: datetime,
        expected_epoch: int,
    ) -> Claim | None:
        """Claim a submission for a driver, if its epoch is still ``expected_epoch``.

        Compare-and-set: of several drivers one gets the claim (epoch + 1), the others `None`. A
        finished submission cannot be claimed.
        """

    def heartbeat(
        self, *, submission_id: int, epoch: int, lease_seconds: float, now: datetime
    ) -> bool | None:
        """Extend the lease; `True` to go on, `False` when asked to cancel, `None` when superseded."""

    def record_versions(
        self, *, submission_id: int, epoch: int, versions: Mapping[str, Any], ran: bool
    ) -> None:
        """Put on record the versions of the stack that a driver found, and whether it runs under them.

        Nothing is written for a driver that was superseded.
        """

    def versions(self, *, submission_id: int) -> Mapping[str, Any] | None:
        """Return what `record_versions` put on record."""

    def request_cancel(
        self, *, submission_id: int, actor: str, now: datetime, reason: str = "asked to stop"
    ) -> None:
        """Ask a submission's driver to stop."""

    def record_progress(
        self, *, submission_id: int, quanta: Iterable[Quantum], now: datetime, jobs: Sequence[JobRecord] = ()
    ) -> int:
        """Upsert live states of quanta; never turns a succeeded quantum into anything else.

        Returns
        -------
        changed : `int`
            Rows inserted or updated; 0 when nothing changed (then nothing is written).
        """

    def harvest(
        self,
        *,
        submission_id: int,
        quanta: Iterable[Quantum],
        outcome: SubmissionOutcome,
        reason: str,
        actor: str,
        now: datetime,
        jobs: Sequence[JobRecord] = (),
        needs_person: bool = False,
    ) -> Counts:
        """Store a finished submission's quanta, attempts and Slurm jobs, finish it, and recount its group.

        One transaction; idempotent; COPY into a temporary table, then ``INSERT .. ON CONFLICT``.
        """

    # -- notices -----------------------------------------------------------------------------------
    def add_notices(self, *, campaign_id: int, notices: Sequence[Notice], now: datetime) -> tuple[str, ...]:
        """Put notices into the outbox; return the keys of those that are new."""

    def pending_notices(self, *, channels: Sequence[str], now: datetime) -> tuple[PendingNotice, ...]:
        """Return the notices of a month that have not got to one of these channels, oldest first."""

    def record_delivery(self, *, ids: Sequence[int], channel: str, error: str, now: datetime) -> None:
        """Record that notices got to a channel, or, with an error in words, that they did not."""

    def activity(self, *, campaign_id: int, since: datetime | None) -> Activity:
        """Return when a campaign last moved, and, if asked, what it did since some moment."""

    def run_times(self, *, campaign_id: int, since: datetime) -> tuple[RunTime, ...]:
        """Return how long the quanta of each task ran, in all and since some moment."""

    # -- housekeeping ------------------------------------------------------------------------------
    def record_cleaning(
        self, *, submission_id: int, state: str, reason: str, actor: str, now: datetime
    ) -> None:
        """Record that a submission's RUN is about to be removed, or is gone."""

    def cleaning(self, name: str) -> Mapping[int, str]:
        """Return the last recorded state of every removal of a campaign, by submission id."""

    # -- Slurm -------------------------------------------------------------------------------------
    def record_jobs(self, *, submission_id: int, jobs: Sequence[JobRecord], now: datetime) -> int:
        """Put on record what was seen of a submission's Slurm jobs; return how many rows changed."""

    def open_jobs(self, name: str) -> tuple[OpenJobs, ...]:
        """Return the Slurm jobs of a campaign that were alive when last seen, by submission."""

    def jobs(self, name: str) -> tuple[JobRow, ...]:
        """Return the Slurm jobs of a campaign, in the order of its steps."""

    def bad_nodes(self, *, since: datetime, fewest: int) -> tuple[BadNode, ...]:
        """Return the nodes on which at least so many Slurm jobs were lost since some moment."""

    def note_scheduler(self, *, campaign_id: int, unreachable: str, actor: str, now: datetime) -> bool:
        """Record an event when the scheduler has stopped answering, or answers again; say if it was news."""


class SubmissionRunner(Protocol):
    """The work of one submission under one driver; every call may be repeated."""

    def reap(self) -> int:
        """End all processes of the submission on this host but this driver's own; return how many."""

    def stop_all(self) -> None:
        """End every process of the submission on this host, but this one."""

    def was_started(self) -> bool:
        """Say whether an earlier driver had begun the work."""

    def ended(self) -> bool:
        """Say whether a driver has written how it ended: then all is done."""

    def mark_started(self) -> None:
        """Note that the work begins."""

    def run(self, *, go_on: Callable[[], bool]) -> RunResult:
        """Run the submission to its end, or until ``go_on`` says `False`."""

    def collect(self) -> str | None:
        """Bring outputs into the butler and quanta into files; return an error in words, if any."""

    def ran(self) -> bool:
        """Say whether any quantum was started."""

    def salvage(self) -> Salvaged:
        """Take from the butler what an earlier driver had made whose directory is gone."""

    def prepend(self) -> None:
        """Put the submission's RUN first in its step's chain."""

    def versions(self) -> Versions:
        """Take the versions of the LSST stack that this driver sees, and keep them in a file."""

    def act(self, *, name: str, arguments: Mapping[str, Any], go_on: Callable[[], bool]) -> RunResult:
        """Do a butler action; when ``go_on`` says `False`, end it with all that it started."""

    def write_outcome(self, value: Mapping[str, Any]) -> None:
        """Write how the driver ended, once and whole."""

    def close(self) -> None:
        """Release what was used."""


class Drivers(Protocol):
    """Driver processes as a tick sees them, and the files they leave."""

    def settle_in(self, *, trusted: Sequence[str], repository: str, shared: bool) -> None:
        """Say for which campaign the other methods are called from now on.

        Parameters
        ----------
        trusted : sequence of `str`
            Groups whose members may write what is read here.
        repository : `str`
            Its butler repository: where the group may write that, it may write what is made here.
        shared : `bool`
            Whether the group may in any case.
        """

    def liveness(self, submission: SubmissionView, *, now: datetime) -> Liveness:
        """Say what is known of a submission's driver."""

    def prepare(self, *, directory: str, files: Mapping[str, str]) -> None:
        """Write a submission's files, unless its work was begun."""

    def foreign(self, directory: str, *, identity: Mapping[str, object]) -> str:
        """Say in words that a directory is of another database, or of an earlier life; else nothing."""

    def unfit(self, *, stack: Stack, folder: str) -> str:
        """Return in words why no driver could run from here, with what to do; empty when one can.

        ``folder`` is where all submissions lie. Quick: nothing is imported for it.
        """

    def release(self, *, stack: Stack) -> str:
        """Return the digest of the versions that a driver would find; empty when only the driver can say."""

    def launch(self, *, submission: SubmissionView, environment: Mapping[str, str]) -> int:
        """Start a driver that outlives this process; return its pid."""

    def command(self, submission: SubmissionView) -> tuple[str, ...]:
        """Return the command that drives a submission, for a batch script."""

    def block_lines(self, directory: str) -> tuple[BlockLine, ...]:
        """Return what a submission wrote down of its Slurm jobs; empty while there is nothing."""

    def predicted(self, directory: str, *, wrong: LineReport | None = None) -> tuple[Predicted, ...]:
        """Return the quanta of a submission's graph, as far as written down; say what is damaged."""

    def harvested(self, directory: str, *, wrong: LineReport | None = None) -> tuple[RawQuantum, ...]:
        """Return the quanta of a submission's provenance graph, if any; say what of it is damaged."""

    def records(self, directory: str) -> tuple[journal.JournalRecord, ...]:
        """Return a submission's journal; empty while there is none."""

    def remains(self, folder: str) -> tuple[Remains, ...]:
        """Return what lies in the directories of a campaign's submissions, for a database without them."""

    def outcome(self, directory: str) -> RunResult | None:
        """Return how a submission's driver ended; `None` while it has not."""


class Registry(Protocol):
    """The registry of a butler repository, asked from outside of it."""

    def look(
        self, question: OverlapQuery, *, repository: str, environment: Mapping[str, str], stack: Stack
    ) -> OverlapRefresh | OverlapRefreshFailed:
        """Return which exposures there are and which tracts they overlap, or why that cannot be said."""

    def publish(
        self, change: ChainChange, *, repository: str, environment: Mapping[str, str], stack: Stack
    ) -> str:
        """Put RUN collections into a chain in the place of others; return in words what went wrong, if so."""

    def salvage(
        self,
        lost: Sequence[tuple[str, str]],
        *,
        repository: str,
        environment: Mapping[str, str],
        stack: Stack,
    ) -> tuple[Salvaged, ...]:
        """Write anew what directories of submissions, given with their RUNs, have lost of their quanta."""

    def runs(
        self, outputs: Sequence[str], *, repository: str, environment: Mapping[str, str], stack: Stack
    ) -> tuple[str, ...] | OverlapRefreshFailed:
        """Return the RUN collections below some outputs, or why that cannot be said."""

    def regions(
        self, question: RegionQuery, *, repository: str, environment: Mapping[str, str], stack: Stack
    ) -> tuple[SkyRegion, ...] | OverlapRefreshFailed:
        """Return where tracts and visits lie on the sky, or why that cannot be said."""


class Scheduler(Protocol):
    """Slurm; whatever goes wrong with it is an answer, never an error."""

    def look(self, watch: JobQuery, *, fresh_seconds: float = 0.0) -> QueueSnapshot:
        """Look at all of this user's jobs: at most two commands, however many there are."""

    def cluster(self) -> Cluster | str:
        """Return what the cluster allows, or in words why it does not say; one command."""

    def would_refuse(self, asked: ResourceRequest) -> str:
        """Return in words why Slurm would refuse a job for good, without submitting it; else nothing."""

    def submit(self, script: str, *, path: str, marker: str, environment: Mapping[str, str]) -> SubmitResult:
        """Keep a batch script at ``path`` and submit it."""

    def full(self, *, fresh_seconds: float) -> str:
        """Return why it took no more jobs for now when last asked, in words, if that is not older."""

    def cancel(self, job_ids: Sequence[str]) -> str:
        """Cancel jobs and wait until none is in the queue; return in words what went wrong, if anything."""
