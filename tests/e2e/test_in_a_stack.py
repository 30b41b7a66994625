"""Campaigns whose drivers run in an LSST stack: set up, recorded, kept to; and what becomes of trouble."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_help import CHECKOUT, Installation

pytestmark = pytest.mark.e2e

CAMPAIGN = """
campaign: {name}
butler: {root}/repo
work_dir: {root}/submissions
instrument: DECam
site: {checkout}/site/local.yaml
stack:
  load: stack/loadLSST.sh
  environment: lsst-scipipe-4.0.0
  setup: [lsst_distrib -t w_2022_26]
  packages: [my packages/obs_decam]
  prelude: |
    export FROM_PRELUDE="it's set"
    test "$LSST_CONDA_ENV_NAME" = lsst-scipipe-4.0.0
include: [{checkout}/bps_configs/base.yaml]
collections: {{output: DECam/runs/{name}}}
steps:
  - name: chain
    action: collection-chain
    arguments: {{parent: DECam/inputs, children: [DECam/raw/all]}}
  - name: cpBias
    pipeline: {checkout}/merian_campaign/demo/pipelines/cpBias.yaml
    scope: exposure
    where: exposure.observation_type = 'zero' AND detector NOT IN (31, 61)
    inputs: [DECam/raw/all, DECam/calib/curated/19700101T000000Z, DECam/calib/unbounded]
"""

LOAD = """\
# As eups: `setup` is a shell function that leaves SETUP_* variables, and fails for what it does not know.
stack=$(dirname "${BASH_SOURCE[0]}")
export EUPS_PATH=$stack
setup() {
    if [ "$1" = -j ]; then
        export SETUP_OBS_DECAM="obs_decam LOCAL:$3 -f (none) -Z (none)"
    elif [ "$2 $3" = "-t w_2022_26" ]; then
        export SETUP_LSST_DISTRIB="lsst_distrib gb29 -f Linux64 -Z $stack"
        export SETUP_PIPE_BASE="pipe_base $(cat "$stack/version") -f Linux64 -Z $stack"
    else
        echo "setup: No product lsst_distrib with tag $3" >&2
        return 1
    fi
}
"""


@pytest.fixture
def file(installation: Installation, tmp_path: Path) -> Iterator[Path]:
    """The campaign's file, in a repository that its group may write."""
    from demo_repository import copied_repository  # noqa: PLC0415 - imports lsst

    repository = copied_repository(tmp_path)
    repository.chmod(repository.stat().st_mode | stat.S_IWGRP)
    stack = tmp_path / "stack"
    chains = stack / "ups_db" / "lsst_distrib"
    chains.mkdir(parents=True)
    (chains / "w_2022_26.chain").write_text("FLAVOR = Linux64\nVERSION = gb29\n")
    (chains / "w_2022_27.chain").write_text("FLAVOR = Linux64\nVERSION = gc30\n")
    (stack / "loadLSST.sh").write_text(LOAD)
    (stack / "version").write_text("g1+a\n")
    local = tmp_path / "my packages" / "obs_decam"
    (local / "ups").mkdir(parents=True)
    (local / "decamFilters.py").write_text("N708 = 708\n")
    made = tmp_path / "campaign.yaml"
    made.write_text(CAMPAIGN.format(name="stack", root=tmp_path, checkout=CHECKOUT), encoding="utf-8")
    assert installation.run("apply", str(made)).returncode == 0
    yield made
    installation.run("cancel", "stack")
    installation.run("forget", "stack", "--yes")


def group(installation: Installation, step: str) -> dict[str, str]:
    found: dict[str, str] = installation.json("show", "stack", step)
    return found


