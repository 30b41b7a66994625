"""The tracking database as the services know it: all parts of the store in one class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from merian_campaign.store.archive import ArchiveStore
from merian_campaign.store.campaigns import CampaignStore
from merian_campaign.store.forget import ForgetStore
from merian_campaign.store.group_generations import GenerationStore
from merian_campaign.store.groups import GroupStore
from merian_campaign.store.harvest import HarvestStore
from merian_campaign.store.notices import NoticeStore
from merian_campaign.store.overlaps import OverlapStore
from merian_campaign.store.quanta.memory_use import MemoryUseStore
from merian_campaign.store.reading.reader import ReadQueries
from merian_campaign.store.regions import SkyRegionStore
from merian_campaign.store.removals import RemovalStore
from merian_campaign.store.server import locks
from merian_campaign.store.server.clock import ClockStore
from merian_campaign.store.server.database import raw
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
    NoticeStore,
    SkyRegionStore,
    SnapshotStore,
    RemovalStore,
    MemoryUseStore,
    GenerationStore,
    ForgetStore,
    ArchiveStore,
    ClockStore,
    ReadQueries,
):
    """The ``Store`` of the services, on PostgreSQL.

    Safe to use from several threads. Every method is one transaction, unless it says otherwise.

    Parameters
    ----------
    url : `str`
        Where the database is. `merian_campaign.store.connect` also checks its schema version.
    """

    @contextmanager
    def campaign_lock(self, name: str, *, patience: float | None = None) -> Iterator[None]:
        """Hold the campaign's advisory lock; wait for it, as what people order does.

        While it is held nothing is written without it: `BusyError` when it was lost.

        Parameters
        ----------
        name : `str`
            Campaign.
        patience : `float` or `None`, optional
            How long to wait, seconds; `None` for as long as a person would, 0 for a tick, whose holder does
            what it would do.

        Raises
        ------
        BusyError
            Raised if it is still taken then; names the holder.
        """
        bound = locks.ORDER_SECONDS if patience is None else patience
        with locks.campaign_lock(self._url, name, bound=bound) as require:
            self._requires = (*self._requires, require)
            try:
                yield
            finally:
                self._requires = self._requires[:-1]

    def repository_lock(
        self,
        repository: str,
        *,
        go_on: Callable[[], bool] = lambda: True,
        patience: float = locks.LOCK_SECONDS,
    ) -> AbstractContextManager[None]:
        """Hold the butler repository's advisory lock, alone; wait for it, and for a database that is away.

        The key is a function of the repository's resolved path, the same in every process.

        Raises
        ------
        BusyError
            Raised after ``patience`` seconds.
        CalledOffError
            Raised when ``go_on`` says that it is not wanted any more.
        """
        return locks.repository_lock(self._url, repository, go_on=go_on, bound=patience)

    @contextmanager
    def _moment(self) -> Iterator[Any]:
        with self._reading() as connection:
            yield raw(connection)
