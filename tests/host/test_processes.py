"""Finding and ending what a submission left, whatever session or title its processes took."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from merian_campaign.host import processes, termination

SLEEP = "import signal; signal.pause()"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    found: list[subprocess.Popen[bytes]] = []
    yield found
    for process in found:
        process.kill()
        process.wait()


def _start(code: str, *, cwd: Path, role: str | None, directory: Path) -> subprocess.Popen[bytes]:
    environ = {name: value for name, value in os.environ.items() if name != processes.SUBMISSION_MARK}
    if role is not None:
        environ[processes.SUBMISSION_MARK] = f"{directory}#{role}"
    process = subprocess.Popen(
        [sys.executable, "-c", f"print(flush=True); {code}"],
        cwd=cwd, env=environ, start_new_session=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_marked_processes_are_ended_and_others_kept(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    directory = tmp_path / "001"
    directory.mkdir()
    run = _start(SLEEP, cwd=tmp_path, role="run1", directory=directory)
    kept = _start(SLEEP, cwd=tmp_path, role="driver1", directory=directory)
    stranger = _start(SLEEP, cwd=directory, role=None, directory=directory)
    started += [run, kept, stranger]
    assert termination.reap(str(directory), keep=frozenset({"driver1"})) == 1
    assert processes.start_time(run.pid) is None
    assert kept.poll() is None
    assert stranger.poll() is None


def test_a_process_that_parsl_renamed_is_found_by_where_it_works(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    """Its title is written over the environment, so that the marker cannot be read."""
    directory = tmp_path / "001"
    directory.mkdir()
    code = (
        "from setproctitle import setproctitle; setproctitle('parsl: HTEX interchange'); print(flush=True); "
    )
    renamed = _start(code + SLEEP, cwd=directory, role="run1", directory=directory)
    started.append(renamed)
    assert renamed.stdout is not None
    renamed.stdout.readline()
    assert termination.reap(str(directory)) == 1
    assert processes.start_time(renamed.pid) is None


def test_a_process_is_told_from_a_later_one_with_its_pid() -> None:
    mine = processes.identity(os.getpid())
    assert processes.alive(mine.pid, mine.pid_start)
    assert not processes.alive(mine.pid, mine.pid_start + 1)
