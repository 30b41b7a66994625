"""The command that asks the butler's registry: select."""

from __future__ import annotations

from typing import Annotated

import typer

from merian_campaign.cli import completion
from merian_campaign.cli.campaign_argument import campaign_spec
from merian_campaign.cli.options import AsJson, Campaign
from merian_campaign.cli.output import note, say, show_report


def select(
    campaign: Campaign,
    step: Annotated[
        str,
        typer.Argument(
            help="Step whose exposures to list.",
            metavar="STEP",
            show_default=False,
            autocompletion=completion.steps,
        ),
    ],
    nights: Annotated[bool, typer.Option("--nights", help="Nights instead of exposures.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the exposures (or nights) a step selects in the registry, as ranges for a campaign file.

    For example: `merian-campaign select mine.yaml step1 --nights`
    """
    from merian_campaign.domain.errors import BadInputError
    from merian_campaign.domain.rendering.render import data_query
    from merian_campaign.domain.selection import Selection
    from merian_campaign.domain.spec import BpsStep
    from merian_campaign.domain.spec.base import as_ranges
    from merian_campaign.domain.spec.steps import effective_scope
    from merian_campaign.middleware.exposure_selection import select as ask

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
        show_report({"step": step, "nights" if nights else "exposures": values}, campaign=spec.campaign)
        return
    for text in as_ranges(values):
        say(text)
    note(f"{step}: {len(rows)} exposures of {len({night for _, night in rows})} nights")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(select)
