"""The reason that is shown is the one that a log gives, whichever of several logs has it."""

from __future__ import annotations

import pytest

from merian_campaign.domain.safe_text.last_error import last_error

HEADER = "Traceback (most recent call last):"
CUT = "an exception whose traceback was cut short (killed, or no room on the disk)"
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
        ((f"{HEADER}\n  File 'a.py', line 3, in b", ERROR), ERROR),
        ((f"INFO: begins\n{HEADER}",), CUT),
        ((f"{HEADER}\n  File 'a.py', line 3, in b\n",), f"{CUT}: File 'a.py', line 3, in b"),
        (("", ""), "no output"),
        ((), "no output"),
    ],
)
def test_an_empty_log_hides_no_other(logs: tuple[str, ...], found: str) -> None:
    assert last_error(*logs) == found
