"""Commands that ask the butler's registry: preflight, select."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from merian_campaign.cli import completion
from merian_campaign.cli.options import AsJson, Campaign
from merian_campaign.cli.output import console, note, say, show, show_report
from merian_campaign.context import CommandContext

if TYPE_CHECKING:
    from merian_campaign.domain.spec import CampaignSpec

PATIENCE = 2.0
"""Seconds of silence before progress is told."""

EXIT_FOUND = 2
"""Preflight found something that would make submissions fail."""


def preflight(campaign: Campaign, as_json: AsJson = False) -> None:
    """Look for what would fail, before any graph is built; each finding says what to do.

    Pipelines and overrides, inputs and outputs, selections by group, tracts,
    filters, calibrations against the exposures' dates, disks and quotas, the
    tracking database, memory, and Slurm's limits. Nothing is changed.

    Exit status: 2 when submissions would fail, 0 when there are notes only.
    """
    from merian_campaign.reports.preflight import preflight_json, preflight_view, summary

    spec, _ = campaign_spec(campaign)
    found = CommandContext().preflight(spec, progress=_Slowly())
    if as_json:
        show_report(preflight_json(found), campaign=spec.campaign)
    elif found:
        show(preflight_view(found, width=console().width))
    note(summary(spec.campaign, found))
    if any(finding.fatal for finding in found):
        raise typer.Exit(EXIT_FOUND)


class _Slowly:
    """Says on standard error what is looked at, once it takes long enough for a person to wonder."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def __call__(self, what: str) -> None:
        if time.monotonic() - self._begun > PATIENCE:
            note(f"looking at {what} ...")


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
    """List the exposures (or nights) a step selects in the registry, as ranges for a campaign file."""
    from merian_campaign.domain.errors import BadInputError
    from merian_campaign.domain.render import data_query
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


def campaign_spec(campaign: str) -> tuple[CampaignSpec, bool]:
    """Return the campaign of a file, or of a name, and whether it was named."""
    from merian_campaign.domain.applied_spec import applied_spec

    context = CommandContext()
    if campaign.endswith((".yaml", ".yml")) or Path(campaign).is_file():
        return context.load(campaign).spec, False
    from merian_campaign.services.control import find_campaign

    return applied_spec(find_campaign(context.store, campaign)), True


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(preflight)
    app.command()(select)
