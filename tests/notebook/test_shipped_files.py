"""The shipped campaign files and the commands that show them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from astropy.table import Table
from forked_program import run_forked
from notebook_help import CAMPAIGNS

from merian_campaign.files.schema import campaign_schema

FILES = sorted(path for path in CAMPAIGNS.glob("*.yaml") if path.name != "failure-rules.yaml")


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {"HOME": str(cwd), "PATH": "/usr/bin:/bin", "DEMO_DIR": str(cwd)}
    return run_forked(*arguments, env=environ, cwd=cwd)


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_an_editor_with_the_schema_has_nothing_to_say(file: Path) -> None:
    jsonschema.validate(yaml.safe_load(file.read_text()), campaign_schema())


def test_commands_of_one_step_are_printed_as_they_are_typed(tmp_path: Path) -> None:
    file = str(CAMPAIGNS / "demo.yaml")
    done = run("commands", file, "--step", "ingestBias", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "# ingestBias/all\n"
        f"butler ingest-raws {tmp_path}/repo {tmp_path}/archive/raw/bias/raw_*.pickle --transfer link\n"
    )
    done = run("commands", file, "--step", "step3", cwd=tmp_path)
    assert """-d "instrument = 'DECam' AND skymap = 'decam_rings_v1' AND tract = 9813"\n""" in done.stdout
    refused = run("commands", file, "--step", "stepp", cwd=tmp_path)
    assert refused.returncode == 2
    assert "there is no step 'stepp'" in refused.stderr


def test_the_table_of_a_catalogue_is_read_by_astropy(tmp_path: Path) -> None:
    shards = tmp_path / 'a "folder", with blanks'
    shards.mkdir()
    for name in ("147457.fits", "147456.fits", "master_schema.fits", "README"):
        (shards / name).touch()
    done = run("refcat-table", str(shards), "tables/gaia.ecsv", cwd=tmp_path)
    assert done.stdout == "tables/gaia.ecsv: 2 shards\n", done.stderr
    table = Table.read(tmp_path / "tables" / "gaia.ecsv")
    assert table.colnames == ["filename", "htm7"]
    assert list(table["htm7"]) == [147456, 147457]
    assert list(table["filename"]) == [f"{shards}/147456.fits", f"{shards}/147457.fits"]
    for folder, words in (("none", "there is no such folder"), ("tables", "no files named by trixel")):
        refused = run("refcat-table", folder, "x.ecsv", cwd=tmp_path)
        assert refused.returncode == 2
        assert words in refused.stderr
