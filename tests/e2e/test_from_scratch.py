"""From an empty folder to a repository through butler actions, killed between two and within one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import yaml
from e2e_help import BIN, CHECKOUT, Installation, wait_for

from merian_campaign.demo.compare import compare_collections

pytestmark = pytest.mark.e2e

PREPARATION = 13
"""Steps of demo-whole.yaml before the first that runs a pipeline."""

COLLECTIONS = [
    "DECam/raw/all",
    "DECam/calib/unbounded",
    "DECam/calib/curated/19700101T000000Z",
    "skymaps",
    "refcats",
]


@pytest.fixture
def preparation(tmp_path: Path) -> Path:
    """The first steps of the shipped campaign, as a campaign of their own."""
    text = (CHECKOUT / "campaign" / "demo-whole.yaml").read_text()
    content = yaml.safe_load(text.replace("${CAMPAIGN_DIR}", str(CHECKOUT / "campaign")))
    content["campaign"] = "preparation"
    content["steps"] = content["steps"][:PREPARATION]
    assert all("action" in step for step in content["steps"])
    for key, folder in (("failure_rules", "campaign"), ("site", "site")):
        content[key] = str(CHECKOUT / folder / content[key])
    content["site"] += ".yaml"
    content["include"] = [str((CHECKOUT / "campaign" / name).resolve()) for name in content["include"]]
    file = tmp_path / "preparation.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def test_the_repository_is_the_same_when_killed_between_two_actions_and_within_one(
    installation: Installation, preparation: Path, tmp_path: Path
) -> None:
    directory = installation.root / "scratch"
    here = installation.with_environment(DEMO_DIR=str(directory))
    assert here.run("apply", str(preparation)).returncode == 0
    submissions = directory / "submissions" / "preparation"
    log = submissions / "ingestScience/all/001/driver.log"
    for what, reached in (
        ("registered instrument", (submissions / "registerInstrument/all/001/outcome.json").exists),
        ("running ingest", lambda: log.exists() and "+ butler ingest-raws" in log.read_text()),
    ):
        running = here.start("run", "preparation")
        wait_for(reached, what=what, seconds=600)
        kill_everything(running.pid, directory)
        running.wait()
    done = here.run("run", "preparation")
    assert done.returncode == 0, done.stdout + done.stderr
    status = here.json("status", "preparation")
    assert {group["state"] for group in status["groups"]} == {"done"}
    same_repository(directory, tmp_path)


def kill_everything(pid: int, directory: Path) -> None:
    """Kill a `run`, then every process of the submissions below a folder, until none is left."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [process for process in psutil.process_iter() if belongs(process, directory)]
        if not found:
            return
        for process in found:
            process.kill()
        psutil.wait_procs(found, timeout=5)
    raise AssertionError(f"processes of {directory} do not end")


def belongs(process: psutil.Process, directory: Path) -> bool:
    try:
        marker = process.environ().get("MERIAN_CAMPAIGN_SUBMISSION", "")
    except (psutil.Error, OSError):
        return False
    return marker.startswith(f"{directory}/") and process.status() != psutil.STATUS_ZOMBIE


def same_repository(directory: Path, elsewhere: Path) -> None:
    from merian_campaign.demo.repository import create_repository  # noqa: PLC0415 - imports lsst

    other = create_repository(elsewhere / "python")
    assert not compare_collections(
        repository=directory / "repo", first=COLLECTIONS, second=COLLECTIONS, other_repository=other
    )


@pytest.mark.soak
def test_the_whole_survey_from_an_empty_folder_to_object_tables(installation: Installation) -> None:
    directory = installation.root / "whole"
    faults = dict.fromkeys(("FAULT_MEMORY", "FAULT_ONCE", "FAULT_SIGNAL", "FAULT_ALGORITHM"), "none")
    here = installation.with_environment(DEMO_DIR=str(directory), **faults)
    assert here.run("apply", str(CHECKOUT / "campaign" / "demo-whole.yaml")).returncode == 0
    done = here.run("run", "demo-whole")
    assert done.returncode == 0, done.stdout + done.stderr
    status = here.json("status", "demo-whole")
    assert {group["state"] for group in status["groups"]} == {"done"}
    assert (status["quanta"]["expected"], status["quanta"]["succeeded"]) == (153, 153)
    found = subprocess.run(
        [str(BIN / "butler"), "query-datasets", str(directory / "repo"), "objectTable_tract",
         "--collections", "DECam/runs/demo/step3"],
        env=here.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "9813" in found.stdout
    assert "9814" in found.stdout
