"""The command that looks at the LSST environment: what is set up, what can be imported, what is missing."""

from __future__ import annotations

from typing import Annotated

import typer

from merian_campaign.cli import completion
from merian_campaign.cli.options import AsJson
from merian_campaign.cli.output import note, say, show, show_report
from merian_campaign.context import CommandContext, check_stack, run_in_stack

EXIT_MISSING = 1
"""Something that merian-campaign needs is not there."""


def stack(
    campaign: Annotated[
        str | None,
        typer.Argument(
            help="Campaign file or name: its stack is set up first. Without it, this very environment.",
            metavar="FILE|NAME",
            show_default=False,
            autocompletion=completion.campaigns_and_files,
        ),
    ] = None,
    as_json: AsJson = False,
    no_stack: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Check that merian-campaign works inside an LSST stack; name what is missing, and what to install.

    Whatever can be imported counts, whoever brought it. Nothing is installed.
    """
    from merian_campaign.reports.stack import stack_json, stack_view

    if no_stack is not None:
        from merian_campaign.domain.stack.stack_setup import failure

        note(failure(no_stack).removesuffix("; see driver.log"))
        raise typer.Exit(EXIT_MISSING)
    if campaign is not None:
        wanted = CommandContext().campaign_stack(campaign)
        if wanted.sets_up:
            words = ["stack", "--json"] if as_json else ["stack"]
            raise typer.Exit(run_in_stack(wanted, words=words, tell=note))
        note("its stack: sets nothing up; drivers run in the environment of the tick that starts them")
    report = check_stack()
    if as_json:
        show_report(stack_json(report))
    else:
        show(stack_view(report))
        for line in report.advice:
            say(line)
    if report.trouble:
        raise typer.Exit(EXIT_MISSING)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(stack)
