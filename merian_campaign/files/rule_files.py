"""Files of failure rules: the product's, the site's, the campaign's."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from merian_campaign.domain.failures.failure_rules import FailureRule, FailureRules, in_order
from merian_campaign.files.complaints import bad_file
from merian_campaign.files.shipped import CAMPAIGNS, shipped
from merian_campaign.files.yaml_lines import read_document

PRODUCT_RULES: Final = "failure-rules.yaml"
"""The catalogue that comes with the package and always applies."""


def read_rules(file: str | None) -> tuple[FailureRule, ...]:
    """Read a file of failure rules; none gives no rules."""
    if file is None:
        return ()
    document = read_document(Path(file))
    try:
        return FailureRules.model_validate(document.data).rules
    except ValidationError as error:
        raise bad_file(document, error.errors(), known=["rules", *FailureRule.model_fields]) from None


def rules_in_force(*, campaign: str | None, site: str | None) -> tuple[FailureRule, ...]:
    """Return the rules that apply, in the order in which they are tried.

    Parameters
    ----------
    campaign, site : `str` or `None`
        Absolute paths of their files; who names the product's own adds nothing.
    """
    product = str(shipped(CAMPAIGNS, PRODUCT_RULES))
    own, of_site = (
        read_rules(file if file is None or str(Path(file).resolve()) != product else None)
        for file in (campaign, site)
    )
    return in_order(campaign=own, site=of_site, product=read_rules(product))
