"""An account that may start no more processes: one line says so, nothing is half done, and it heals."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from another_user import Account, accounts_of_one_group
from cli_help import PROGRAM, Done, environment
from survey_help import make_survey

STEPS = """
steps:
  - name: c1
    action: command
    arguments: {run: ["true"]}
"""


@dataclass(frozen=True)
class Limited:
    """Another user with a home and a campaign, whose processes can be limited; root's cannot."""

    account: Account
    folder: Path

    def __call__(self, *arguments: str, at_most: int | None = None) -> Done:
        environ = environment(self.folder / "home", HOME=str(self.folder))
        done = self.account.run(str(PROGRAM), *arguments, environ=environ, cwd=self.folder, at_most=at_most)
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def account() -> Iterator[Limited]:
    (account,) = accounts_of_one_group(1)
    folder = Path(tempfile.mkdtemp(prefix="merian-np-")).resolve()
    survey = make_survey(folder)
    text = survey.file.read_text().partition("\nsteps:")[0].partition("\ntracts:")[0]
    survey.file.write_text(f"{text}\nwork_dir: {folder}/work\n{STEPS}")
    for place in (folder, *folder.rglob("*")):
        shutil.chown(place, account.name)
    made = Limited(account, folder)
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


def test_no_process_can_be_started(account: Limited) -> None:
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
    assert {path.name for path in place.iterdir()} == {"driver.log", "identity.json", "outcome.json"}
    assert "too many processes (`ulimit -u`)" in (place / "outcome.json").read_text()
    assert "next try at" in account("tick", "night").fine()
    # There is room again.
    account("retry", "night", "c1", "--yes").fine()
    account("run", "night").fine()
    (group,) = json.loads(account("status", "night", "--json").fine())["groups"]
    assert group["state"] == "done"
