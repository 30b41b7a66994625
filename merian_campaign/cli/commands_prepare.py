"""Commands around the preparation of a survey: what a campaign would type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from merian_campaign.cli.options import File, StepOption
from merian_campaign.cli.output import say
from merian_campaign.context import CommandContext
from merian_campaign.domain.safe_text.text import one_line


def commands(file: File, step: StepOption = None) -> None:
    """Print a campaign as the butler and pipetask commands it stands for. Nothing is run."""
    from merian_campaign.domain.campaign.typed_commands import campaign_commands
    from merian_campaign.domain.errors import BadInputError
    from merian_campaign.domain.safe_text.shell import shown
    from merian_campaign.domain.stack.stack_setup import commands as stack_commands
    from merian_campaign.services.campaign_settings import settings_of

    context = CommandContext()
    spec = context.load(file).spec
    names = [entry.name for entry in spec.steps]
    if step is not None and step not in names:
        raise BadInputError(f"{file}: there is no step {step!r}; steps are: {', '.join(names)}")
    stack = settings_of(spec).stack
    for line in [*stack_commands(stack), *stack.prelude.splitlines()] if step is None else ():
        say(line)
    for group in campaign_commands(spec, step=step):
        say(one_line(f"# {group.step}/{group.group}"))
        for words in group.commands:
            say(shown(words))


def refcat_table(
    shards: Annotated[str, typer.Argument(help="Folder of shards, files named by trixel.")],
    table: Annotated[str, typer.Argument(help="Table to write (.ecsv).")],
    dimension: Annotated[str, typer.Option("--dimension", help="Column of the trixel.")] = "htm7",
) -> None:
    """Write the table of a reference catalogue's shards that `butler ingest-files` reads."""
    from merian_campaign.domain.errors import BadInputError
    from merian_campaign.files.refcat_table import list_shards, write_table

    if not Path(shards).is_dir():
        raise BadInputError(f"{shards}: there is no such folder")
    found = list_shards(shards)
    if not found:
        raise BadInputError(f"{shards}: it holds no files named by trixel, e.g. 147456.fits")
    write_table(found, table, dimension=dimension)
    say(f"{table}: {len(found)} shards")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(commands)
    app.command()(refcat_table)
