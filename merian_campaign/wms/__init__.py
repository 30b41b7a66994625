"""What runs inside BPS: the WMS service on Parsl, its sites, the warm worker and the journal.

Usable without the rest of the package; it imports neither store, services nor cli.  The service is loaded
when it is first asked for, so that light parts (the journal, the worker's side) stay light to import.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from merian_campaign.wms.service import CampaignParslService

__all__ = ["CampaignParslService"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - module attribute hook
    if name == "CampaignParslService":
        from merian_campaign.wms.service import CampaignParslService  # noqa: PLC0415 - heavy

        return CampaignParslService
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
