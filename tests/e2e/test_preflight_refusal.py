"""Before a group's first graph its driver looks, refuses what would fail, and does it once that is mended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from demo_chain import invoke
from demo_repository import copied_repository
from e2e_help import CHECKOUT, Installation
from lsst.daf.butler.cli.butler import cli as butler_cli

CAMPAIGN = """\
campaign: refused-{wms}
butler: {folder}/repo
work_dir: {folder}/submissions
instrument: DECam
site: {checkout}/site/local.yaml
wms: {wms}
include: [{checkout}/bps_configs/base.yaml]
collections: {{output: u/refused-{wms}}}
steps:
  - name: cpBias
    pipeline: {checkout}/merian_campaign/demo/pipelines/cpBias.yaml
    scope: exposure
    select: {{observation_type: zero, exclude_detectors: [2, 31, 61]}}
    inputs: [DECam/raw/all, DECam/calib/curated/19700101T000000Z, DECam/calib/chain-{wms}]
"""


@pytest.fixture(scope="module")
def folder(installation: Installation) -> Path:
    made = installation.root / "refused"
    copied_repository(made)
    return made


@pytest.mark.parametrize("wms", ["campaign", "stock"])
def test_what_would_fail_is_refused_at_once_and_done_when_it_is_mended(
    installation: Installation, folder: Path, wms: str
) -> None:
    file = folder / f"{wms}.yaml"
    file.write_text(CAMPAIGN.format(folder=folder, checkout=CHECKOUT, wms=wms))
    name = f"refused-{wms}"
    assert installation.run("apply", str(file)).returncode == 0
    done = installation.run("run", name)
    assert done.returncode == 3, done.stderr
    # One submission, no graph, and the reason with what to do.
    (group,) = installation.json("show", name, "cpBias")["submissions"]
    assert group["outcome"] == "failed"
    chain = f"DECam/calib/chain-{wms}"
    assert group["reason"].startswith(f"preflight: the input collection {chain} is not in the repository")
    assert "correct inputs:" in group["reason"]
    directory = Path(group["directory"])
    assert not list(directory.rglob("*.qg"))
    assert f"preflight: error: the input collection {chain}" in (directory / "driver.log").read_text()

    if wms == "stock":  # from here on both are the same, and this one is slow
        return
    made = invoke(butler_cli, "collection-chain", folder / "repo", chain, "DECam/calib/unbounded")
    assert made.exit_code == 0, made.output
    assert installation.run("retry", name, "cpBias").returncode == 0
    done = installation.run("run", name)
    assert done.returncode == 0, done.stderr
    _, second = installation.json("show", name, "cpBias")["submissions"]
    assert second["outcome"] == "succeeded"
    findings = json.loads((Path(second["directory"]) / "findings.json").read_text())
    assert findings == {"version": 1, "refused": "", "findings": []}
