"""From an empty folder to a repository through butler actions, killed between two and within one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from demo_compare import compare_collections
from e2e_help import BIN, CHECKOUT, Installation, wait_for

pytestmark = pytest.mark.e2e

COLLECTIONS = [
    "DECam/raw/all",
    "DECam/calib/unbounded",
    "DECam/calib/curated/19700101T000000Z",
    "skymaps",
    "refcats",
]
NO_FAULTS = dict.fromkeys(("FAULT_MEMORY", "FAULT_ONCE", "FAULT_SIGNAL", "FAULT_ALGORITHM"), "none")
DEMO = CHECKOUT / "campaign" / "demo.yaml"


def shipped() -> dict[str, Any]:
    """Return the demo's campaign as it is shipped, its paths absolute."""
    content = yaml.safe_load(DEMO.read_text().replace("${CAMPAIGN_DIR}", str(DEMO.parent)))
    for key, folder in (("failure_rules", "campaign"), ("site", "site")):
        content[key] = str(CHECKOUT / folder / content[key])
    content["site"] += ".yaml"
    assert isinstance(content, dict)
    return content


@pytest.fixture
def preparation(tmp_path: Path) -> Path:
    """All before the first step that runs a pipeline, as a campaign of its own."""
    content = shipped()
    first = next(at for at, step in enumerate(content["steps"]) if "pipeline" in step)
    content.update(campaign="preparation", steps=content["steps"][:first])
    assert first == 13
    file = tmp_path / "preparation.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


@pytest.mark.soak
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
        kill_when(here, "preparation", directory, reached=reached, what=what)
    done = here.run("run", "preparation")
    assert done.returncode == 0, done.stdout + done.stderr
    status = here.json("status", "preparation")
    assert {group["state"] for group in status["groups"]} == {"done"}
    same_repository(directory, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_whole_survey_is_the_same_when_killed_after_every_action(
    installation: Installation, demo: Path
) -> None:
    """Each time, a run is killed with all its processes when one more action has left its outcome."""
    directory = installation.root / "whole"
    here = installation.with_environment(DEMO_DIR=str(directory), **NO_FAULTS)
    content = shipped() | {"campaign": "whole"}
    file = directory / "whole.yaml"
    directory.mkdir()
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    assert here.run("apply", str(file)).returncode == 0
    for step in content["steps"]:
        if "action" in step:
            outcome = directory / "submissions" / "whole" / step["name"] / "all" / "001" / "outcome.json"
            kill_when(here, "whole", directory, reached=outcome.exists, what=f"end of {step['name']}")
    done = here.run("run", "whole")
    assert done.returncode == 0, done.stdout + done.stderr
    status = here.json("status", "whole")
    assert {group["state"] for group in status["groups"]} == {"done"}
    assert (status["quanta"]["expected"], status["quanta"]["succeeded"]) == (153, 153)
    for chains in (
        COLLECTIONS,
        [f"DECam/calib/demo/{name}" for name in ("bias", "crosstalk", "flat")],
        [f"DECam/runs/demo/{name}" for name in ("step1", "step2a", "step2b", "step2c", "step2d")],
    ):
        assert not compare_collections(
            repository=directory / "repo", other_repository=demo / "repo", first=chains, second=chains
        )
    assert tables(here, directory) == {9813, 9814}


def kill_when(
    here: Installation, name: str, directory: Path, *, reached: Callable[[], bool], what: str
) -> None:
    """Run a campaign, and kill all that belongs to it as soon as something is reached."""
    running = here.start("run", name)
    wait_for(reached, what=what, seconds=600)
    kill_everything(running.pid, directory)
    running.wait()


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
    from demo_repository import create_repository  # noqa: PLC0415 - imports lsst

    other = create_repository(elsewhere / "python")
    assert not compare_collections(
        repository=directory / "repo", first=COLLECTIONS, second=COLLECTIONS, other_repository=other
    )


def tables(here: Installation, directory: Path) -> set[int]:
    """Return the tracts that have an object table in the butler."""
    found = subprocess.run(
        [str(BIN / "butler"), "query-datasets", str(directory / "repo"), "objectTable_tract",
         "--collections", "DECam/runs/demo/step3"],
        env=here.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {tract for tract in (9813, 9814) if str(tract) in found.stdout}
