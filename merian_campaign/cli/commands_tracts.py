"""The command that says which tracts cover a campaign's data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from merian_campaign.cli import completion
from merian_campaign.cli.campaign_argument import campaign_spec
from merian_campaign.cli.options import AsJson, Campaign
from merian_campaign.cli.output import note, say, show, show_report
from merian_campaign.context import CommandContext


def tracts(
    campaign: Campaign,
    min_visits: Annotated[
        int, typer.Option(help="Leave out tracts with fewer visits.", metavar="N", min=1)
    ] = 1,
    step: Annotated[
        str | None,
        typer.Option(
            "--step",
            help="Visits and detectors that reach this step.",
            show_default=False,
            autocompletion=completion.steps,
        ),
    ] = None,
    collection: Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            "--collections",
            help="Where visitSummary may be, commas between several; default: the outputs of all steps. "
            "Repeatable.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Put them into the campaign file, as its tracts:.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the tracts that a campaign's visits overlap, with visits, detectors, and coverage by band.

    Of an applied campaign, used are the visits that the products of its last step by tract were made from.

    Visits and detectors are those that the campaign's steps select: only visits with a visitSummary, once
    there are any, and all of them by their regions before step 2a. Coverage is sampled: of a grid of points
    over the tract, those nearer to its centre than to another tract's, the fraction under a detector.

    For example: `merian-campaign tracts mine.yaml --min-visits 3 --write`
    """
    from merian_campaign.domain.campaign.coverage import campaigns_own, coverage_question, tracts_text
    from merian_campaign.domain.errors import BadInputError
    from merian_campaign.files.yaml_value import replace_in_file
    from merian_campaign.middleware.tract_coverage import cover
    from merian_campaign.reports.tracts import tracts_json, tracts_table

    spec, named = campaign_spec(campaign)
    searched = [part.strip() for entry in collection or () for part in entry.split(",")]
    question = coverage_question(spec, step=step, collections=tuple(filter(None, searched)))
    everything = cover(
        question, repository=spec.butler, choose=lambda taken: campaigns_own(spec, taken, step=step)
    )
    found = everything.at_least(min_visits)
    note(f"campaign {spec.campaign}: {found.source}, on {len(found.tracts)} tracts of {spec.skymap}")
    used = _used(campaign) if named else {}
    if as_json:
        show_report(tracts_json(found, used=used), campaign=spec.campaign)
    elif found.tracts:
        show(tracts_table(found, used=used))
    text = tracts_text(tuple(row.tract for row in found.tracts))
    if not write:
        if found.tracts and not as_json:
            say(f"tracts: {text}")
        return
    if not found.tracts:
        raise BadInputError(f"campaign {spec.campaign}: no tract to write; its file is as it was")
    file = _file_of(campaign) if named else campaign
    changed = replace_in_file(Path(file), key="tracts", value=text, shown=file)
    note(f"{file}: tracts {'written; apply it' if changed else 'are these already'}")


def _used(name: str) -> Mapping[int, Sequence[int]]:
    """Return by tract the visits that its products in force were made from."""
    from merian_campaign.domain.record.applied_spec import applied_spec
    from merian_campaign.services.generation_inputs import visits_used

    store = CommandContext().store
    snapshot = store.snapshot(name)
    return visits_used(store, snapshot, applied_spec(snapshot.campaign))


def _file_of(name: str) -> str:
    from merian_campaign.services.find import find_campaign

    return find_campaign(CommandContext().store, name).file


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tracts)
