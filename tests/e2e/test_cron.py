"""Ticks from a real cron daemon, with nothing in its environment: `apply`, a new night, the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cron_help import cron_daemon, enter, table
from e2e_help import CHECKOUT, Installation, new_installation, wait_for
from forked_program import run_forked

pytestmark = pytest.mark.e2e

CAMPAIGN = """
campaign: unattended
butler: {root}/repo
work_dir: {root}/submissions
instrument: DECam
site: {checkout}/site/local.yaml
include: [{checkout}/bps_configs/base.yaml]
collections: {{output: DECam/runs/unattended}}
environment: {{DAF_BUTLER_PLUGINS: {checkout}/merian_campaign/demo/resources.yaml}}
steps:
  - name: before
    action: command
    arguments: {{run: [sh, -c, "echo $HOME $SURVEY_WORD; until test -e {root}/night; do sleep 0.1; done"]}}
  - name: ingest
    after: [before]
    action: ingest-raws
    arguments: {{files: ["{root}/archive/raw/science/raw_*.pickle"]}}
  - name: nightly
    after: [ingest]
    pipeline: {checkout}/merian_campaign/demo/pipelines/cpBias.yaml
    scope: exposure
    where: exposure.observation_type = 'science' AND detector = 1
    group_by: {{kind: day_obs, nights: {{discover: true, first: 20210320}}}}
    inputs: [DECam/raw/all, DECam/calib/curated/19700101T000000Z, DECam/calib/unbounded]
  - name: after
    after: [nightly]
    action: command
    arguments: {{run: ["false"]}}
    max_submissions: 1
"""


@pytest.fixture
def crontab() -> Iterator[None]:
    with cron_daemon():
        yield


@pytest.fixture
def installation() -> Iterator[Installation]:
    """A home of its own: whatever cron starts is looked for there at the end."""
    with new_installation(SURVEY_WORD="blue 50%") as made:
        yield made


@pytest.mark.usefixtures("crontab")
def test_cron_does_a_campaign_from_apply_to_the_end(installation: Installation, tmp_path: Path) -> None:
    from demo_repository import copied_repository  # noqa: PLC0415 - imports lsst

    from merian_campaign.demo.archive import add_third_night  # noqa: PLC0415

    copied_repository(tmp_path)
    file = tmp_path / "campaign.yaml"
    file.write_text(CAMPAIGN.format(root=tmp_path, checkout=CHECKOUT), encoding="utf-8")
    home = installation.root / "home"
    told = tmp_path / "told"
    home.mkdir()
    notices = home / "notices.yaml"
    tell = tmp_path / "tell"
    tell.write_text(f'#!/bin/sh\n(echo "$1"; cat) >> {told}\n', encoding="utf-8")
    tell.chmod(0o700)
    notices.write_text(f"channels: ['command:{tell}']\nheartbeat: {tmp_path}/alive\n", encoding="utf-8")
    notices.chmod(0o600)
    kept = "0 0 1 1 * echo of somebody else\n"
    enter(kept)
    applied = run_forked("apply", str(file), env=installation.environ)
    assert applied.returncode == 0, applied.stderr
    words = ("cron", "install", "--every", "1", "--keep", "SURVEY_WORD")
    asked = run_forked(*words, env=installation.environ)
    assert (asked.returncode, table()) == (1, kept), "nothing without a yes"
    entered = installation.run("cron", "install", "--every", "1", "--keep", "SURVEY_WORD", "--yes")
    assert entered.returncode == 0, entered.stdout + entered.stderr
    assert "tried in cron's environment: database postgresql://" in entered.stdout
    assert table().startswith(kept)
    try:
        wait_for(lambda: installation.query("SELECT 1 FROM submission"), what="first tick", seconds=150)
        add_third_night(tmp_path / "archive")
        (tmp_path / "night").touch()
        wait_for(told.exists, what="word of the group that needs a person", seconds=300)
    finally:
        removed = installation.run("cron", "remove")
    assert (removed.returncode, table()) == (0, kept)
    groups = installation.query('SELECT step, key, state FROM "group" ORDER BY ordinal')
    assert groups == [
        ("before", "all", "done"), ("ingest", "all", "done"), ("nightly", "night20210320", "done"),
        ("after", "all", "needs_review"),
    ]  # fmt: skip
    assert installation.query("SELECT count(*) FROM submission") == [(4,)], "nothing ran twice"
    log = (tmp_path / "submissions/unattended/before/all/001/driver.log").read_text(encoding="utf-8")
    reason = installation.query("SELECT reason FROM \"group\" WHERE step = 'before'")[0][0]
    assert "blue 50%" in log + reason
    # No step waited for the next minute: each driver started the tick after it.
    ticks = installation.query("SELECT count(*) FROM tick")[0][0]
    assert ticks >= 3
    assert "unattended after/all needs a person" in told.read_text(encoding="utf-8")
    assert (tmp_path / "alive").exists()
    assert "merian-campaign retry unattended after/all" in told.read_text(encoding="utf-8")
    assert told.read_text(encoding="utf-8").count("needs a person") == 1
    assert "3 submissions" not in (home / "logs" / "ticks.log").read_text(encoding="utf-8")


GROUPS = 'SELECT step, key, state, generation FROM "group"'
DEMO = {
    **dict.fromkeys(("FAULT_MEMORY", "FAULT_ONCE", "FAULT_SIGNAL", "FAULT_ALGORITHM"), "none"),
    "NIGHTS": "discover",
    "LAST_EXPOSURE": "971401",
}
LONG = 1800.0


@pytest.mark.soak
@pytest.mark.usefixtures("crontab")
def test_cron_does_the_demo_and_then_a_new_night(installation: Installation) -> None:
    here = installation.with_environment(DEMO_DIR=str(installation.demo), **DEMO)

    def is_done(night: str) -> bool:
        found = installation.query(GROUPS)
        reduced = {step for step, key, _, _ in found if key == night}
        return {"step1", "step2a", "step2d"} <= reduced and {state for _, _, state, _ in found} == {"done"}

    applied = here.run("apply", str(CHECKOUT / "campaign" / "demo.yaml"))
    assert applied.returncode == 0, applied.stderr
    entered = installation.run("cron", "install", "--every", "1", "--yes")
    assert entered.returncode == 0, entered.stdout + entered.stderr
    try:
        wait_for(lambda: is_done("night20210319"), what="end of two nights", seconds=LONG)
        archive = ["-m", "merian_campaign.demo.archive", str(installation.demo / "archive"), "--third-night"]
        subprocess.run([sys.executable, "-P", *archive], check=True)
        wait_for(lambda: is_done("night20210320"), what="end of the third night", seconds=LONG)
    finally:
        assert installation.run("cron", "remove").returncode == 0
    tracts = {key: generation for step, key, _, generation in installation.query(GROUPS) if step == "step3"}
    assert tracts == {"tract9813": 2, "tract9814": 2}, "both were made anew, with the new night"
