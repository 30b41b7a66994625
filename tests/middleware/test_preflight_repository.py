"""Preflight and selections on a real repository, through the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from merian_campaign.demo.repository import create_repository
from merian_campaign.domain.spec.selecting import Select
from merian_campaign.middleware.selecting import select as ask

PROGRAM = Path(sys.executable).with_name("merian-campaign")
CAMPAIGN = Path(__file__).resolve().parents[2] / "campaign" / "demo.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("survey")
    create_repository(made)
    return made


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {"DEMO_DIR": str(folder), "HOME": str(folder), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [str(PROGRAM), *arguments], env=environ, capture_output=True, text=True, check=False
    )


def changed(folder: Path, name: str, *changes: tuple[str, str]) -> str:
    text = CAMPAIGN.read_text().replace("${CAMPAIGN_DIR}", str(CAMPAIGN.parent))
    for old, new in (
        ("site: local", f"site: {CAMPAIGN.parents[1]}/site/local.yaml"),
        ("../bps_configs", str(CAMPAIGN.parents[1] / "bps_configs")),
        ("failure_rules: ", f"failure_rules: {CAMPAIGN.parent}/"),
        *changes,
    ):
        assert old in text
        text = text.replace(old, new)
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return str(file)


def test_the_demo_is_fit_to_fly(folder: Path) -> None:
    done = run(folder, "preflight", str(CAMPAIGN))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors" in done.stderr


def test_what_would_fail_is_found_before_any_graph_is_built(folder: Path) -> None:
    file = changed(
        folder,
        "wrong",
        ("where: exposure.observation_type = 'zero'", "where: exposure.observation_type = 'bias'"),
        ('tracts: ["9813-9814"]', 'tracts: ["9813-9815"]'),
        ("#step2c\n", "#step9\n    scope: instrument\n"),
        ("        - refcats\n", "        - refcats\n        - DECam/none\n"),
        ("inputs: [DECam/raw/all, DECam/calib/demo, ", "inputs: [DECam/raw/all, DECam/nowhere, "),
    )
    done = run(folder, "preflight", file, "--json")
    assert done.returncode == 2, done.stdout + done.stderr
    found = {entry["place"]: entry for entry in json.loads(done.stdout)}
    assert "no exposure is selected by" in found["cpBias/all"]["message"]
    assert "DECam/nowhere is not in the repository" in found["step0"]["message"]
    assert "9815" in found["step3"]["message"]
    assert "step9" in found["step2c"]["message"]
    assert not list(folder.rglob("*.qg"))


def test_exposures_are_listed_as_they_are_written_in_a_campaign(folder: Path) -> None:
    file = changed(
        folder,
        "select",
        (
            "    where: exposure.observation_type = 'science' AND detector NOT IN (31, 61)\n",
            "    select: {observation_type: science, band: N708, exclude_detectors: [31, 61]}\n",
        ),
    )
    assert run(folder, "select", file, "step1").stdout.split() == ["970612", "971020"]
    assert run(folder, "select", file, "step1", "--nights").stdout.split() == ["20210318", "20210319"]
    refused = run(folder, "select", file, "step3")
    assert refused.returncode == 2
    assert "is no step over exposures or visits; such steps: cpBias, step0" in refused.stderr
    nothing = changed(folder, "nothing", ("'zero'", "'none'"))
    refused = run(folder, "select", nothing, "cpBias")
    assert refused.returncode == 2
    assert "no exposure is selected by" in refused.stderr


def test_campaign_and_pipeline_are_drawn(folder: Path) -> None:
    done = run(folder, "graph", str(CAMPAIGN))
    assert done.returncode == 0, done.stderr
    assert "s_step2d --> s_step3" in done.stdout
    done = run(folder, "graph", str(CAMPAIGN), "--step", "step2b", "--format", "dot")
    assert done.returncode == 0, done.stderr
    assert "jointcal" in done.stdout
    refused = run(folder, "graph", str(CAMPAIGN), "--step", "defaults")
    assert refused.returncode == 2
    assert "is no step with a pipeline" in refused.stderr


@pytest.mark.parametrize(
    ("select", "exposures"),
    [
        ({}, [970228, 970488, 970612, 970613, 970823, 970836, 971020, 971021]),
        ({"observation_type": ["dome flat", "zero"]}, [970228, 970488, 970823, 970836]),
        ({"day_obs": ["20210101-20210318", 20210320]}, [970228, 970488, 970612, 970613]),
        ({"physical_filter": "N708 DECam c0012 7080.0 400.0"}, [970228, 970612, 971020]),
        ({"band": "N540", "observation_type": "science"}, [970613, 971021]),
        ({"target": ["COSMOS", "SXDS"]}, [970612, 970613, 971020, 971021]),
        ({"exposures": ["970612-971020"], "exclude_exposures": [970613, "970800-970900"]}, [970612, 971020]),
        ({"target": "COSMOS", "exclude_detectors": [1, 2, 31]}, []),
    ],
)
def test_the_registry_understands_every_term(
    folder: Path, select: dict[str, object], exposures: list[int]
) -> None:
    where = " AND ".join(("instrument = 'DECam'", *Select.model_validate(select).terms()))
    found = ask(repository=str(folder / "repo"), where=where)
    assert [exposure for exposure, _ in found] == exposures


@pytest.mark.parametrize(("form", "begins"), [("svg", b"<?xml"), ("pdf", b"%PDF")])
@pytest.mark.parametrize("step", [(), ("--step", "step2b")])
def test_graphviz_draws_them(folder: Path, form: str, begins: bytes, step: tuple[str, ...]) -> None:
    if shutil.which("dot") is None:
        assert "MERIAN_GRAPHVIZ_REQUIRED" not in os.environ
        pytest.skip("Graphviz is not installed")
    file = folder / f"picture{len(step)}.{form}"
    done = run(folder, "graph", str(CAMPAIGN), *step, "--format", form, "--output", str(file))
    assert done.returncode == 0, done.stderr
    content = file.read_bytes()
    assert content.startswith(begins)
    assert form == "pdf" or (b"jointcal" if step else b"certifyBias") in content
