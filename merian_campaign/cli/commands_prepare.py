"""Commands around the preparation of a survey: what a campaign would type."""

from __future__ import annotations

import shlex

import typer

from merian_campaign.cli.options import File, StepOption
from merian_campaign.cli.output import say
from merian_campaign.context import Context


def commands(file: File, step: StepOption = None) -> None:
    """Print a campaign as the butler and pipetask commands it stands for. Nothing is run."""
    from merian_campaign.domain.commands import campaign_commands
    from merian_campaign.domain.errors import BadInputError

    spec = Context().load(file).spec
    names = [entry.name for entry in spec.steps]
    if step is not None and step not in names:
        raise BadInputError(f"{file}: there is no step {step!r}; steps are: {', '.join(names)}")
    for group in campaign_commands(spec, step=step):
        say(f"# {group.step}/{group.group}")
        for words in group.commands:
            say(shlex.join(words))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(commands)
