"""Housekeeping: a campaign's collections listed, and what nothing needs any more removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from merian_campaign.context import CommandContext

if TYPE_CHECKING:
    from merian_campaign.housekeeping.cleaning_service import Housekeeping


def housekeeping_of(context: CommandContext, *, tell: Callable[[str], None]) -> Housekeeping:
    """Return what looks at campaigns' collections and cleans them; ``tell`` is told how far it is."""
    from merian_campaign.housekeeping.butler_collections import ButlerHousekeeping  # noqa: PLC0415 - slow
    from merian_campaign.housekeeping.cleaning_service import Housekeeping  # noqa: PLC0415
    from merian_campaign.store.server.locks import repository_key  # noqa: PLC0415

    return Housekeeping(
        store=context.store,
        collections_of=ButlerHousekeeping,
        same_place=lambda one, other: repository_key(one) == repository_key(other),
        runtime=context.runtime,
        tell=tell,
    )
