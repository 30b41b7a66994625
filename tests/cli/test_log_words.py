"""How `log` reads which quantum is meant, and what it says when several may be."""

from __future__ import annotations

from typing import Any

import pytest

from merian_campaign.cli.commands_log import _LISTED, _several, _Wanted
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.record.attempt_rows import FailureRow


def row(number: int, **changes: Any) -> FailureRow:
    values: dict[str, Any] = dict.fromkeys(FailureRow.__dataclass_fields__)
    texts = {"step": "step1", "group": "all", "task": "isr", "data_id": f"visit={number}", "state": "failed"}
    return FailureRow(**(values | texts | {"quantum_id": number, "attempts": 1, "evidence": ""} | changes))


@pytest.mark.parametrize(
    "words",
    [
        ["isr", "visit=42,detector=3"],
        ["isr", "visit=42", "detector=3"],
        ["visit=42,", "isr", "detector = 3"],
        ["isr", "visit=42,detector=3", "visit=42"],
        ["isr visit=42 detector=3"],
    ],
)
def test_words_in_any_order(words: list[str]) -> None:
    wanted = _Wanted.of([word.rstrip(",") for word in words])
    assert (wanted.task, wanted.values) == ("isr", {"visit": "42", "detector": "3"})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["isr", "flat"], "found two tasks, 'isr' and 'flat'"),
        (["isr", "visit="], "write visit=42,detector=3"),
        (["isr", "=42"], "write visit=42,detector=3"),
        (["isr", "visit=1,,"], "write visit=42,detector=3"),
        (["visit=1", "visit=2"], "visit is both '1' and '2'"),
    ],
)
def test_wrong_words_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(BadInputError) as refused:
        _Wanted.of(words)
    assert said in str(refused.value)


def test_several_are_listed_within_bounds_with_their_commands() -> None:
    found = [row(number) for number in range(_LISTED + 1)]
    head, *lines = _several("wide", found).splitlines()
    assert head.startswith(f"campaign 'wide' has more than {_LISTED} quanta")
    assert lines[0] == "merian-campaign log wide 0   # step1/all isr visit=0 failed"
    assert len(lines) == _LISTED
    assert "has 2 quanta" in _several("wide", found[:2])
    hostile = _several("wide", [row(1, data_id="a\nrm -rf x"), row(2)]).splitlines()
    assert len(hostile) == 3
