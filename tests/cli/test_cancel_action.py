"""`cancel` stops an action that is under way: what it runs, and all that this has started."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg2
import pytest
from cli_help import Cli, submissions, written

from merian_campaign.store.server.locks import repository_lock

SCRIPT = """\
# One child in a session and an environment of its own, and one that does not want to end.
setsid env -i /bin/sleep 86400 &
echo $! >> "$1"
(trap '' TERM; echo $BASHPID >> "$1"; while :; do /bin/sleep 1; done) &
echo $$ >> "$1"
touch "$1.begun"
wait
"""
STEPS = """
steps:
  - name: long
    action: command
    arguments: {{run: [bash, {folder}/long.sh, {folder}/pids]}}
"""


def wait_for(condition: Callable[[], object], *, what: str) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.05)  # between two looks at a condition, not in place of one


@pytest.fixture
def folder(cli: Cli, work: Path) -> Path:
    """The survey's folder; its campaign is one long action."""
    folder = cli.survey.folder
    (folder / "long.sh").write_text(SCRIPT)
    written(cli, STEPS.format(folder=folder), work)
    cli("tick", cli.name).fine()
    return folder


def ended(cli: Cli, work: Path) -> dict[str, object]:
    """Return how the action's driver says it ended, once it does."""
    outcome = work / cli.name / "long" / "all" / "001" / "outcome.json"
    wait_for(outcome.exists, what="outcome")
    cli("tick", cli.name).fine()
    return dict(json.loads(outcome.read_text()))


def test_a_command_is_ended_with_all_that_it_started(
    cli: Cli, folder: Path, work: Path, sql: psycopg2.extensions.connection
) -> None:
    wait_for((folder / "pids.begun").exists, what="begin of the command")
    running = [psutil.Process(int(pid)) for pid in (folder / "pids").read_text().split()]
    assert len(running) == 3
    cli("cancel", cli.name, "long", "--yes").fine()
    assert (ended(cli, work)["end"]) == "cancelled"
    assert [one for one in running if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []
    assert [row[1:3] for row in submissions(sql, cli.name)] == [("cancelled", 1)]
    assert not (work / cli.name / "long" / "all" / "002").exists()


def test_an_action_that_waits_for_the_repository_is_not_begun(
    cli: Cli, work: Path, url: str, sql: psycopg2.extensions.connection
) -> None:
    with repository_lock(url, str(cli.survey.folder / "repo")):
        folder = cli.survey.folder
        (folder / "long.sh").write_text(SCRIPT)
        written(cli, STEPS.format(folder=folder), work)
        cli("tick", cli.name).fine()
        log = work / cli.name / "long" / "all" / "001" / "driver.log"
        wait_for(lambda: "is waited for; it is held by" in log.read_text(), what="waiting driver")
        cli("cancel", cli.name, "long", "--yes").fine()
        assert (ended(cli, work)["reason"]) == "cancelled before it began"
    assert not (folder / "pids").exists()
    assert [row[1:3] for row in submissions(sql, cli.name)] == [("cancelled", 1)]
