"""Having the registry asked: when it is due, once; and nothing is decided on an answer that did not come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.readiness.overlap_refresh import (
    OverlapQuery,
    OverlapRefresh,
    OverlapRefreshFailed,
)
from merian_campaign.domain.record.overlaps import Overlaps, SkyExposure
from merian_campaign.domain.record.snapshot import CampaignView, GroupView, Snapshot
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.domain.states import CampaignState, GroupState
from merian_campaign.services.refresh_overlaps import refresh_overlaps
from merian_campaign.services.runtime import Runtime

STACK = Stack(load="/stack/loadLSST.sh")
NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
AROUND = Runtime(root="/", quantum_wrapper="q", actor="ana@h", host="h", pid=1, clock=lambda: NOW)
SPEC = CampaignSpec.model_validate(
    {
        "campaign": "night",
        "butler": "/repo",
        "instrument": "DECam",
        "skymap": "rings",
        "site": "/site.yaml",
        "collections": {"output": "runs"},
        "environment": {"STACK": "w_2022_26"},
        "tracts": "discover",
        "steps": [
            {
                "name": "step1",
                "pipeline": "/p#step1",
                "scope": "exposure",
                "group_by": {"kind": "day_obs", "nights": [20210318]},
            },
            {
                "name": "step3",
                "pipeline": "/p#step3",
                "scope": "tract",
                "group_by": "tract",
                "after": ["step1"],
            },
        ],
    }
)
SEEN = SkyExposure(exposure=1, day_obs=20210318, visits=(1,), tracts=(7,), steps=frozenset({"step1"}), raws=2)
GROUP = GroupView(
    id=1, step="step1", key="night20210318", state=GroupState.WAITING, reason="", accepted=False,
    selection=Selection(dimension="day_obs", values=(20210318,)), attempts_from=0, submissions=(),
    counts=Counts(), open_quanta=(),
)  # fmt: skip
CAMPAIGN = CampaignView(
    id=5, name="night", state=CampaignState.ACTIVE, file="", revision=1, sha256="", spec={}
)


class World:
    """A store and a registry that write down what they are asked."""

    def __init__(self, answer: OverlapRefresh | OverlapRefreshFailed) -> None:
        self.answer = answer
        self.asked: list[tuple[OverlapQuery, str, Mapping[str, str]]] = []
        self.now = Snapshot(campaign=CAMPAIGN, groups=(GROUP,))

    def look(
        self, question: OverlapQuery, *, repository: str, environment: Mapping[str, str], stack: Stack
    ) -> Any:
        assert stack == STACK
        self.asked.append((question, repository, environment))
        return self.answer

    def record_overlaps(self, *, campaign_id: int, overlaps: Overlaps, **_: Any) -> bool:
        assert campaign_id == 5
        self.now = replace(self.now, overlaps=overlaps)
        return True

    def snapshot(self, _: str) -> Snapshot:
        return self.now

    def tick(self, *, asked: bool = False) -> Any:
        world: Any = self
        return refresh_overlaps(
            self.now, SPEC, store=world, registry=world, runtime=AROUND, stack=STACK, asked=asked
        )


def test_it_is_asked_once_and_what_was_seen_is_on_record() -> None:
    world = World(OverlapRefresh(exposures=(SEEN,), taken={"step1": frozenset({1})}))
    found = world.tick()
    assert (found.action, found.note, found.waits) == ("overlaps seen: 1 visits on 1 tracts", "", False)
    assert found.snapshot.overlaps.exposures == (SEEN,)
    (question, repository, environment) = world.asked[0]
    assert (question.skymap, repository, environment) == ("rings", "/repo", {"STACK": "w_2022_26"})
    again = world.tick()
    assert (again.action, again.note, len(world.asked)) == ("", "", 1)


def test_a_look_that_finds_nothing_new_says_nothing() -> None:
    world = World(OverlapRefresh(exposures=(SEEN,), taken={"step1": frozenset({1})}))
    world.tick()
    assert world.tick(asked=True).action == ""
    assert len(world.asked) == 2


@pytest.mark.parametrize("lasting", [True, False])
def test_an_answer_that_does_not_come_is_a_note_and_asked_for_again(lasting: bool) -> None:
    world = World(OverlapRefreshFailed(reason="database is locked", lasting=lasting))
    before = world.now
    for times in (1, 2):
        found = world.tick()
        assert found.snapshot is before
        assert (found.action, found.waits, len(world.asked)) == ("", not lasting, times)
        assert "cannot be seen: database is locked; nothing was decided on" in found.note
