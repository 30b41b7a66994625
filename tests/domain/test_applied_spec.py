"""Campaigns on record: those of earlier releases have scopes by the names of subsets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from domain_help import bps, document, snapshot

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.record.applied_spec import applied_spec
from merian_campaign.domain.spec import BpsStep
from merian_campaign.domain.spec.steps import effective_scope


def scopes(*steps: dict[str, Any]) -> list[str]:
    """Read a record, and return the scopes of its steps."""
    spec = applied_spec(replace(snapshot().campaign, spec=document(*steps)))
    return [effective_scope(step) for step in spec.steps if isinstance(step, BpsStep)]


def test_a_record_of_an_earlier_release_keeps_its_scopes() -> None:
    steps = [
        bps(name, scope=None, **changes)
        for name, changes in {
            "step0": {},
            "step1": {},
            "step2a": {"group_by": {"kind": "day_obs", "nights": [20210318]}},
            "step2b": {"group_by": "tract"},
            "step2c": {},
            "step3": {"group_by": "tract"},
        }.items()
    ]
    assert scopes(*steps) == ["exposure", "exposure", "visit", "tract", "instrument", "tract"]


def test_what_is_written_counts_and_nothing_is_guessed() -> None:
    assert scopes(bps("step2a", scope="global"), bps("nightly", scope="visit")) == ["global", "visit"]
    with pytest.raises(BadInputError, match="missing, and not to be read from the pipeline"):
        scopes(bps("nightly"))
