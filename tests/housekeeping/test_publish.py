"""A new generation takes the place of the old one in its step's chain: in one step, and once."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import Any

import pytest
from house_help import NOW, VISITS, House, chain, put

from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.record.applied_spec import applied_spec
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.records import Claim
from merian_campaign.domain.record.snapshot import GroupView, Remedy
from merian_campaign.domain.rendering.render import render
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.domain.spec import BpsStep
from merian_campaign.domain.states import GroupState
from merian_campaign.domain.states import SubmissionOutcome as Outcome
from merian_campaign.domain.tick.decisions import Again, Decision, Publish
from merian_campaign.housekeeping.cleaning import RunKind
from merian_campaign.middleware import butler_helper
from merian_campaign.middleware.drivers import LocalDrivers
from merian_campaign.middleware.registry import ButlerRegistry
from merian_campaign.middleware.scheduler import SlurmScheduler
from merian_campaign.services import act
from merian_campaign.services.act import Executor
from merian_campaign.services.runtime import CampaignSettings, Runtime
from merian_campaign.services.slurm_view import SlurmView
from merian_campaign.services.submission_files import SubmissionFiles
from merian_campaign.services.tick_context import TickContext
from merian_campaign.submission_context import target_of


def group_of(house: House) -> GroupView:
    (group,) = house.store.snapshot(house.name).groups
    return group


def tick_context(house: House) -> TickContext:
    snapshot = house.store.snapshot(house.name)
    site = SiteProfile(name="local", file="/site/local.yaml", workers=1, workers_key="cores")
    return TickContext(
        store=house.store,
        drivers=LocalDrivers(environ=os.environ),
        scheduler=SlurmScheduler(environ=os.environ, clock=lambda: NOW),
        registry=ButlerRegistry(environ=os.environ),
        runtime=Runtime(
            root="/submit", quantum_wrapper="/q", actor="tick", host="h", pid=1, clock=lambda: NOW
        ),
        campaign_id=snapshot.campaign.id,
        campaign_uuid=snapshot.campaign.uuid,
        spec=applied_spec(snapshot.campaign),
        settings=CampaignSettings(site=site, rules=(), requests={"step1": RequestTable()}),
        slurm_view=SlurmView(),
    )


def acted(house: House, decision: Decision) -> tuple[str, list[str]]:
    """Carry out a decision as a tick does; return what it did in words, and its notes."""
    made = Executor(tick_context(house))
    return made.act(decision), made.notes


def prepare(house: House, number: int, *, generation: int) -> Claim:
    """Prepare a submission of the group and claim it, as ticks and drivers do."""
    group = group_of(house)
    if group.state is not GroupState.READY:
        house.store.move_group(group_id=group.id, state=GroupState.READY, reason="", actor="t", now=NOW)
    run = f"{house.step}/all{'' if generation == 1 else f'.g{generation}'}/{number:03d}"
    made = house.store.prepare_submission(
        group_id=group.id, number=number, run_collection=run, actor="t", now=NOW, remedy=Remedy(),
        repository=str(house.repository), directory=f"/submit/{house.name}/{number}", reason="test",
        basis=Basis(exposures=frozenset(VISITS[:number])),
    )  # fmt: skip
    driver = ProcessIdentity(host="node1", pid=1, pid_start=1)
    claim = house.store.claim(
        submission_id=made.id, driver=driver, lease_seconds=1, now=NOW, expected_epoch=0
    )
    assert claim is not None
    return claim


def finish(house: House, claim: Claim, *visits: int) -> str:
    """End a submission with datasets as its driver would; return its RUN."""
    run = claim.submission.run_collection
    with house.butler() as butler:
        put(butler, run, *visits)
        chain(butler, run.rpartition("/")[0], run, "DECam/raw/all")
    target = target_of(claim, applied_spec(claim.campaign))
    butler_helper.prepend(repository=target.repository, chain=target.chain, run=target.run)
    house.store.harvest(
        submission_id=claim.submission.id, quanta=(), outcome=Outcome.SUCCEEDED, reason="", actor="t", now=NOW
    )
    house.store.move_group(group_id=claim.group.id, state=GroupState.DONE, reason="", actor="t", now=NOW)
    return run


def children(house: House, name: str) -> tuple[str, ...]:
    with house.butler() as butler:
        return tuple(butler.collections.get_info(name).children)


@pytest.fixture
def redone(house: House) -> tuple[str, ...]:
    """RUNs of two generations, the second not in force; in the step's chain are another group's, too."""
    first = finish(house, prepare(house, 1, generation=1), *VISITS[:2])
    with house.butler() as butler:
        put(butler, f"{house.step}/other/001", VISITS[3])
        chain(butler, house.step, f"{house.step}/other/001", first)
    words, _ = acted(house, Again(group=group_of(house), reason="new exposures", redo=True))
    assert words == "step1/all: generation 2 begins (new exposures)"
    second = finish(house, prepare(house, 2, generation=2), *VISITS[:3])
    third = finish(house, prepare(house, 3, generation=2), VISITS[2])
    return first, second, third


def test_readers_see_a_generation_when_it_is_in_force(house: House, redone: tuple[str, ...]) -> None:
    first, second, third = redone
    other = f"{house.step}/other/001"
    assert children(house, house.step) == (other, first)  # no driver has shown the second

    words, notes = acted(house, Publish(group=group_of(house)))
    assert (words, notes) == ("step1/all: generation 2 has taken the place of generation 1", [])
    assert children(house, house.step) == (third, second, other)
    assert group_of(house).published == 2
    with house.butler() as butler:
        found = butler.query_datasets("calexp_summary", collections=house.step)
        assert {ref.run for ref in found} == {third, second, other}

    words, notes = acted(house, Publish(group=group_of(house), none=True))
    assert words == "step1/all: the file has it no more: readers do not see it any longer"
    assert (children(house, house.step), group_of(house).published) == ((other,), 0)
    words, _ = acted(house, Publish(group=group_of(house)))
    assert words == "step1/all: readers see generation 2 again"
    assert children(house, house.step) == (third, second, other)

    # An afterburner of what is in force is shown by its driver.
    fourth = finish(house, prepare(house, 4, generation=2), VISITS[3])
    assert children(house, house.step) == (fourth, third, second, other)


def test_killed_in_between_it_is_done_again(house: House, redone: tuple[str, ...]) -> None:
    first, second, third = redone
    answer = butler_helper.publish(
        repository=str(house.repository), chain=house.step, runs=[third, second, "gone"], drop=[first]
    )
    assert answer == {"changed": True}
    seen = children(house, house.step)
    assert group_of(house).published == 1
    words, notes = acted(house, Publish(group=group_of(house)))
    assert (bool(words), notes, group_of(house).published) == (True, [], 2)
    assert children(house, house.step) == seen


def test_a_reader_sees_the_old_or_the_new_one_and_never_half(house: House, redone: tuple[str, ...]) -> None:
    first, second, third = redone
    old, new = [f"{house.step}/other/001", first], [third, second, f"{house.step}/other/001"]
    seen: list[tuple[str, ...]] = []
    over, begun = threading.Event(), threading.Event()

    def read() -> None:
        with house.butler() as butler:
            while not over.is_set():
                seen.append(tuple(butler.collections.get_info(house.step).children))
                begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert begun.wait(60)
        for _ in range(5):
            for runs, drop in (([third, second], [first]), ([], [second, third])):
                butler_helper.publish(
                    repository=str(house.repository), chain=house.step, runs=runs, drop=drop
                )
                with house.butler() as butler:
                    if not runs:
                        butler.collections.extend_chain(house.step, first)
    finally:
        over.set()
        reader.join()
    between = old[:1]  # of the test's own way back
    assert set(seen) <= {tuple(old), tuple(new), tuple(between)}
    assert tuple(old) in seen


def test_what_goes_wrong_is_a_note_and_tried_again(
    house: House, redone: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(act, "_PATIENCE_SECONDS", 0.1)
    decision = Publish(group=group_of(house))
    with house.store.repository_lock(str(house.repository)):
        words, notes = acted(house, decision)
        made = Executor(tick_context(house))
        assert made.act(decision) == made.act(decision) == ""
        assert len(made.notes) == 1  # once a tick
    assert words == ""
    assert "generation 2 is not in its step's chain yet" in notes[0]
    assert "is held by process" in notes[0]
    assert children(house, house.step)[-1] == redone[0]

    configuration = house.repository / "butler.yaml"
    configuration.rename(configuration.with_suffix(".away"))
    words, notes = acted(house, decision)
    assert words == ""
    assert "is not in its step's chain yet" in notes[0]
    assert group_of(house).published == 1
    configuration.with_suffix(".away").rename(configuration)
    assert acted(house, decision)[0]
    assert group_of(house).published == 2


def test_what_was_replaced_is_cleaned(house: House, redone: tuple[str, ...]) -> None:
    first, second, third = redone
    acted(house, Publish(group=group_of(house)))
    service = house.housekeeping()
    plan = service.plan(house.name)
    assert [(entry.kind, entry.facts.run) for entry in plan.removals] == [(RunKind.OLD_GENERATION, first)]
    assert plan.removals[0].facts.datasets == 2
    service.clean(house.name, shown=plan)
    assert first not in house.collections()
    assert {second, third} <= house.collections()
    assert not house.files(first)


def test_where_a_driver_shows_its_outputs(house: House) -> None:
    claim = prepare(house, 1, generation=1)
    spec = applied_spec(claim.campaign)
    assert target_of(claim, spec).chain == house.step

    def of(generation: int, *, published: int) -> str:
        changed: Any = replace(
            claim,
            submission=replace(claim.submission, generation=generation),
            group=replace(claim.group, published=published),
        )
        return target_of(changed, spec).chain

    assert of(2, published=1) == ""
    assert of(2, published=2) == house.step
    before = house.collections()
    assert butler_helper.prepend(repository=str(house.repository), chain="", run="x") == {"changed": False}
    assert house.collections() == before


def test_what_a_submission_of_a_new_generation_is_told(house: House) -> None:
    """It skips and holds what its own generation has done, and nothing of an older one."""
    finish(house, prepare(house, 1, generation=1), *VISITS[:1])
    acted(house, Again(group=group_of(house), reason="new exposures", redo=True))
    told = []
    for number in (2, 3):
        claim = prepare(house, number, generation=2)
        step = applied_spec(claim.campaign).step("step1")
        assert isinstance(step, BpsStep)
        request = SubmissionFiles(tick_context(house), notes=[]).request(
            group_of(house), step, claim.submission
        )
        text = render(request)
        told.append(("--skip-existing-in" in text, request.hold))
        assert f"{house.step}/all.g2/00{number}" in text
        finish(house, claim, *VISITS[:1])
    assert told == [(False, False), (True, True)]
