"""A campaign whose repository has no room, again and again: it waits, and ends as if there had been room."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from demo_chain import BIAS, CP_BIAS, Survey
from demo_compare import compare_collections
from e2e_help import CHECKOUT, Installation, new_installation, runs_of, wait_for

from merian_campaign.domain.failures.fault_attribution import no_room

pytestmark = [pytest.mark.e2e, pytest.mark.soak]

DEMO = CHECKOUT / "campaign" / "demo.yaml"
LAST = "certifyBias"
KILOBYTES = (60, 1000, 100, 200, 300)
"""Room that is left for the repository, one after the other, each time beside what it holds by then."""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def campaign(file: Path, *, repository: Path) -> None:
    """Write the demo's campaign up to its first certified calibration."""
    content = yaml.safe_load(DEMO.read_text().replace("${CAMPAIGN_DIR}", str(DEMO.parent)))
    for key, folder in (("failure_rules", "campaign"), ("site", "site")):
        content[key] = str(CHECKOUT / folder / content[key])
    content["site"] += ".yaml"
    last = next(at for at, step in enumerate(content["steps"]) if step["name"] == LAST)
    content.update(campaign="full", butler=str(repository), steps=content["steps"][: last + 1])
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def told(here: Installation) -> list[str]:
    """Return the groups that wait for room, as they are named to `retry`."""
    groups: list[dict[str, Any]] = here.json("status", "full")["groups"]
    assert [one for one in groups if one["state"] == "needs_review"] == []
    return [
        f"{one['step']}/{one['group']}"
        for one in groups
        if one["state"] == "ready" and no_room(one["reason"])
    ]


def ran_into(here: Installation) -> bool:
    """Run the campaign to its end, or until a disk is full; say which."""
    run = here.start("run", "full", "--interval", "1")
    try:
        wait_for(lambda: run.poll() is not None or told(here), what="end or full disk", seconds=900)
        return run.poll() is None
    finally:
        run.kill()
        run.wait()


@pytest.mark.timeout(3600)
def test_it_waits_for_room_and_ends_as_if_there_had_been_some(small: Path, tmp_path: Path) -> None:
    sound = Survey(tmp_path / "sound")
    sound.run_or_fail(CP_BIAS)
    file = tmp_path / "full.yaml"
    campaign(file, repository=small / "repo")
    with new_installation(DEMO_DIR=str(tmp_path / "demo")) as here:
        assert here.run("apply", str(file)).returncode == 0
        full = 0
        for room in (*KILOBYTES, 1 << 20):
            size = shutil.disk_usage(small).used // 1024 + room
            subprocess.run(["mount", "-o", f"remount,size={size}k", str(small)], check=True)
            waiting = told(here)
            if waiting:
                assert here.run("retry", "full", *waiting, "--yes").returncode == 0
            full += ran_into(here)
        assert full > 2, "it was hardly ever full"
        done = here.run("run", "full")
        assert done.returncode == 0, done.stdout + done.stderr
        groups = here.json("status", "full")["groups"]
        assert {one["state"] for one in groups} == {"done"}
        found = compare_collections(
            repository=small / "repo", other_repository=sound.repository,
            first=runs_of(small / "repo", "DECam/calib/demo/bias"), second=runs_of(sound.repository, BIAS),
        )  # fmt: skip
        assert found == []
        assert [path for path in small.rglob("*") if path.suffix == ".tmp"] == []
