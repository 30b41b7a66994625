"""Commands that ask the butler's registry: preflight, select."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from merian_campaign.cli.options import AsJson
from merian_campaign.cli.output import note, say, show_json
from merian_campaign.context import Context

if TYPE_CHECKING:
    from merian_campaign.domain.spec import CampaignSpec

Campaign = Annotated[
    str, typer.Argument(help="Campaign file, or name of an applied campaign.", show_default=False)
]

EXIT_FOUND = 2
"""Preflight found something that would make submissions fail."""


def preflight(campaign: Campaign, as_json: AsJson = False) -> None:
    """Look for what would fail, before any graph is built: inputs, selections, tracts, pipelines, disks."""
    from merian_campaign.domain.preflight import findings, questions
    from merian_campaign.middleware.preflight import ask

    spec, _ = campaign_spec(campaign)
    folders = tuple(entry for entry in (spec.butler, spec.work_dir) if entry and "://" not in entry)
    found = findings(spec, ask(questions(spec), repository=spec.butler, folders=folders))
    fatal = sum(1 for finding in found if finding.fatal)
    if as_json:
        show_json([vars(finding) for finding in found])
    else:
        for finding in found:
            say(f"{'error' if finding.fatal else 'note '}  {finding.place}: {finding.message}")
        note(f"campaign {spec.campaign}: {fatal} errors, {len(found) - fatal} notes")
    if fatal:
        raise typer.Exit(EXIT_FOUND)


def select(
    campaign: Campaign,
    step: Annotated[str, typer.Argument(help="Step whose exposures to list.", show_default=False)],
    nights: Annotated[bool, typer.Option("--nights", help="Nights instead of exposures.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the exposures (or nights) a step selects in the registry, as ranges for a campaign file."""
    from merian_campaign.domain.errors import BadInputError
    from merian_campaign.domain.render import data_query
    from merian_campaign.domain.snapshot import Selection
    from merian_campaign.domain.spec import BpsStep
    from merian_campaign.domain.spec.base import as_ranges
    from merian_campaign.domain.spec.steps import effective_scope
    from merian_campaign.middleware.preflight import select as ask

    spec, _ = campaign_spec(campaign)
    found = next((entry for entry in spec.steps if entry.name == step), None)
    if not isinstance(found, BpsStep) or effective_scope(found) not in {"exposure", "visit"}:
        names = [
            entry.name
            for entry in spec.steps
            if isinstance(entry, BpsStep) and effective_scope(entry) in {"exposure", "visit"}
        ]
        raise BadInputError(f"{step!r} is no step over exposures or visits; such steps: {', '.join(names)}")
    where = data_query(spec=spec, step=found, selection=Selection())
    rows = ask(repository=spec.butler, where=where)
    if not rows:
        raise BadInputError(f"{step}: no exposure is selected by: {where}")
    values = sorted({night if nights else exposure for exposure, night in rows})
    if as_json:
        show_json(values)
        return
    for text in as_ranges(values):
        say(text)
    note(f"{step}: {len(rows)} exposures of {len({night for _, night in rows})} nights")


def campaign_spec(campaign: str) -> tuple[CampaignSpec, bool]:
    """Return the campaign of a file, or of a name, and whether it was named."""
    from merian_campaign.domain.spec import CampaignSpec

    context = Context()
    if campaign.endswith((".yaml", ".yml")) or Path(campaign).is_file():
        return context.load(campaign).spec, False
    from merian_campaign.services.control import find_campaign

    return CampaignSpec.model_validate(find_campaign(context.store, campaign).spec), True


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(preflight)
    app.command()(select)
