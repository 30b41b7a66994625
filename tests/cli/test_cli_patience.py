"""What `run` waits for, and how long."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from merian_campaign.cli.live import AwaitedDrivers, Patience
from merian_campaign.domain.errors import BadInputError, UnavailableError

FULL = OSError(errno.ENOSPC, "No space left on device", "/data/x")


def test_what_was_never_there_is_not_waited_for() -> None:
    with pytest.raises(OSError, match="No space left"):
        Patience(interval=2).with_(FULL)


def test_what_ran_out_is_waited_for_longer_each_time() -> None:
    patience = Patience(interval=2)
    patience.regained()
    waits = []
    for _ in range(12):
        assert patience.with_(FULL).startswith("/data/x: No space left on device; free space")
        waits.append(patience.seconds)
    assert waits[:4] == [2, 4, 8, 16]
    assert waits[-1] == 300
    patience.regained()
    assert not patience.lost
    assert patience.with_(UnavailableError("the database does not answer")) == "the database does not answer"
    assert patience.seconds == 2


def test_other_errors_are_not_waited_for() -> None:
    patience = Patience(interval=2)
    patience.regained()
    for error in (BadInputError("no such campaign"), BrokenPipeError(errno.EPIPE, "Broken pipe")):
        with pytest.raises(type(error)):
            patience.with_(error)


@pytest.mark.timeout(60)
def test_a_driver_that_has_ended_is_waited_for_no_longer(tmp_path: Path) -> None:
    ended, alive = tmp_path / "ended", tmp_path / "alive"
    ended.touch()
    drivers = AwaitedDrivers()
    drivers.expect([str(ended), str(alive)])
    drivers.wait(3600.0)
    drivers.expect([str(ended), str(alive)])  # no tick could take it in
    drivers.wait(0.0)
    alive.touch()
    drivers.wait(3600.0)
