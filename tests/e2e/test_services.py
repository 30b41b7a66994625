"""Our WMS service and the stock one, held to the same end-to-end test."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e_help import CHECKOUT, Installation, new_installation

pytestmark = pytest.mark.e2e

CAMPAIGN = """
campaign: {wms}
butler: {root}/repo
work_dir: {root}/submissions
instrument: DECam
site: {checkout}/site/local.yaml
wms: {wms}
memory_guard: address_space
include: [{checkout}/bps_configs/base.yaml]
failure_rules: {checkout}/campaign/failure-rules.yaml
collections: {{output: DECam/runs/services}}
steps:
  - name: cpBias
    pipeline: {checkout}/merian_campaign/demo/pipelines/cpBias.yaml
    scope: exposure
    where: exposure.observation_type = 'zero' AND detector NOT IN (31, 61)
    inputs: [DECam/raw/all, DECam/calib/curated/19700101T000000Z, DECam/calib/unbounded]
    config:
      - isr:faultKind=memory
      - isr:faultDataId=exposure:970488,detector:1
      - isr:faultMegabytes=2600
      - cpBiasCombine:faultKind=once
      - cpBiasCombine:faultDataId=detector:2
      - cpBiasCombine:faultLedger={root}/faults
"""

ATTEMPTS = """
SELECT q.task, s.number, a.state, a.verdict, a.requested_mb
  FROM quantum_attempt a JOIN quantum q ON q.id = a.quantum_id JOIN submission s ON s.id = a.submission_id
  JOIN "group" g ON g.id = q.group_id JOIN campaign c ON c.id = g.campaign_id
 WHERE c.name = %(name)s AND a.state <> 'blocked' ORDER BY q.task, s.number
"""

SPAN = """
SELECT sum(extract(epoch FROM s.finished_at - s.created_at))
  FROM submission s JOIN "group" g ON g.id = s.group_id JOIN campaign c ON c.id = g.campaign_id
 WHERE c.name = %(name)s
"""


@pytest.mark.parametrize("wms", ["campaign", pytest.param("stock", marks=pytest.mark.soak)])
def test_faults_are_told_apart_and_cured(installation: Installation, tmp_path: Path, wms: str) -> None:
    from demo_repository import copied_repository  # noqa: PLC0415 - imports lsst

    copied_repository(tmp_path)
    file = tmp_path / "campaign.yaml"
    file.write_text(CAMPAIGN.format(wms=wms, root=tmp_path, checkout=CHECKOUT), encoding="utf-8")
    assert installation.run("apply", str(file)).returncode == 0
    done = installation.run("run", wms)
    assert done.returncode == 0, done.stderr
    (group,) = installation.json("status", wms)["groups"]
    assert (group["state"], group["submissions"]) == ("done", 2)
    assert group["quanta"]["succeeded"] == group["quanta"]["expected"] == 6
    first, second = (row[1:] for row in installation.query(ATTEMPTS, name=wms) if row[0] == "isr")
    assert first == (1, "failed", "out_of_memory", 2048)
    assert second == (2, "succeeded", None, 4096)
    once = [row[1:4] for row in installation.query(ATTEMPTS, name=wms) if row[0] == "cpBiasCombine"]
    assert once == [(1, "failed", "infrastructure"), (2, "succeeded", None)]
    (told,) = installation.json("usage", wms)["submissions"]
    wall = told["wall"]
    assert told["submissions"] == 2
    assert min(wall["graph"], wall["startup"], wall["run"], wall["ingest"]) > 0
    ((span,),) = installation.query(SPAN, name=wms)
    assert sum(wall.values()) == pytest.approx(float(span), rel=0.05)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_the_whole_demo_with_the_stock_service() -> None:
    with new_installation() as here:
        done = here.run_program("demo", "--dir", str(here.root / "demo"), "--wms", "stock")
        assert done.returncode == 0, done.stdout + done.stderr
        status = here.json("status", "demo")
        assert [group["step"] for group in status["groups"] if group["state"] != "done"] == ["step3"]
        assert status["quanta"]["succeeded"] == status["quanta"]["expected"] - 6
