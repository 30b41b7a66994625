"""Arguments of butler actions, one model an action, and the command lines they stand for.

A new action is a new model in one of these modules and its entry in `ACTIONS`; the campaign model
does not change.
"""

from __future__ import annotations

from merian_campaign.domain.spec.actions.base import Action
from merian_campaign.domain.spec.actions.calibrations import CertifyCalibrations, CollectionChain

__all__ = ["ACTIONS", "Action", "CertifyCalibrations", "CollectionChain"]

ACTIONS: dict[str, type[Action]] = {
    "certify-calibrations": CertifyCalibrations,
    "collection-chain": CollectionChain,
}
