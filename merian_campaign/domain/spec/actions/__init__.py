"""Arguments of butler actions, one model an action, and the command lines they stand for.

A new action is a new model in one of these modules and its runner in `merian_campaign.middleware.actions`;
the campaign model does not change.
"""

from __future__ import annotations

from merian_campaign.domain.spec.actions import calibrations, data, repository
from merian_campaign.domain.spec.actions.base import Action

__all__ = ["ACTIONS", "Action", "calibrations", "data", "repository"]

ACTIONS: dict[str, type[Action]] = {model.NAME: model for model in Action.__subclasses__()}
"""The models in the modules of this folder, by name."""
