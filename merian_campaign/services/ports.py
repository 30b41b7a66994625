"""What the services work with, and get from whoever calls them: the tracking database, and what does things.

Each is one class of another room. It is named here for its type alone, and that import is never made when the
program runs, so that the services stay without SQL and lsst; no other module of this room may name such a
class (a contract in ``pyproject.toml``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from merian_campaign.middleware.drivers import LocalDrivers
    from merian_campaign.middleware.registry import ButlerRegistry
    from merian_campaign.middleware.scheduler import SlurmScheduler
    from merian_campaign.middleware.submission_run import SubmissionRun
    from merian_campaign.store.store import PostgresStore

__all__ = ["Drivers", "Registry", "Scheduler", "Store", "SubmissionRunner"]

type Store = PostgresStore
"""The tracking database. Every method is one transaction unless it says otherwise."""

type SubmissionRunner = SubmissionRun
"""The work of one submission under one driver; every call may be repeated."""

type Drivers = LocalDrivers
"""Drivers as a tick sees them, and the files they leave."""

type Registry = ButlerRegistry
"""The registry of a butler repository, asked from outside of it."""

type Scheduler = SlurmScheduler
"""Slurm; whatever goes wrong with it is an answer, never an error."""
