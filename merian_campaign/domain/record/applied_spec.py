"""A campaign as it was applied, read back from the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.record.snapshot import CampaignView
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.spec.steps import LOOKS_LIKE

__all__ = ["applied_spec"]


def applied_spec(campaign: CampaignView) -> CampaignSpec:
    """Return the specification that is in force.

    Raises
    ------
    BadInputError
        Raised if this release does not understand it, as it may be of another one.
    """
    try:
        return CampaignSpec.model_validate(_with_scopes(campaign.spec))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise BadInputError(
            f"campaign {campaign.name!r}, revision {campaign.revision}: as it was applied, this release does "
            f"not understand it: {one_line(where)}: {one_line(first['msg'])}; run `merian-campaign validate "
            f"{campaign.file}`, mend the file, and apply it again"
        ) from None


def _with_scopes(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record with the scopes that earlier releases took from the names of subsets.

    Since then every record has them, from the file or from the pipelines.
    """
    steps = spec.get("steps")
    if not isinstance(steps, list):
        return spec
    return {**spec, "steps": [_with_scope(step) for step in steps]}


def _with_scope(step: Any) -> Any:  # noqa: ANN401 - any JSON value, which the model refuses if it is not one
    if not isinstance(step, dict) or step.get("scope") is not None:
        return step
    scope = LOOKS_LIKE.get(str(step.get("pipeline", "")).partition("#")[2])
    return step if scope is None else {**step, "scope": scope}
