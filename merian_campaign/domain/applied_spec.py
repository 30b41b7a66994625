"""A campaign as it was applied, read back from the record."""

from __future__ import annotations

from pydantic import ValidationError

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.snapshot import CampaignView
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.text import one_line

__all__ = ["applied_spec"]


def applied_spec(campaign: CampaignView) -> CampaignSpec:
    """Return the specification that is in force.

    Raises
    ------
    BadInputError
        Raised if this release does not understand it, as it may be of another one.
    """
    try:
        return CampaignSpec.model_validate(campaign.spec)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise BadInputError(
            f"campaign {campaign.name!r}, revision {campaign.revision}: as it was applied, this release does "
            f"not understand it: {one_line(where)}: {one_line(first['msg'])}; run `merian-campaign validate "
            f"{campaign.file}`, mend the file, and apply it again"
        ) from None
