"""What may be cleaned, and every rule about what must never be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from domain_help import NOW, document, finished, group, snapshot, submission

from merian_campaign.domain.record.snapshot import Snapshot, SubmissionView
from merian_campaign.domain.states import SubmissionOutcome, SubmissionState
from merian_campaign.housekeeping.cleaning import (
    REMOVED,
    REMOVING,
    CleaningFacts,
    CleaningPlan,
    ForbiddenError,
    Removal,
    RunFacts,
    RunKind,
)
from merian_campaign.housekeeping.cleaning_policy import agreed, check, named_collections, plan_cleaning

STEP, CHAIN = "runs/night/step1", "runs/night/step1/all"
NOTHING = CleaningFacts()


def run(number: int) -> str:
    return f"{CHAIN}/{number:03d}"


def there(number: int = 1, **changes: object) -> RunFacts:
    """A RUN as an ordinary submission leaves it: ingested, in its chains, shown by them."""
    values: dict[str, object] = {
        "run": run(number),
        "kind": "RUN",
        "parents": (STEP, CHAIN),
        "datasets": 10,
        "seen": f"4 calexp of it through {STEP}",
        "folder": True,
        "size": 1000,
    }
    return RunFacts(**(values | changes))  # type: ignore[arg-type]


def of(*submissions: SubmissionView) -> Snapshot:
    return snapshot(group(submissions=submissions))


def plan(
    facts: RunFacts | list[RunFacts], *submissions: SubmissionView, world: CleaningFacts = NOTHING
) -> CleaningPlan:
    listed = facts if isinstance(facts, list) else [facts]
    return plan_cleaning(of(*submissions), {entry.run: entry for entry in listed}, world)


def kinds(found: CleaningPlan) -> list[tuple[RunKind, str]]:
    return [(removal.kind, removal.facts.run) for removal in found.removals]


LOST = finished(1, SubmissionOutcome.LOST)
BOTH = (finished(1), finished(2, SubmissionOutcome.SUCCEEDED))
HIDDEN = [there(1, seen=""), there(2)]


def test_what_is_ingested_and_shown_stays() -> None:
    assert plan([there(1), there(2)], *BOTH) == CleaningPlan(removals=())


def test_an_earlier_run_of_which_nothing_is_shown_is_superseded() -> None:
    found = plan(HIDDEN, *BOTH)
    assert kinds(found) == [(RunKind.SUPERSEDED, run(1))]
    assert found.removals[0].reason == "no chain shows any of its datasets; submission 2 came after it"
    assert found.size == 1000


def test_an_earlier_run_with_one_success_that_is_shown_stays() -> None:
    assert not plan([there(1, seen=f"1 isr_log of it through {CHAIN}"), there(2)], *BOTH).removals


def test_an_earlier_run_without_datasets_is_superseded() -> None:
    found = plan([there(1, seen="", datasets=0), there(2)], *BOTH)
    assert found.removals[0].reason == "it holds no datasets; submission 2 came after it"


def test_a_run_is_not_superseded_by_one_that_was_never_ingested() -> None:
    later = RunFacts(run=run(2), folder=True)
    found = plan([there(1, seen=""), later], finished(1), finished(2, SubmissionOutcome.FAILED))
    assert kinds(found) == [(RunKind.DEAD_FOLDER, run(2))]


def test_the_latest_run_stays_even_when_hidden() -> None:
    """Something else hides it (a chain made by hand): that is not ours to judge."""
    assert not plan(there(seen=""), finished()).removals


def test_a_dead_submission_whose_run_holds_nothing_may_go() -> None:
    assert kinds(plan(there(seen="", datasets=0), LOST)) == [(RunKind.SUPERSEDED, run(1))]


@pytest.mark.parametrize("outcome", ["failed", "lost", "cancelled", "empty"])
def test_debris_of_dead_submissions_may_go(outcome: str) -> None:
    dead = finished(1, SubmissionOutcome(outcome))
    found = plan(there(parents=(), seen=""), dead)
    assert kinds(found) == [(RunKind.DEAD_RUN, run(1))]
    assert outcome in found.removals[0].reason
    assert kinds(plan(RunFacts(run=run(1), folder=True), dead)) == [(RunKind.DEAD_FOLDER, run(1))]


@pytest.mark.parametrize("outcome", ["succeeded", "partial"])
def test_what_ended_well_and_is_in_no_chain_stays_and_is_told(outcome: str) -> None:
    well = finished(1, SubmissionOutcome(outcome))
    for facts in (there(parents=(), seen=""), RunFacts(run=run(1), folder=True)):
        found = plan(facts, well)
        assert not found.removals
        assert outcome in found.kept[0].reason


def test_nothing_at_all_is_no_debris() -> None:
    assert plan(RunFacts(run=run(1)), LOST) == CleaningPlan(removals=())


def test_a_lost_submission_whose_outputs_are_shown_stays() -> None:
    assert not plan(there(), LOST).removals


def test_stray_files_go_and_their_run_stays() -> None:
    found = plan(there(strays=3, stray_size=30), finished())
    assert kinds(found) == [(RunKind.STRAY_FILES, run(1))]
    assert found.size == 30


def test_stray_files_may_go_though_a_campaign_names_their_run() -> None:
    world = CleaningFacts(inputs=frozenset({run(1)}), live=("night step3/all",))
    assert plan(there(strays=3), finished(), world=world).removals


@pytest.mark.parametrize(
    "facts",
    [
        there(parents=(), seen=""),
        RunFacts(run=run(1), folder=True),
        RunFacts(run=run(1)),
        there(seen=""),
    ],
)
def test_an_interrupted_removal_is_finished_whatever_it_left(facts: RunFacts) -> None:
    found = plan(facts, finished(), world=CleaningFacts(cleaning={101: REMOVING}))
    assert kinds(found) == [(RunKind.UNFINISHED, run(1))]


def test_an_interrupted_removal_is_not_finished_when_a_chain_shows_the_run_again() -> None:
    found = plan(there(), finished(), world=CleaningFacts(cleaning={101: REMOVING}))
    assert not found.removals
    assert "found first" in found.kept[0].reason


def test_what_was_removed_is_done_with() -> None:
    assert plan(RunFacts(run=run(1)), LOST, world=CleaningFacts(cleaning={101: REMOVED})) == CleaningPlan(
        removals=()
    )


def test_runs_that_were_not_looked_at_are_not_judged() -> None:
    assert plan([], *BOTH) == CleaningPlan(removals=())


# -- what must never be ----------------------------------------------------------------------------
UNDER_WAY = submission(2, state=SubmissionState.RUNNING)


@pytest.mark.parametrize(
    ("facts", "submissions", "world", "word"),
    [
        (there(seen=""), (finished(), UNDER_WAY), NOTHING, "submission 2 of its group is under way"),
        (there(seen=""), BOTH, CleaningFacts(foreign=frozenset({run(1)})), "belongs to another campaign"),
        (there(seen=""), BOTH, CleaningFacts(with_jobs=frozenset({101})), "may still be running"),
        (there(seen="", held_by=("DECam/calib",)), BOTH, NOTHING, "DECam/calib holds datasets of it"),
        (there(seen=""), BOTH, CleaningFacts(inputs=frozenset({run(1)})), "names it as an input"),
        (there(seen=""), BOTH, CleaningFacts(live=("other step3/all",)), "other step3/all is under way"),
        (there(seen="", kind="CALIBRATION"), BOTH, NOTHING, "it is a CALIBRATION collection"),
        (there(seen="", kind="TAGGED"), BOTH, NOTHING, "it is a TAGGED collection"),
        (there(seen="", kind="CHAINED"), BOTH, NOTHING, "it is a CHAINED collection"),
    ],
)
def test_what_must_never_go_stays_with_its_reason(
    facts: RunFacts, submissions: tuple[SubmissionView, ...], world: CleaningFacts, word: str
) -> None:
    later = there(2) if submissions[-1].state is SubmissionState.FINISHED else there(2, seen="")
    found = plan([facts, later], *submissions, world=world)
    assert not found.removals
    assert word in found.kept[0].reason


def superseded(**changes: object) -> Removal:
    removal = Removal(
        kind=RunKind.SUPERSEDED,
        reason="a person says so",
        submission_id=101,
        step="step1",
        group="all",
        number=1,
        facts=there(seen=""),
    )
    return replace(removal, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("removal", "submissions", "world", "word"),
    [
        (superseded(facts=there()), BOTH, NOTHING, "found first"),
        (superseded(kind=RunKind.DEAD_RUN, facts=there()), BOTH, NOTHING, "found first"),
        (superseded(kind=RunKind.UNFINISHED, facts=there()), BOTH, NOTHING, "found first"),
        (superseded(submission_id=7), BOTH, NOTHING, "no submission of this campaign made it"),
        (
            superseded(facts=there(seen="", run="DECam/raw/all")),
            BOTH,
            NOTHING,
            "is not this submission's RUN",
        ),
        (
            superseded(facts=there(seen="", run="DECam/raw/all")),
            (finished(run_collection="DECam/raw/all"),),
            NOTHING,
            "not that of a submission's RUN",
        ),
        (superseded(submission_id=102, facts=there(2)), (finished(), UNDER_WAY), NOTHING, "is under way"),
        (superseded(facts=there(seen="", held_by=("tag",))), BOTH, NOTHING, "tag holds datasets"),
        (superseded(), BOTH, CleaningFacts(foreign=frozenset({run(1)})), "another campaign"),
        (superseded(), BOTH, CleaningFacts(inputs=frozenset({run(1)})), "input"),
        (superseded(), BOTH, CleaningFacts(with_jobs=frozenset({101})), "Slurm jobs"),
        (superseded(), BOTH, CleaningFacts(live=("night step3/all",)), "may read from it"),
    ],
)
def test_a_plan_that_would_remove_it_is_refused_as_a_whole(
    removal: Removal, submissions: tuple[SubmissionView, ...], world: CleaningFacts, word: str
) -> None:
    fine = superseded(submission_id=103, number=3, facts=there(3, seen="", datasets=0))
    both = CleaningPlan(removals=(fine, removal))
    with pytest.raises(ForbiddenError, match="nothing was removed") as caught:
        check(both, of(*submissions, finished(3)), world)
    assert word in str(caught.value)
    assert removal.facts.run in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_plan_of_the_planner_passes_the_check() -> None:
    check(plan(HIDDEN, *BOTH), of(*BOTH), NOTHING)


# -- between the list and the yes ------------------------------------------------------------------
def test_what_was_agreed_is_done_and_no_more() -> None:
    shown = plan(HIDDEN, *BOTH)
    now = plan([there(1, seen="", size=5), there(2, strays=1)], *BOTH)
    assert len(now.removals) == 2
    done = agreed(shown, now)
    assert [(entry.facts.run, entry.facts.size) for entry in done.removals] == [(run(1), 5)]


def test_what_has_changed_since_it_was_shown_is_refused() -> None:
    shown = plan(HIDDEN, *BOTH)
    for now in (plan([there(1), there(2)], *BOTH), plan([], *BOTH)):
        with pytest.raises(ForbiddenError, match="changed since it was shown"):
            agreed(shown, now)
    with pytest.raises(ForbiddenError, match="may read from it"):
        agreed(shown, plan(HIDDEN, *BOTH, world=CleaningFacts(live=("night step3/all",))))


def test_collections_that_a_campaign_names_are_found_wherever_they_stand() -> None:
    certify = {"name": "c", "action": "certify-calibrations", "arguments": {"input": "a/bias", "n": 1}}
    chain = {"name": "d", "action": "collection-chain", "arguments": {"parent": "p", "children": ["x", "y"]}}
    step = {"name": "s", "pipeline": "p", "inputs": ["one,two", "three"]}
    found = named_collections(document(certify, chain, step))
    assert {"DECam/defaults", "a/bias", "p", "x", "y", "one", "two", "three"} <= found
    assert named_collections({}) == frozenset()


REDONE = (
    replace(finished(1), finished_at=NOW),
    replace(
        finished(2, SubmissionOutcome.SUCCEEDED),
        generation=2,
        run_collection=f"{CHAIN}.g2/002",
        finished_at=NOW,
    ),
)
OF_BOTH = [
    there(1, parents=(CHAIN,), seen=f"4 calexp of it through {CHAIN}"),
    there(2, run=REDONE[1].run_collection, parents=(STEP, f"{CHAIN}.g2")),
]


def redone(facts: list[RunFacts], *, published: int = 2, world: CleaningFacts = NOTHING) -> CleaningPlan:
    made = snapshot(group(submissions=REDONE, generation=2, published=published))
    found = plan_cleaning(made, {entry.run: entry for entry in facts}, world)
    check(found, made, world)
    return found


def test_an_old_generation_may_go_when_another_has_taken_its_place() -> None:
    found = redone(OF_BOTH)
    assert kinds(found) == [(RunKind.OLD_GENERATION, run(1))]
    assert found.removals[0].reason == "it is of generation 1, of which 2 has taken the place"
    assert not redone(OF_BOTH, published=1).removals
    assert not redone([replace(OF_BOTH[0], parents=(CHAIN, "u/ana/mine")), OF_BOTH[1]]).removals
    # What was made from it shows it among its inputs: kept for as long as readers see that.
    later = group(
        "step2", submissions=[replace(finished(1), id=7, run_collection="runs/night/step2/all/001")]
    )
    other = replace(OF_BOTH[0], parents=(CHAIN, "runs/night/step2/all"))
    facts = {entry.run: entry for entry in (other, OF_BOTH[1])}
    for published, removed in ((1, []), (2, [run(1)])):
        made = snapshot(
            group(submissions=REDONE, generation=2, published=2),
            replace(later, generation=2, published=published),
        )
        found = plan_cleaning(made, facts, NOTHING)
        assert [entry.facts.run for entry in found.removals] == removed
        check(found, made, NOTHING)
    assert not redone([replace(OF_BOTH[0], held_by=("tagged",)), OF_BOTH[1]]).removals
    assert not redone(OF_BOTH, world=CleaningFacts(live=("other step1/all",))).removals


def test_an_old_generation_stays_for_as_long_as_the_campaign_says() -> None:
    world = CleaningFacts(now=NOW + timedelta(days=6), keep=timedelta(days=7))
    found = redone(OF_BOTH, world=world)
    assert not found.removals
    assert [entry.run for entry in found.kept] == [run(1)]
    assert "keeps it until" in found.kept[0].reason
    assert redone(OF_BOTH, world=replace(world, now=NOW + timedelta(days=8))).removals


def test_an_interrupted_removal_of_an_old_generation_is_finished() -> None:
    world = CleaningFacts(cleaning={REDONE[0].id: REMOVING})
    assert kinds(redone(OF_BOTH, world=world)) == [(RunKind.UNFINISHED, run(1))]


def test_never_what_is_in_force_or_in_the_making() -> None:
    """Not even when a plan says so."""
    made = snapshot(group(submissions=REDONE, generation=2, published=2))
    for facts, number in ((OF_BOTH[1], 2), (there(1), 1)):
        (removal,) = redone(OF_BOTH).removals
        wrong = replace(removal, submission_id=REDONE[number - 1].id, number=number, facts=facts)
        with pytest.raises(ForbiddenError):
            check(CleaningPlan(removals=(wrong,)), made, NOTHING)