def test_inside_a_stack(installation: Installation, file: Path) -> None:
    assert os.umask(0o022) == 0o022, "this test begins with the usual umask"
    done = installation.run("run", "stack")
    assert done.returncode == 0, done.stderr
    (first,) = group(installation, "cpBias")["submissions"]
    assert first["stack"].startswith("w_2022_26, local obs_decam, python 3.")
    (status,) = [g for g in installation.json("status", "stack")["groups"] if g["step"] == "cpBias"]
    assert status["stack"] == first["stack"]
    (recorded,) = installation.query(
        "SELECT versions_sha, versions->'stack' FROM submission WHERE directory = %(directory)s",
        directory=first["directory"],
    )
    assert len(recorded[0]) == 16
    assert recorded[1]["pipe_base"] == "g1+a"
    assert recorded[1]["obs_decam"].startswith(f"LOCAL:{file.parent}/my packages/obs_decam#")

    # What a group may write, its runs leave writable.
    written = [path for path in (file.parent / "repo" / "DECam" / "runs").rglob("*") if not path.is_symlink()]
    assert [str(path) for path in written if not path.stat().st_mode & stat.S_IWGRP] == []
    assert sum(path.is_file() for path in written) > 10

    # Somebody edits the local package, or the stack's current version moves on: nothing is mixed.
    (file.parent / "my packages" / "obs_decam" / "decamFilters.py").write_text("N708 = 709\n")
    (file.parent / "stack" / "version").write_text("g2+b\n")
    assert installation.run("retry", "stack", "cpBias").returncode == 0
    assert installation.run("run", "stack").returncode == 3
    refused = group(installation, "cpBias")
    assert refused["state"] == "needs_review"
    assert "the stack changed since submission 1: obs_decam LOCAL:" in refused["reason"]
    assert "pipe_base g1+a -> g2+b; run it with the old one" in refused["reason"]
    assert "`merian-campaign retry stack cpBias/all --allow-stack-change`" in refused["reason"]
    assert len(refused["submissions"]) == 2
    assert not (Path(refused["submissions"][1]["directory"]) / "bps").exists()

    assert installation.run("retry", "stack", "cpBias", "--allow-stack-change").returncode == 0
    assert installation.run("run", "stack").returncode == 0
    assert group(installation, "cpBias")["state"] == "done"

    (file.parent / "stack" / "version").write_text("g3+c\n")
    file.write_text(file.read_text().replace("stack:\n", "stack:\n  changes: allowed\n"))
    assert installation.run("apply", str(file)).returncode == 0
    assert installation.run("retry", "stack", "cpBias").returncode == 0
    assert installation.run("run", "stack").returncode == 0
    assert group(installation, "cpBias")["state"] == "done"


def test_a_stack_that_cannot_be_set_up(installation: Installation, file: Path) -> None:
    file.write_text(file.read_text().replace("w_2022_26]", "w_2099_01]"))
    assert installation.run("apply", str(file)).returncode == 0
    assert installation.run("run", "stack").returncode == 3
    for step in ("chain", "cpBias"):
        found = group(installation, step)
        assert found["state"] == "needs_review"
        (submission,) = found["submissions"]
        assert found["reason"] == (
            "the stack could not be set up: setup: No product lsst_distrib with tag w_2099_01 (this failed: "
            "setup lsst_distrib -t w_2099_01); see driver.log"
        )
        assert "No product lsst_distrib with tag w_2099_01" in Path(submission["driver_log"]).read_text()
    checked = installation.run("stack", str(file))
    assert checked.returncode == 1
    assert (
        "the stack could not be set up: setup: No product lsst_distrib with tag w_2099_01" in checked.stderr
    )

    # A line of the free text that fails ends the driver as well, with what it said.
    text = file.read_text().replace("w_2099_01]", "w_2022_26]")
    file.write_text(
        text.replace('test "$LSST_CONDA_ENV_NAME" = lsst-scipipe-4.0.0', "cat /no/licence\n    true")
    )
    done = installation.run("stack", str(file))
    assert done.returncode == 1
    assert "cat: /no/licence: No such file or directory" in done.stderr

    # So does a Python that has nothing of merian-campaign.
    bare = Path(sys.base_prefix) / "bin"
    file.write_text(text.replace('export FROM_PRELUDE="it\'s set"', f"export PATH={bare}:$PATH"))
    done = installation.run("stack", str(file))
    assert done.returncode == 1
    assert "the stack could not be set up: " in done.stderr
    assert "pip install --no-deps merian-campaign" in done.stderr or "No module named" in done.stderr
    assert f"(seen by {bare}/python" in done.stderr

    # What is named and not there is said before anything starts.
    file.write_text(text.replace("stack/loadLSST.sh", "stack/loadSST.sh"))
    refused = installation.run("validate", str(file))
    assert refused.returncode == 2
    assert f"stack.load: there is no {file.parent}/stack/loadSST.sh on this host" in refused.stderr
