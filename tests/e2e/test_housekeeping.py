"""Housekeeping of the finished demo: nothing in it may go, and its tables can be taken away."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e_help import Installation, file_times
from lsst.daf.butler import Butler

pytestmark = pytest.mark.e2e

SCIENCE = "DECam/calib/demo/crosstalk/science"


def test_every_collection_says_what_made_it(installation: Installation, demo: Path) -> None:
    rows = {row["name"]: row for row in installation.json("collections", "demo", "--sizes")["collections"]}
    first, second = rows[f"{SCIENCE}/001"], rows[f"{SCIENCE}/002"]
    assert (first["made_by"], first["type"], first["outcome"]) == ("step0/science 1", "RUN", "partial")
    assert (second["made_by"], second["outcome"]) == ("step0/science 2", "succeeded")
    assert first["datasets"] > second["datasets"] > 0
    files = [path for path in (demo / "repo" / SCIENCE / "001").rglob("*") if path.is_file()]
    assert first["bytes"] == sum(path.stat().st_size for path in files)
    assert rows["DECam/calib/demo"]["made_by"] == "certified by certifyBias"
    assert rows["DECam/calib/demo"]["type"] == "CALIBRATION"
    assert rows["DECam/defaults/demo"]["made_by"] == "chain by defaults"
    assert rows["DECam/raw/all"]["made_by"] == "input"
    assert {row["note"] for row in rows.values()} == {""}


def test_nothing_of_a_finished_campaign_may_go(installation: Installation, demo: Path) -> None:
    """Afterburners complete what was there: each earlier RUN still shows its successes."""
    before = file_times(demo / "repo")
    plan = installation.json("clean", "demo", "--dry-run")
    assert (plan["removals"], plan["kept"], plan["removed"]) == ([], [], False)
    assert file_times(demo / "repo") == before


def test_its_object_tables_arrive_at_another_repository(
    installation: Installation, demo: Path, tmp_path: Path
) -> None:
    done = installation.run("export", "demo", str(tmp_path / "tables"), "--tract", "9813")
    assert done.returncode == 0, done.stderr
    assert "objectTable_tract\t1" in done.stdout
    repository = tmp_path / "there"
    Butler.makeRepo(str(repository))
    done = installation.run("import", str(repository), str(tmp_path / "tables"), "--chain", "DR1")
    assert done.returncode == 0, done.stderr
    tables = []
    for place, chain in ((demo / "repo", "DECam/runs/demo/step3"), (repository, "DR1")):
        with Butler.from_config(str(place), collections=chain) as butler:
            table = butler.get("objectTable_tract", skymap="decam_rings_v1", tract=9813)
            tables.append(table.pformat(max_lines=-1, max_width=-1))
            coadds = butler.query_datasets("deepCoadd", where="tract = 9813 AND band = 'N708'",
                                           skymap="decam_rings_v1", instrument="DECam")  # fmt: skip
            assert len(coadds) == 2
    assert tables[0] == tables[1]
    assert len(tables[0]) > 10
