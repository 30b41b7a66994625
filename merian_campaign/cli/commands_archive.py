"""Commands that take a campaign off the record, and put it back: forget, archive, unarchive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from merian_campaign.cli.commands_cron import say_if_ticked
from merian_campaign.cli.options import Name, Yes
from merian_campaign.cli.output import confirm, say
from merian_campaign.context import CommandContext


def forget(
    name: Name,
    yes: Yes = False,
) -> None:
    """Delete a campaign from the tracking database; the butler and all files stay as they are."""
    if not yes:
        confirm(f"Delete all tracking of campaign {name!r}?")
    CommandContext().control.forget(name)
    say(f"campaign {name}: forgotten")
    say_if_ticked(name)


def archive(
    name: Name,
    folder: Annotated[
        Path, typer.Argument(help="New or empty folder.", metavar="FOLDER", show_default=False)
    ],
    keep: Annotated[bool, typer.Option("--keep", help="Leave the campaign in the database too.")] = False,
    yes: Yes = False,
) -> None:
    """Move all that is recorded of a campaign into Parquet files; `unarchive` puts it back.

    One file for each table, which pandas reads. The butler, submissions and other campaigns stay as they are.
    """
    if not keep and not yes:
        confirm(f"Delete all tracking of campaign {name!r} once it is written to {folder}?")
    written = CommandContext().control.archive(name, folder=folder, keep=keep)
    kept = "it is still in the database" if keep else "it is in the database no more"
    say(f"campaign {name}: {sum(written.rows.values()):,} rows are in {folder}; {kept}")
    if not keep:
        say_if_ticked(name)


def unarchive(
    folder: Annotated[
        Path, typer.Argument(help="Folder that `archive` wrote.", metavar="FOLDER", show_default=False)
    ],
) -> None:
    """Put an archived campaign on record again, in this database or another one; the files stay."""
    found = CommandContext().control.unarchive(folder)
    say(f"campaign {found.campaign}: {sum(found.rows.values()):,} rows are on record again")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (forget, archive, unarchive):
        app.command()(command)
