"""A campaign in a folder of its own: the file, and every file it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from merian_campaign.domain.errors import BadInputError
from merian_campaign.files.campaign_file import CampaignFile, load_campaign

TEXT = """\
campaign: night
butler: repo
instrument: DECam
skymap: rings
site: local
include: [base.yaml]
failure_rules: rules.yaml
collections:
  output: runs/night
  inputs: [DECam/defaults]
tracts: ["9813-9814"]
steps:
  - name: step1
    pipeline: pipe.yaml#step1
    scope: exposure
    where: detector NOT IN (31, 61)
    resources:
      isr: {memory: 4096, walltime: "10:00:00"}
  - name: step3
    after: [step1]
    pipeline: pipe.yaml#step3
    scope: tract
    group_by: tract
"""
SITE = "computeSite: local\nsite:\n  local:\n    class: lsst.ctrl.bps.parsl.sites.Local\n    cores: 2\n"
RULES = "rules:\n  - {exception: TransientError, verdict: infrastructure}\n"


@dataclass(frozen=True)
class Survey:
    """A folder with a campaign file that is fine."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "night.yaml"

    def load(self, environment: Mapping[str, str] | None = None, *, file: str | None = None) -> CampaignFile:
        return load_campaign(file or str(self.file), environment=environment or {})

    def edit(self, old: str, new: str) -> int:
        """Replace a piece of the campaign file; return the line on which the new one begins."""
        text = self.file.read_text()
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        self.file.write_text(text.replace(old, new))
        return text[: text.index(old)].count("\n") + 1

    def complaint(self, environment: Mapping[str, str] | None = None) -> list[str]:
        """Load the file, which must be refused; return the lines of the message, without its path."""
        with pytest.raises(BadInputError) as caught:
            self.load(environment)
        lines = str(caught.value).split("\n")
        assert all(line.startswith(str(self.file)) for line in lines)
        return [line.removeprefix(str(self.file)).removeprefix(":").strip() for line in lines]


def make_survey(folder: Path) -> Survey:
    for name, text in {
        "night.yaml": TEXT,
        "base.yaml": "requestMemory: 2048\n",
        "rules.yaml": RULES,
        "pipe.yaml": "description: none\n",
        "repo/butler.yaml": "datastore: {}\n",
        "site/local.yaml": SITE,
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Survey(folder)
