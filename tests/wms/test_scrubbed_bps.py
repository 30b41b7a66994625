"""What BPS keeps of the environment holds no secrets, whoever submits."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import yaml

WRITE = """
import sys
from merian_campaign.wms.scrubbed_bps import keep_secrets
keep_secrets()
from lsst.ctrl.bps import bps_utils, drivers, initialize
for number, module in enumerate((bps_utils, drivers, initialize)):
    module._dump_env_info(f"{sys.argv[1]}/{number}.env.info.yaml")
"""


def test_secrets_are_left_out_and_the_rest_is_kept(tmp_path: Path) -> None:
    secret = {
        "GITHUB_TOKEN": "s3cret", "DB_PASSWORD": "s3cret", "REGISTRY": "postgresql://ana:s3cret@db/merian",
        "DSN": "host=db password=s3cret user=ana",
    }  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", WRITE, str(tmp_path)],
        env={**os.environ, **secret, "KEPT": "yes"}, umask=0o077, check=True,
    )  # fmt: skip
    for number in range(3):
        file = tmp_path / f"{number}.env.info.yaml"
        found = yaml.safe_load(file.read_text())
        assert "s3cret" not in file.read_text()
        assert found["KEPT"] == "yes"
        assert found["GITHUB_TOKEN"] == "(left out)"
        assert found["REGISTRY"] == "postgresql://ana:***@db/merian"
        assert found["DSN"] == "host=db password=*** user=ana"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_bps_with_that_mended_is_bps() -> None:
    command = [sys.executable, "-P", "-m", "merian_campaign.wms.scrubbed_bps"]
    done = subprocess.run([*command, "submit", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: bps submit")
    assert subprocess.run([*command, "submit", "/nowhere.yaml"], capture_output=True, check=False).returncode
