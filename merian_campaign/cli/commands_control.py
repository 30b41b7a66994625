"""Commands that give orders: retry, accept, pause, resume, cancel, forget."""

from __future__ import annotations

from typing import Annotated

import typer

from merian_campaign.cli import completion
from merian_campaign.cli.options import GroupName, Name, Reason
from merian_campaign.cli.output import note, say
from merian_campaign.context import Context

EXIT_TRY_AGAIN = 75
"""`cancel` could not reach Slurm; the same command works later."""


def retry(
    name: Name,
    group: GroupName,
    reason: Reason = "retried by hand",
    allow_stack_change: Annotated[
        bool,
        typer.Option(
            "--allow-stack-change", help="Under other versions of the LSST stack than before, from now on."
        ),
    ] = False,
) -> None:
    """Let a group be submitted again, its caps on attempts forgotten."""
    found = Context().control.retry(name, group=group, reason=reason, allow_stack_change=allow_stack_change)
    say(f"{found.step}/{found.key}: ready; the next tick submits it")


def accept(name: Name, group: GroupName, reason: Reason = "accepted by hand") -> None:
    """Take a group as it is, so that what comes after it is released."""
    found = Context().control.accept(name, group=group, reason=reason)
    say(f"{found.step}/{found.key}: done (accepted with {found.counts.open} quanta open)")


def pause(name: Name) -> None:
    """Start nothing new; what runs goes on and is followed."""
    Context().control.pause(name)
    say(f"campaign {name}: paused")


def resume(name: Name) -> None:
    """Go on after `pause` or `cancel`."""
    Context().control.resume(name)
    say(f"campaign {name}: active")


def cancel(
    name: Name,
    group: Annotated[
        str | None,
        typer.Argument(
            help="STEP/KEY; without it, the whole campaign.",
            metavar="GROUP",
            show_default=False,
            autocompletion=completion.groups,
        ),
    ] = None,
) -> None:
    """Stop a group's submission, or the whole campaign; what was done is kept and harvested.

    Drivers stop within seconds and take their Slurm jobs along; jobs without a driver are cancelled here.
    """
    done = Context().control.cancel(name, group=group)
    what = f"campaign {name}" if group is None else group
    number = done.submissions
    say(f"{what}: cancelled; {number} running submission{'' if number == 1 else 's'} asked to stop")
    if done.trouble:
        note(f"Slurm jobs: {done.trouble}")
        raise typer.Exit(EXIT_TRY_AGAIN)
    if done.jobs:
        say(f"Slurm jobs cancelled: {', '.join(done.jobs)}")


def forget(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a campaign from the tracking database; the butler and all files stay as they are."""
    if not yes:
        typer.confirm(f"Delete all tracking of campaign {name!r}?", abort=True)
    Context().control.forget(name)
    say(f"campaign {name}: forgotten")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (retry, accept, pause, resume, cancel, forget):
        app.command()(command)
