"""The reason that is shown is the one that a log gives, whichever of several logs has it."""

from __future__ import annotations

import pytest

from merian_campaign.domain.safe_text.last_error import last_error

ERROR = "lsst.pipe.base.EmptyQuantumGraphError: no visits"


@pytest.mark.parametrize(
    ("logs", "found"),
    [
        (("", ERROR), ERROR),
        ((" \n\t\n", f"{ERROR}\nbye"), ERROR),
        (("INFO: begins", ERROR), ERROR),
        ((ERROR, "ValueError: of another"), ERROR),
        (("one\ntwo", ""), "two"),
        (("", "three"), "three"),
        (("", ""), "no output"),
        ((), "no output"),
    ],
)
def test_an_empty_log_hides_no_other(logs: tuple[str, ...], found: str) -> None:
    assert last_error(*logs) == found
