"""What `merian-campaign render` writes is a file for plain `bps submit`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from e2e_help import BIN, Installation

pytestmark = pytest.mark.e2e


def test_a_rendered_yaml_runs_by_hand(installation: Installation, tmp_path: Path) -> None:
    from demo_repository import copied_repository  # noqa: PLC0415 - imports lsst

    copied_repository(tmp_path)
    here = installation.with_environment(DEMO_DIR=str(tmp_path))
    out = tmp_path / "rendered"
    file = Path(__file__).resolve().parents[2] / "campaign" / "demo.yaml"
    done = here.run("render", str(file), "--output", str(out))
    assert done.returncode == 0, done.stderr
    submitted = subprocess.run(
        [str(BIN / "bps"), "submit", str(out / "cpBias/all/001/submit.yaml")],
        env=here.environ, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    found = subprocess.run(
        [str(BIN / "butler"), "query-datasets", str(tmp_path / "repo"), "bias", "--collections",
         "DECam/calib/demo/bias/all/001"],
        env=here.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.count("DECam/calib/demo/bias/all/001") == 2
