"""A process that cannot be seen is not dead: containers on a host, a ``/proc`` that hides accounts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from another_user import as_nobody

from merian_campaign.domain.execution.process_identity import ProcessIdentity
from merian_campaign.domain.record.snapshot import Remedy, SubmissionView
from merian_campaign.domain.states import SubmissionState
from merian_campaign.host import processes
from merian_campaign.middleware.drivers import LocalDrivers
from merian_campaign.wms.lease import DriverState, Lease, LeaseWatch, write_lease

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def in_a_container(do: Callable[[], object], *, mounted: str = "defaults") -> str:
    """Do something in a PID namespace of its own, with its own ``/proc``; return what came of it."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a PID namespace with a /proc of its own here")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.unshare(os.CLONE_NEWNS | os.CLONE_NEWPID)
        inner = os.fork()
        if inner == 0:
            try:
                subprocess.run(["mount", "--make-rprivate", "/"], check=True)
                subprocess.run(["mount", "-t", "proc", "-o", mounted, "proc", "/proc"], check=True)
                said = str(do())
            except BaseException:  # noqa: BLE001 - told to the test
                said = traceback.format_exc()
            os.write(writer, said.encode())
            os._exit(0)
        os.waitpid(inner, 0)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    return text


@pytest.fixture
def driver() -> Iterator[ProcessIdentity]:
    """Another process of ours, on this host."""
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        yield processes.identity(process.pid)
        process.kill()


def liveness(driver: ProcessIdentity, place: Path, *, lease: int) -> str:
    """Return what a tick believes of a driver whose lease ends so many seconds from now."""
    claimed = SubmissionView(
        id=1, group_id=1, number=1, state=SubmissionState.RUNNING, outcome=None, reason="", remedy=Remedy(),
        run_collection="r", directory=str(place), epoch=1, created_at=NOW, driver=driver,
        lease_expires_at=NOW + timedelta(seconds=lease),
    )  # fmt: skip
    return LocalDrivers(environ={}).liveness(claimed, now=NOW).value


def test_of_a_driver_in_another_container_the_lease_tells(tmp_path: Path, driver: ProcessIdentity) -> None:
    def look() -> object:
        return (
            liveness(driver, tmp_path, lease=9),
            liveness(driver, tmp_path, lease=-9),
            processes.this_host(),
        )

    host = processes.this_host()
    assert liveness(driver, tmp_path, lease=-9) == "alive"  # it can be seen from here
    told = in_a_container(look)
    assert told.startswith(f"('alive', 'dead', '{host}~pid"), told


def test_of_a_driver_that_is_hidden_the_lease_tells() -> None:
    place = Path("/nowhere/001")  # which any account may look for

    def look() -> object:
        with subprocess.Popen(["sleep", "600"]) as other:
            hidden, gone = (
                processes.identity(other.pid),
                ProcessIdentity(host=processes.this_host(), pid=999, pid_start=7),
            )

            def as_another() -> object:
                leases = [liveness(hidden, place, lease=seconds) for seconds in (9, -9)]
                return [*leases, liveness(gone, place, lease=9), Path(f"/proc/{other.pid}").exists()]

            try:
                return as_nobody(as_another)
            finally:
                other.send_signal(signal.SIGKILL)

    assert in_a_container(look, mounted="hidepid=2") == "['alive', 'dead', 'dead', False]"
    assert in_a_container(look, mounted="hidepid=1") == "['alive', 'dead', 'dead', True]"


def test_a_worker_that_cannot_see_its_driver_watches_its_lease(
    tmp_path: Path, driver: ProcessIdentity
) -> None:
    path = tmp_path / "driver.lease"
    write_lease(
        path, Lease(host=driver.host, pid=driver.pid, pid_start=driver.pid_start, counter=1, state="running")
    )

    def look() -> object:
        watch = LeaseWatch(path=path, driver=driver, here=processes.this_host(), patience=20)
        return [watch.look(0), watch.look(19), watch.look(21)]

    seen = [DriverState.RUNNING, DriverState.RUNNING, DriverState.LOST]
    assert in_a_container(look) == str(seen)


def test_what_is_not_known_by_its_start_is_not_known() -> None:
    assert processes.sees_alive(os.getpid(), 0) is None
    assert processes.sees_alive(os.getpid(), processes.start_time(os.getpid()) or 0) is True
    assert processes.sees_alive(os.getpid(), 1) is False
