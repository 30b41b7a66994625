"""The tracking database as the services know it: all parts of the store in one class."""

from __future__ import annotations

from contextlib import AbstractContextManager

from merian_campaign.domain.quanta import HeldQuantum
from merian_campaign.domain.records import AttemptRow, BoardRow, FailureRow, JobRow, RecordedEvent
from merian_campaign.store import locks, reader
from merian_campaign.store.campaigns import CampaignStore
from merian_campaign.store.database import raw
from merian_campaign.store.forget import ForgetStore
from merian_campaign.store.groups import GroupStore
from merian_campaign.store.harvest import HarvestStore
from merian_campaign.store.overlaps import OverlapStore
from merian_campaign.store.removals import RemovalStore
from merian_campaign.store.slurm_jobs import SlurmJobStore
from merian_campaign.store.snapshots import SnapshotStore
from merian_campaign.store.submissions import SubmissionStore


class PostgresStore(
    CampaignStore,
    GroupStore,
    SubmissionStore,
    HarvestStore,
    SlurmJobStore,
    OverlapStore,
    SnapshotStore,
    RemovalStore,
    ForgetStore,
):
    """The ``Store`` of the services, on PostgreSQL.

    Safe to use from several threads. Every method is one transaction, unless it says otherwise.

    Parameters
    ----------
    url : `str`
        Where the database is. `merian_campaign.store.connect` also checks its schema version.
    """

    def campaign_lock(self, name: str) -> AbstractContextManager[None]:
        """Hold the campaign's advisory lock; raise `BusyError` naming the holder when it is taken."""
        return locks.campaign_lock(self._url, name)

    def repository_lock(self, repository: str) -> AbstractContextManager[None]:
        """Hold the butler repository's advisory lock; wait for it."""
        return locks.repository_lock(self._url, repository)

    def board(self, name: str) -> tuple[BoardRow, ...]:
        """Return the status board from the rollup."""
        with self._reading() as connection:
            return reader.board(raw(connection), name)

    def failures(
        self, name: str, *, step: str | None = None, tract: int | None = None, recovered: bool = False
    ) -> tuple[FailureRow, ...]:
        """Return quanta that have not succeeded (and, with ``recovered``, those that needed retries)."""
        with self._reading() as connection:
            return reader.failures(raw(connection), name, step=step, tract=tract, recovered=recovered)

    def attempts(self, *, group_id: int) -> tuple[AttemptRow, ...]:
        """Return the stored attempts of a group's quanta."""
        with self._reading() as connection:
            return reader.attempts(raw(connection), group_id=group_id)

    def jobs(self, name: str) -> tuple[JobRow, ...]:
        """Return the Slurm jobs of a campaign, in the order of its steps."""
        with self._reading() as connection:
            return reader.jobs(raw(connection), name)

    def events(self, name: str, *, group_id: int | None = None, limit: int = 50) -> tuple[RecordedEvent, ...]:
        """Return the newest events, newest first."""
        with self._reading() as connection:
            return reader.events(raw(connection), name, group_id=group_id, limit=limit)

    def held_quanta(self, *, group_id: int) -> tuple[HeldQuantum, ...]:
        """Return quanta whose last verdict forbids running them again (algorithm, configuration)."""
        with self._reading() as connection:
            return reader.held_quanta(raw(connection), group_id=group_id)
