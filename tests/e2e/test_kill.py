"""Killing the tick or the driver at any moment: the next ticks repair it, and nothing runs twice at once."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_help import CHECKOUT, Installation, wait_for

pytestmark = pytest.mark.e2e

CAMPAIGN = """
campaign: {name}
butler: {root}/repo
work_dir: {root}/submissions
instrument: DECam
site: {checkout}/site/local.yaml
include: [{checkout}/bps_configs/base.yaml]
collections: {{output: DECam/runs/{name}}}
steps:
  - name: cpBias
    pipeline: {checkout}/merian_campaign/demo/pipelines/cpBias.yaml
    scope: exposure
    where: exposure.observation_type = 'zero' AND detector NOT IN (31, 61)
    inputs: [DECam/raw/all, DECam/calib/curated/19700101T000000Z, DECam/calib/unbounded]
"""


@pytest.fixture
def campaign(installation: Installation, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    from demo_repository import copied_repository  # noqa: PLC0415 - imports lsst

    copied_repository(tmp_path)
    name = request.node.name.replace("[", "_").rstrip("]")
    file = tmp_path / "campaign.yaml"
    file.write_text(CAMPAIGN.format(name=name, root=tmp_path, checkout=CHECKOUT), encoding="utf-8")
    applied = installation.run("apply", str(file))
    assert applied.returncode == 0, applied.stderr
    yield name
    installation.run("cancel", name)


def _driver(installation: Installation, name: str) -> int | None:
    rows = installation.query(
        'SELECT s.driver_pid FROM submission s JOIN "group" g ON g.id = s.group_id'
        " JOIN campaign c ON c.id = g.campaign_id WHERE c.name = %(name)s AND s.state = 'running'",
        name=name,
    )
    return int(rows[0][0]) if rows and rows[0][0] else None


def _directory(tmp_path: Path, name: str) -> Path:
    return tmp_path / "submissions" / name / "cpBias" / "all" / "001"


def _finish(installation: Installation, name: str) -> None:
    done = installation.run("run", name)
    assert done.returncode == 0, done.stderr
    status = installation.json("status", name)
    assert status["state"] == "done"
    assert status["quanta"]["succeeded"] == status["quanta"]["expected"] == 6


@pytest.mark.parametrize("moment", ["claimed", "graph", "running"])
def test_a_killed_driver_is_taken_over(
    installation: Installation, campaign: str, tmp_path: Path, moment: str
) -> None:
    assert installation.run("tick", campaign).returncode == 0
    directory = _directory(tmp_path, campaign)
    reached = {
        "claimed": lambda: True,
        "graph": lambda: list(directory.glob("bps/*.qg")),
        "running": (directory / "bps" / "journal.jsonl").exists,
    }
    driver = wait_for(lambda: _driver(installation, campaign), what="driver")
    wait_for(reached[moment], what=moment)
    os.kill(driver, signal.SIGKILL)
    _finish(installation, campaign)
    assert not installation.query(
        "SELECT 1 FROM quantum_status WHERE campaign = %(name)s AND (state <> 'succeeded')", name=campaign
    )
    # A driver ends a moment after it has written how its work ended.
    wait_for(
        lambda: not [command for command in installation.processes() if str(tmp_path) in command],
        what="end of every process",
        seconds=60,
    )


def test_a_killed_tick_loses_nothing(installation: Installation, campaign: str, tmp_path: Path) -> None:
    """Kill a tick once it has committed its intention, before or after it started the driver."""
    tick = installation.start("tick", campaign)
    wait_for(
        lambda: installation.query(
            'SELECT 1 FROM submission s JOIN "group" g ON g.id = s.group_id'
            " JOIN campaign c ON c.id = g.campaign_id WHERE c.name = %(name)s",
            name=campaign,
        ),
        what="prepared submission",
    )
    tick.kill()
    tick.wait()
    _finish(installation, campaign)
    numbers = installation.query(
        'SELECT s.number FROM submission s JOIN "group" g ON g.id = s.group_id'
        " JOIN campaign c ON c.id = g.campaign_id WHERE c.name = %(name)s",
        name=campaign,
    )
    assert numbers == [(1,)]


@pytest.mark.soak
def test_what_a_deleted_directory_had_made_is_taken_from_the_butler(
    installation: Installation, campaign: str, tmp_path: Path
) -> None:
    assert installation.run("tick", campaign).returncode == 0
    directory = _directory(tmp_path, campaign)
    wait_for((directory / "outcome.json").exists, what="end of the run")
    wait_for(lambda: not installation.processes(holding=str(tmp_path)), what="end of its driver", seconds=60)
    shutil.rmtree(directory)
    _finish(installation, campaign)
    found = installation.query(
        'SELECT s.number, s.outcome, s.reason FROM submission s JOIN "group" g ON g.id = s.group_id'
        " JOIN campaign c ON c.id = g.campaign_id WHERE c.name = %(name)s ORDER BY s.number",
        name=campaign,
    )
    assert [(number, outcome) for number, outcome, _ in found] == [(1, "failed"), (2, "empty")]
    assert "its directory was deleted; 6 quanta were taken from the butler" in found[0][2]
