"""An account that may start no more processes: one line says so, nothing is half done, and it heals."""

from __future__ import annotations

import json
import os
import pwd
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from cli_help import PROGRAM, Done, environment
from survey_help import make_survey

ACCOUNTS = ("games", "nobody")
"""Whose limit it is: root has none. The first that there is; nothing else runs under it."""
READS_ALL = "-all,+dac_read_search"
"""What lets this account use our Python, wherever that is installed."""
STEPS = """
steps:
  - name: c1
    action: command
    arguments: {run: ["true"]}
"""


@dataclass(frozen=True)
class Account:
    """Another user with a home and a campaign, whose processes can be limited."""

    name: str
    folder: Path

    def processes(self) -> list[psutil.Process]:
        return [one for one in psutil.process_iter(["username"]) if one.info["username"] == self.name]

    def __call__(self, *arguments: str, at_most: int | None = None) -> Done:
        """Run a command; ``at_most`` is how many processes more than now there may be, itself included."""

        def limit() -> None:
            if at_most is not None:
                number = len(self.processes()) + at_most
                resource.setrlimit(resource.RLIMIT_NPROC, (number, number))

        done = subprocess.run(
            [
                "setpriv", f"--reuid={self.name}", "--regid=nogroup", "--clear-groups",
                f"--inh-caps={READS_ALL}", f"--ambient-caps={READS_ALL}", "--",
                str(PROGRAM), *arguments,
            ],
            env=environment(self.folder / "home", USER=self.name, HOME=str(self.folder)),
            cwd=self.folder, capture_output=True, text=True, check=False, timeout=300, preexec_fn=limit,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def account() -> Iterator[Account]:
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    if shutil.which("setpriv") is None or sys.platform != "linux":
        pytest.skip("setpriv is not installed")
    name = next((one for one in ACCOUNTS if one in {entry.pw_name for entry in pwd.getpwall()}), None)
    if name is None:
        pytest.skip(f"there is none of the accounts {', '.join(ACCOUNTS)}")
    folder = Path(tempfile.mkdtemp(prefix="merian-np-")).resolve()
    survey = make_survey(folder)
    text = survey.file.read_text().partition("\nsteps:")[0].partition("\ntracts:")[0]
    survey.file.write_text(f"{text}\nwork_dir: {folder}/work\n{STEPS}")
    for place in (folder, *folder.rglob("*")):
        shutil.chown(place, name)
    made = Account(name, folder)
    try:
        yield made
    finally:
        made("db", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def refused(done: Done) -> None:
    """Assert that it ended with one line that says what to free."""
    assert done.code in {69, 74}, done
    assert "Traceback" not in done.stderr, done
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("merian-campaign: ")]
    assert "too many processes (`ulimit -u`)" in line, done


def test_no_process_can_be_started(account: Account) -> None:
    file = str(account.folder / "night.yaml")
    # The embedded server cannot be made, and what was begun of it is no obstacle.
    for number in (1, 3):
        refused(account("apply", file, at_most=number))
    account("apply", file).fine()
    # No driver can be started: nothing is used up.
    refused(account("tick", "night", at_most=1))
    (submission,) = json.loads(account("show", "night", "c1", "--json").fine())["submissions"]
    assert (submission["state"], submission["outcome"]) == ("prepared", None)
    # A driver that can start nothing says so, and leaves nothing else behind.
    account("drive", "1", at_most=1).fine()
    place = account.folder / "work" / "night" / "c1" / "all" / "001"
    assert {path.name for path in place.iterdir()} == {"driver.log", "outcome.json"}
    assert "too many processes (`ulimit -u`)" in (place / "outcome.json").read_text()
    assert "next try at" in account("tick", "night").fine()
    # There is room again.
    account("retry", "night", "c1", "--yes").fine()
    account("run", "night").fine()
    (group,) = json.loads(account("status", "night", "--json").fine())["groups"]
    assert group["state"] == "done"
