"""Raws that come in any order make in the end what they would have made had all been there at first."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from arrivals_help import COMBINING, FAULTS, SCIENCE, SUBSETS, Reduction, happenings, prepare
from demo_compare import Difference, compare_collections
from e2e_help import Installation, new_installation

from merian_campaign.demo.survey import ALL_DETECTORS
from merian_campaign.domain.record.board_row import STALE

pytestmark = [pytest.mark.e2e, pytest.mark.soak]

FIRST = ("joint", "table")
KINDS = ("visit", "exposure")
SEEDS = [int(word) for word in os.environ.get("ARRIVAL_SEEDS", "").split()] or list(range(1, 13))


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with new_installation() as made:
        yield made


@pytest.fixture(scope="module")
def prepared(installation: Installation) -> Path:
    folder = installation.root / "prepared"
    prepare(folder)
    return folder


class References:
    """Campaigns that had all data from the start, one for each list of bad exposures."""

    def __init__(self, installation: Installation, prepared: Path) -> None:
        self._installation = installation
        self._prepared = prepared
        self._made: dict[frozenset[int], Reduction] = {}

    def without(self, bad: frozenset[int]) -> Reduction:
        if bad not in self._made:
            name = "_".join(["whole", *map(str, sorted(bad))])
            made = Reduction(self._installation, self._prepared, name, bad=set(bad))
            made.arrive([(plan, detector) for plan in SCIENCE for detector in ALL_DETECTORS])
            made.apply()
            made.settle()
            assert {state for state, _ in made.states().values()} == {"done"}, made.states()
            self._made[bad] = made
        return self._made[bad]


@pytest.fixture(scope="module")
def references(installation: Installation, prepared: Path) -> References:
    return References(installation, prepared)


def differences(found: Reduction, whole: Reduction, step: str) -> list[Difference]:
    """Return what differs in a step, but for what was made of a withdrawn exposure by itself."""
    compared = compare_collections(
        repository=found.repository, other_repository=whole.repository,
        first=found.shown(step), second=whole.shown(step),
    )  # fmt: skip
    left = {f"{kind}={exposure}" for kind in KINDS for exposure in found.bad}
    return [
        one
        for one in compared
        if step in COMBINING
        or one.problem != "missing in the second"
        or not left.intersection(one.data_id.split(","))
    ]


def live_through(found: Reduction, dice: random.Random) -> None:
    """Let happen what happens; every event is told, and shown when the test fails."""
    begun = False
    for what, value in happenings(dice):
        words = value if what != "arrive" else sorted({(plan.exposure, det) for plan, det in value})
        print(f"{found.name}: {what} {words}", flush=True)  # noqa: T201 - shown with a failure
        match what:
            case "arrive":
                found.arrive(value)
            case "again":
                found.arrive_again()
            case "withdraw":
                found.bad.add(value)
        if not begun or what == "withdraw":
            found.apply()
            begun = True
        if what == "pause":
            found.go_on(submissions=value)
    found.settle()


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_comes_when_a_campaign_that_redoes_ends_as_if_all_had_been_there(
    seed: int, installation: Installation, prepared: Path, references: References
) -> None:
    dice = random.Random(seed)
    fault = dice.choice((None, *FAULTS))
    if fault is not None:
        fault = (*fault[:2], fault[2].format(visit=dice.choice(SCIENCE).exposure))
    found = Reduction(installation, prepared, f"arrivals{seed}", fault=fault)
    live_through(found, dice)
    assert {state for state, _ in found.states().values()} == {"done"}, found.states()
    whole = references.without(frozenset(found.bad))
    for step in SUBSETS:
        assert differences(found, whole, step) == [], step
    used = found.used()
    assert used
    assert all(overlapping == taken for overlapping, taken in used.values()), used


def of_group(one: Difference, name: str) -> bool:
    """Say whether a difference is in the outputs of a group: by tract, by night, or all."""
    words, key = one.data_id.split(","), name.partition("/")[2]
    if key.startswith("tract"):
        return f"tract={key.removeprefix('tract')}" in words
    night = [plan.exposure for plan in SCIENCE if f"night{plan.day_obs}" == key]
    return key == "all" or any(f"{kind}={exposure}" in words for kind in KINDS for exposure in night)


def stale_groups(found: Reduction) -> set[str]:
    return {name for name, (_, reason) in found.states().items() if reason.startswith(STALE)}


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_marked_what_is_stale_differs_and_a_redo_by_hand_mends_it(
    seed: int, installation: Installation, prepared: Path, references: References
) -> None:
    found = Reduction(installation, prepared, f"marked{seed}", on_new_data="mark")
    live_through(found, random.Random(seed))
    whole = references.without(frozenset(found.bad))
    stale, states = stale_groups(found), found.states()
    for step in (*COMBINING, "final"):
        differing = differences(found, whole, step)
        done = [name for name in states if name.startswith(f"{step}/") and states[name][0] == "done"]
        for name in done:
            differ = [one for one in differing if of_group(one, name)]
            assert not differ or name in stale, (name, differ, states[name])
            if step in FIRST:  # what only reads others may come out the same
                assert differ or name not in stale, (name, states[name])
    if stale:
        done_by_hand = installation.run("redo", found.name, *sorted(stale), "--reason", "over", "--yes")
        assert done_by_hand.returncode == 0, done_by_hand.stdout + done_by_hand.stderr
        found.settle()
    assert not stale_groups(found)
    assert {state for state, _ in found.states().values()} == {"done"}, found.states()
    for step in SUBSETS:
        assert differences(found, whole, step) == [], step
