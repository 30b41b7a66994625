"""Transfer: a campaign's final datasets taken to another site, and imported there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from merian_campaign.context import CommandContext

if TYPE_CHECKING:
    from merian_campaign.transfer.transfer_service import Export


def export_of(context: CommandContext, *, tell: Callable[[str], None]) -> Export:
    """Return what exports campaigns; ``tell`` is told how far it is."""
    from merian_campaign.transfer.butler_export import ButlerExport, versions  # noqa: PLC0415 - slow
    from merian_campaign.transfer.transfer_service import Export  # noqa: PLC0415

    return Export(
        store=context.store,
        open_source=ButlerExport.opened,
        versions=versions,
        runtime=context.runtime,
        tell=tell,
    )
