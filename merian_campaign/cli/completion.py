"""What the shell completes: campaigns, their steps and groups. Whatever goes wrong, nothing is offered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer


def _silent(names: Callable[[typer.Context], list[str]]) -> Callable[[typer.Context, str], list[str]]:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return [name for name in names(ctx) if name.startswith(incomplete)]
        except Exception:  # noqa: BLE001 - a prompt is no place for messages
            return []

    return complete


def _campaign(ctx: typer.Context) -> str:
    """Return what the command line names before: a campaign, or a campaign file."""
    # An option whose value is just being written keeps arguments from being assigned to their names.
    named = [ctx.params[key] for key in ("name", "campaign", "file") if ctx.params.get(key)]
    return str(next(iter([*named, *ctx.args]), ""))


def _campaigns(_: typer.Context) -> list[str]:
    from merian_campaign.store.server.names import campaign_names  # noqa: PLC0415 - only at a prompt

    return campaign_names()


def _campaigns_and_files(ctx: typer.Context) -> list[str]:
    return [*_files(ctx), *_campaigns(ctx)]


def _files(_: typer.Context) -> list[str]:
    return sorted(str(path) for pattern in ("*.y*ml", "*/*.y*ml") for path in Path().glob(pattern))


def _groups(ctx: typer.Context) -> list[str]:
    from merian_campaign.store.server.names import group_names  # noqa: PLC0415 - only at a prompt

    return [f"{step}/{key}" for step, key in group_names(_campaign(ctx))]


def _steps(ctx: typer.Context) -> list[str]:
    from merian_campaign.files.yaml_lines import read_document  # noqa: PLC0415 - only at a prompt
    from merian_campaign.store.server.names import group_names  # noqa: PLC0415

    campaign = _campaign(ctx)
    if not Path(campaign).is_file():
        return list(dict.fromkeys(step for step, _ in group_names(campaign)))
    steps = read_document(Path(campaign)).data["steps"]
    assert isinstance(steps, list)
    return [str(step["name"]) for step in steps if isinstance(step, dict)]


campaigns = _silent(_campaigns)
"""Names of applied campaigns."""

campaigns_and_files = _silent(_campaigns_and_files)
"""Campaign files nearby, and names of applied campaigns."""

files = _silent(_files)
"""Campaign files nearby."""

groups = _silent(_groups)
"""Groups of the campaign that was named, as STEP/KEY."""

steps = _silent(_steps)
"""Steps of the campaign, or of the file, that was named."""
