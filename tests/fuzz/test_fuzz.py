"""Damaged files of every kind: refused in words or taken; no traceback, no crash, no hang, no memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import Failure, Target, make_input, run
from targets import LEFT_BEHIND, UNHARDENED, WRITTEN

QUICK = {"campaign": 250, "site": 200, "rules": 100, "bps": 150, "ids": 80, "registry": 100, "tracts": 40}
"""Inputs in `make test`: some ten seconds of computing."""

LONG = 20_000
"""Inputs of a soak, all kinds together."""

HOLDING = [target for target in (*WRITTEN, *LEFT_BEHIND) if target.name not in UNHARDENED]


def told(failures: list[Failure]) -> str:
    return "\n".join(map(str, failures[:5]))


@pytest.mark.parametrize("target", WRITTEN, ids=lambda target: target.name)
def test_damaged_files_are_refused_in_words_or_taken(target: Target) -> None:
    count = QUICK[target.name]
    failures, refusals = run(target, range(count))
    assert not failures, told(failures)
    # Most are refused; where all are, or none, the mutations miss what they are aimed at.
    assert 0 < refusals < count


@pytest.mark.parametrize("target", HOLDING, ids=lambda target: target.name)
def test_good_files_are_taken(target: Target) -> None:
    assert run(target, range(len(target.seeds))) == ([], 0)


def test_the_same_number_makes_the_same_input() -> None:
    for target in (*WRITTEN, *LEFT_BEHIND):
        assert make_input(target, 77) == make_input(target, 77)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_twenty_thousand_damaged_files() -> None:
    share = LONG // len(HOLDING) + 1

    def read(target: Target) -> list[Failure]:
        return run(target, range(share))[0]

    with ThreadPoolExecutor(max_workers=2) as pool:
        failures = [failure for found in pool.map(read, HOLDING) for failure in found]
    assert not failures, told(failures)
