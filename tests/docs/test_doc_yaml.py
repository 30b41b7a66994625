"""Every YAML in the documentation is taken by the reader of the file that it is a piece of."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs_blocks import Block, blocks
from docs_place import ROOT

from merian_campaign.domain.errors import BadFileError
from merian_campaign.domain.failures.failure_rules import FailureRules
from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.spec.site import SiteOptions
from merian_campaign.domain.tick.notices import NoticeOptions
from merian_campaign.files.campaign_file import load_campaign
from merian_campaign.files.notice_file import read_notices
from merian_campaign.files.rule_files import read_rules
from merian_campaign.files.site_file import read_site

BLOCKS = [block for block in blocks() if block.language == "yaml"]
BASE: dict[str, Any] = {
    "campaign": "piece",
    "butler": "repo",
    "instrument": "DECam",
    "skymap": "rings",
    "site": str(ROOT / "site" / "local.yaml"),
    "collections": {"output": "runs/piece", "inputs": ["DECam/defaults"]},
    "tracts": [9813],
    "steps": [
        {"name": "step1", "pipeline": "a.yaml#step1", "scope": "exposure"},
        {
            "name": "step3",
            "pipeline": "a.yaml#step3",
            "scope": "tract",
            "group_by": "tract",
            "after": ["step1"],
        },
    ],
}
SITE: dict[str, Any] = {
    "computeSite": "piece",
    "site": {
        "piece": {"class": "merian_campaign.wms.sites.Slurm", "cores_per_node": 4, "walltime": "01:00:00"}
    },
}
ABSENT = ("does not exist", "there is no butler repository", "is no folder", "is not there")
"""What a page may name and the tests need not have: files and folders of the reader's own."""


def load_as_campaign(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a campaign file; that files of the reader's own are absent is all that may be wrong."""
    file = folder / "piece.yaml"
    file.write_text(text, encoding="utf-8")
    stack = {name: f"/stack/{name}" for name in ("DRP_PIPE_DIR", "CP_PIPE_DIR")}
    for path in id_lists(yaml.safe_load(text)):
        (folder / path).write_text("9813-9815\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(folder))
    try:
        load_campaign(str(file), environment=stack)
    except BadFileError as error:
        wrong = [
            str(problem) for problem in error.problems if not any(word in problem.message for word in ABSENT)
        ]
        assert not wrong, "\n".join(wrong)


def id_lists(data: Any) -> Iterator[str]:
    """Yield the files of ids that a campaign names."""
    if isinstance(data, dict):
        if set(data) == {"file"}:
            yield str(data["file"])
        for value in data.values():
            yield from id_lists(value)
    elif isinstance(data, list):
        for value in data:
            yield from id_lists(value)


def with_steps(steps: list[Any]) -> dict[str, Any]:
    """Complete steps with those that they come after."""
    names = {step["name"] for step in steps}
    gates = [
        gate if isinstance(gate, str) else gate["step"] for step in steps for gate in step.get("after", ())
    ]
    wanted = dict.fromkeys(gate for gate in gates if gate not in names)
    before = [{"name": name, "pipeline": "a.yaml#step1", "scope": "exposure"} for name in wanted]
    return {**BASE, "steps": [*before, *steps]}


def pieces(data: Any) -> Iterator[tuple[str, Any]]:
    """Yield each kind of file that a block is, or is a piece of, and what it is when completed."""
    if isinstance(data, list):
        yield "campaign", with_steps(data)
        return
    keys = set(data)
    if keys <= set(CampaignSpec.model_fields) and not {"campaign", "steps"} <= keys:
        yield "campaign", {**BASE, **data}
    if keys <= {*SiteOptions.model_fields, "computeSite", "site"}:
        yield "site", {**SITE, **data}
    if keys <= set(FailureRules.model_fields):
        yield "rules", data
    if keys <= set(NoticeOptions.model_fields):
        yield "notices", data
    if keys <= {*BpsStep.model_fields, *ActionStep.model_fields} and "name" in keys:
        yield "campaign", with_steps([data])


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_yaml_is_taken(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = yaml.safe_load(block.text)
    if ("bps", "bps") in block.instead:
        for name in (data["wmsServiceClass"], data["site"][data["computeSite"]]["class"]):
            module, _, kind = name.rpartition(".")
            assert hasattr(import_module(module), kind)
        return
    if isinstance(data, dict) and {"campaign", "steps"} <= set(data):
        load_as_campaign(block.text, tmp_path, monkeypatch)
        return
    found = list(pieces(data))
    assert found, "a piece of no file that merian-campaign reads"
    for kind, whole in found:
        text = yaml.safe_dump(whole, sort_keys=False)
        if kind == "campaign":
            load_as_campaign(text, tmp_path, monkeypatch)
            continue
        if kind == "notices":
            (tmp_path / "notices.yaml").write_text(text, encoding="utf-8")
            (tmp_path / "notices.yaml").chmod(0o600)
            read_notices(tmp_path, environ={})
            continue
        (tmp_path / "piece.yaml").write_text(text, encoding="utf-8")
        (read_site if kind == "site" else read_rules)(str(tmp_path / "piece.yaml"))


def test_a_wrong_key_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="no such key"):
        load_as_campaign(yaml.safe_dump({**BASE, "tarcts": [1]}), tmp_path, monkeypatch)
    assert not list(pieces({"limits": {}, "computeSite": "x"}))
