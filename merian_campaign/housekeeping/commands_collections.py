"""Commands that keep house: collections, clean."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from merian_campaign.cli.options import AsJson, Name
from merian_campaign.cli.output import confirm, console, note, say, show, show_report
from merian_campaign.cli.progress import progress
from merian_campaign.context import CommandContext
from merian_campaign.housekeeping import housekeeping_of


def collections(
    name: Name,
    sizes: Annotated[
        bool,
        typer.Option("--sizes", help="Also how large each RUN is, and stray files: looks at every file."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List a campaign's collections: what each is, what made it, and how much it holds.

    Sizes are those of the files in a RUN's folder below the repository.
    """
    from merian_campaign.housekeeping.collections_report import collections_json, collections_view

    with progress() as tell:
        rows = housekeeping_of(CommandContext(), tell=tell).listing(name, sizes=sizes)
    if as_json:
        show_report(collections_json(name, rows))
    elif rows:
        show(collections_view(rows, width=console().width))
    else:
        note(f"campaign {name}: the repository has none of its collections yet")


def clean(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what may go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove superseded RUN collections and debris of dead submissions, after showing the list and a yes.

    Of a RUN that goes, the chains are redefined first. Killed and repeated, it finishes.

    Never touched are raws, calibrations, inputs, other campaigns, what runs, and what any chain shows.
    """
    from merian_campaign.domain.errors import BadInputError
    from merian_campaign.housekeeping.collections_report import cleaning_json, cleaning_view

    with progress() as tell:
        plan = housekeeping_of(CommandContext(), tell=tell).plan(name)
    if not as_json:
        show(cleaning_view(plan))
    if not plan.removals or dry_run:
        if as_json:
            show_report(cleaning_json(name, plan, removed=False))
        elif not plan.removals:
            note(f"campaign {name}: there is nothing to clean")
        return
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise BadInputError(
                "nothing was removed: there is no terminal to ask on; say --yes, or --dry-run to only look"
            )
        confirm("Remove all of these?")
    with progress() as tell:
        done = housekeeping_of(CommandContext(), tell=tell).clean(name, shown=plan)
    if as_json:
        show_report(cleaning_json(name, done, removed=True))
    else:
        say(f"campaign {name}: {len(done.removals)} removed")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(collections)
    app.command()(clean)
