"""What the parts of one tick share."""

from __future__ import annotations

from dataclasses import dataclass

from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.services.ports import Drivers, Registry, Scheduler, Store
from merian_campaign.services.runtime import CampaignSettings, Runtime
from merian_campaign.services.slurm_view import SlurmView


@dataclass(frozen=True, kw_only=True)
class TickContext:
    """One campaign in one tick, and the world around it.

    Parameters
    ----------
    store : `Store`
        The tracking database.
    drivers : `Drivers`
        Driver processes.
    scheduler : `Scheduler`
        Slurm.
    registry : `Registry`
        Butler registries.
    runtime : `Runtime`
        Where things lie, who asks, what time it is.
    campaign_id : `int`
        Database key of the campaign.
    campaign_uuid : `str`
        Of this campaign in this database: what bears another is not its own.
    spec : `CampaignSpec`
        The campaign as applied.
    settings : `CampaignSettings`
        What its files say besides.
    slurm_view : `SlurmView`
        What was seen of Slurm.
    """

    store: Store
    drivers: Drivers
    scheduler: Scheduler
    registry: Registry
    runtime: Runtime
    campaign_id: int
    campaign_uuid: str
    spec: CampaignSpec
    settings: CampaignSettings
    slurm_view: SlurmView


class TickPart:
    """One of observe, act and record.

    Parameters
    ----------
    context : `TickContext`
        What they share.
    """

    def __init__(self, context: TickContext) -> None:
        self._store = context.store
        self._drivers = context.drivers
        self._scheduler = context.scheduler
        self._registry = context.registry
        self._runtime = context.runtime
        self._campaign_id = context.campaign_id
        self._uuid = context.campaign_uuid
        self._spec = context.spec
        self._settings = context.settings
        self._slurm_view = context.slurm_view
