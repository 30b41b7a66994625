"""Renders a shipped campaign file, and reads what came out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from merian_campaign.context import CommandContext
from merian_campaign.domain.campaign.typed_commands import campaign_commands
from merian_campaign.domain.preflight.scope import unsaid_skymap
from merian_campaign.domain.safe_text.shell import shown
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.services.campaign_settings import settings_of
from merian_campaign.services.rendering import render_all

CAMPAIGNS = Path(__file__).resolve().parents[2] / "campaign"


@dataclass(frozen=True)
class Rendered:
    """A campaign, its BPS files by step/group, and its command lines."""

    spec: CampaignSpec
    files: dict[str, dict[str, Any]]
    commands: dict[str, tuple[str, ...]]
    stack: Path

    @property
    def repository(self) -> str:
        return str(self.stack / "repo")

    def payload(self, group: str) -> dict[str, str]:
        return dict(self.files[group]["payload"])

    def pipeline(self, group: str) -> str:
        """Return the pipeline as it is written with the stack's variables."""
        text = str(self.files[group]["pipelineYaml"])
        return text.replace(str(self.stack / "cp"), "CP").replace(str(self.stack / "drp"), "DRP")

    def query(self, group: str) -> str:
        return loose(self.payload(group)["dataQuery"])

    def groups(self, step: str) -> list[str]:
        return [name for name in self.files if name.partition("/")[0] == step]

    def command(self, step: str) -> str:
        """Return an action's command lines, with REPO, DECAM and SUBARU for the folders."""
        text = "\n".join(self.commands[f"{step}/all"])
        for name in ("repo", "decam", "subaru"):
            text = text.replace(str(self.stack / name), name.upper())
        return text

    def order(self) -> dict[str, set[str]]:
        return {step.name: {gate.step for gate in step.after} for step in self.spec.steps}


def loose(query: str) -> str:
    """Return a data query without the blanks that do not matter."""
    return re.sub(r"\s*([=<>,])\s*", r"\1", re.sub(r"\s+", " ", query)).strip()


def render_campaign(name: str, stack: Path) -> Rendered:
    environ = {
        "HOME": str(stack),
        "CP_PIPE_DIR": str(stack / "cp"),
        "DRP_PIPE_DIR": str(stack / "drp"),
        "OBS_DECAM_DIR": str(stack / "decam"),
        "OBS_SUBARU_DIR": str(stack / "subaru"),
        "REPO": str(stack / "repo"),
    }
    context = CommandContext(environ=environ)
    spec = context.load(str(CAMPAIGNS / f"{name}.yaml")).spec
    output = stack / "rendered" / name
    unsaid = unsaid_skymap(spec)
    written, _ = render_all(
        spec=spec, output=output, runtime=context.runtime, settings=settings_of(spec),
        pipelines=context.read_pipelines(spec, unsaid),
    )  # fmt: skip
    files = {"/".join(path.parts[-4:-2]): yaml.safe_load(path.read_text()) for path in written}
    commands = {
        f"{entry.step}/{entry.group}": tuple(shown(words) for words in entry.commands)
        for entry in campaign_commands(spec)
    }
    return Rendered(spec=spec, files=files, commands=commands, stack=stack)
