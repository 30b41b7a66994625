"""What was measured is counted once for each execution, and read by campaigns alike."""

from __future__ import annotations

from typing import Any

import pytest
from store_help import Given, at, failed, quantum, worked

from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.resources.memory_model import MemoryBin
from merian_campaign.domain.states import SubmissionOutcome, Verdict
from merian_campaign.store.store import PostgresStore

NINE_HUNDRED, THREE_THOUSAND = 944, 3134
"""Upper ends of the bins in which 900 and 3000 lie."""


def spec(**changes: object) -> dict[str, Any]:
    return {"instrument": "DECam", "steps": [{"name": "step3", "pipeline": "/drp.yaml#step3"} | changes]}


def test_each_execution_counts_once_however_often_it_is_harvested(store: PostgresStore, given: Given) -> None:
    (group,) = given.campaign(spec=spec())
    first = given.prepared(group).id
    quanta = (
        quantum(1, worked()),
        quantum(2, worked()),
        quantum(3, failed(Verdict.OUT_OF_MEMORY)),
        quantum(4, failed(Verdict.INFRASTRUCTURE)),
        quantum(5, worked(peak_mb=None)),
        quantum(6, failed(Verdict.OUT_OF_MEMORY), worked(try_number=2, peak_mb=3000)),
    )
    for _ in range(2):
        given.harvested(first, *quanta)
    given.harvested(
        given.again(group, 2),
        quantum(3, worked(peak_mb=3000, ended=at(3))),
        outcome=SubmissionOutcome.SUCCEEDED,
    )
    campaign = store.snapshot("demo").campaign.id
    found = store.memory_use(campaign_id=campaign)["step3"]["measure"]
    assert sorted(found, key=lambda entry: (entry.peak_mb, entry.needed_more)) == [
        MemoryBin(peak_mb=NINE_HUNDRED, number=2, seconds=120.0),
        MemoryBin(peak_mb=NINE_HUNDRED, number=2, seconds=120.0, needed_more=True),
        MemoryBin(peak_mb=THREE_THOUSAND, number=2, seconds=180.0),
    ]


@pytest.mark.parametrize(
    ("changes", "alike"),
    [({}, True), ({"pipeline": "/other.yaml#step3"}, False), ({"name": "step4"}, False)],
)
def test_a_new_campaign_knows_what_those_like_it_used(
    store: PostgresStore, given: Given, changes: dict[str, object], alike: bool
) -> None:
    (group,) = given.campaign(spec=spec())
    given.harvested(given.prepared(group).id, quantum(1, worked()))
    given.campaign("later", spec=spec(**changes))
    found = store.memory_use(campaign_id=store.snapshot("later").campaign.id)
    assert bool(found) is alike
    other = given.campaign("other", spec=spec() | {"instrument": "HSC"})
    assert other
    assert not store.memory_use(campaign_id=store.snapshot("other").campaign.id)


def test_it_goes_with_its_campaign(store: PostgresStore, given: Given) -> None:
    (group,) = given.campaign(spec=spec())
    given.harvested(given.prepared(group).id, quantum(1, worked()))
    store.forget("demo")
    given.campaign("later", spec=spec())
    assert not store.memory_use(campaign_id=store.snapshot("later").campaign.id)


def test_inputs_of_quanta_are_kept_likewise(store: PostgresStore, given: Given) -> None:
    (group,) = given.campaign(spec=spec())
    quanta = (quantum(number, worked(inputs=number)) for number in (1, 7, 64))
    given.harvested(given.prepared(group).id, *quanta)
    found = store.memory_use(campaign_id=store.snapshot("demo").campaign.id)["step3"]["measure"]
    assert sorted(entry.datasets for entry in found) == [1, 4, 64]


def test_the_exposures_of_a_group_are_kept_in_powers_of_two(store: PostgresStore, given: Given) -> None:
    ids = given.campaign(tracts=(9813, 9814, 9815), spec=spec())
    for group, number in zip(ids, (0, 7, 64), strict=True):
        basis = Basis(exposures=frozenset(range(number)))
        given.harvested(given.prepared(group, basis=basis).id, quantum(1, worked()))
    found = store.memory_use(campaign_id=store.snapshot("demo").campaign.id)["step3"]["measure"]
    assert sorted(entry.inputs for entry in found) == [0, 4, 64]
