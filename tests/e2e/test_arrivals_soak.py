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

pytestmark = [pytest.mark.e2e, pytest.mark.soak]

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
    left = {f"{kind}={exposure}" for kind in ("visit", "exposure") for exposure in found.bad}
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
