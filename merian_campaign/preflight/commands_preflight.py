"""The command that looks for what would fail: preflight."""

from __future__ import annotations

import time

import typer

from merian_campaign.cli.campaign_argument import campaign_spec
from merian_campaign.cli.options import AsJson, Campaign
from merian_campaign.cli.output import console, note, show, show_report
from merian_campaign.context import CommandContext
from merian_campaign.preflight import preflight_of

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
    from merian_campaign.preflight.preflight_report import preflight_json, preflight_view, summary

    spec, _ = campaign_spec(campaign)
    found = preflight_of(CommandContext(), spec, progress=_Slowly())
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


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(preflight)
