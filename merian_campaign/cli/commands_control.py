"""Commands that give orders: retry, accept, redo, pause, resume, cancel, forget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from merian_campaign.cli import completion
from merian_campaign.cli.options import GroupNames, Name, Reason, VerdictOption, Yes
from merian_campaign.cli.output import confirm, note, say
from merian_campaign.context import CommandContext
from merian_campaign.domain.states import Verdict
from merian_campaign.domain.text import clean

if TYPE_CHECKING:
    from merian_campaign.domain.group_selection import Choice
    from merian_campaign.services.control import Control

EXIT_TRY_AGAIN = 75
"""`cancel` could not reach Slurm; the same command works later."""


def retry(
    name: Name,
    groups: GroupNames,
    verdict: VerdictOption = None,
    reason: Reason = "retried by hand",
    allow_stack_change: Annotated[
        bool,
        typer.Option(
            "--allow-stack-change", help="Under other versions of the LSST stack than before, from now on."
        ),
    ] = False,
    yes: Yes = False,
) -> None:
    """Let groups be submitted again, their caps on attempts forgotten; all that are meant, or none.

    A step or a pattern means its groups that need review or were cancelled. How many they are is shown and a
    yes asked for, except for one group that is named. One that waits for its next try is tried at once.
    """
    control = CommandContext().control
    chosen = _chosen(control, name, groups, verb="retry", verdict=verdict, yes=yes)
    found = control.retry_all(
        name, groups=chosen.names, reason=clean(reason), allow_stack_change=allow_stack_change
    )
    what = "it" if len(found) == 1 else "them"
    say(f"{_subject(chosen)}: ready; the next tick submits {what}")


def accept(
    name: Name,
    groups: GroupNames,
    verdict: VerdictOption = None,
    reason: Reason = "accepted by hand",
    yes: Yes = False,
) -> None:
    """Take groups as they are, so that what comes after them is released; all that are meant, or none.

    A step or a pattern means its groups that need review. How many they are is shown and a yes asked for,
    except for one group that is named.
    """
    control = CommandContext().control
    chosen = _chosen(control, name, groups, verb="accept", verdict=verdict, yes=yes)
    found = control.accept_all(name, groups=chosen.names, reason=clean(reason))
    say(f"{_subject(chosen)}: done (accepted with {sum(group.counts.open for group in found)} quanta open)")


def redo(name: Name, groups: GroupNames, reason: Reason = "redone by hand", yes: Yes = False) -> None:
    """Make groups anew from what there is now: a new generation, in RUN collections of its own.

    A step or a pattern means its groups that are done, need review or were cancelled. How many they are is
    shown and a yes asked for, except for one group that is named. Readers of the step's chain see the outputs
    that are there until the new ones are complete. An action is only run again.
    """
    control = CommandContext().control
    chosen = _chosen(control, name, groups, verb="redo", verdict=None, yes=yes)
    (first, *_) = found = control.redo_all(name, groups=chosen.names, reason=clean(reason))
    what = f"generation {first.generation + 1} begins" if len(found) == 1 else "their next generations begin"
    say(f"{_subject(chosen)}: waiting; {what} with the next submission")


def _chosen(
    control: Control, name: str, words: list[str], *, verb: str, verdict: Verdict | None, yes: bool
) -> Choice:
    """Return the groups that are meant, after a yes where it is not one that was named."""
    found = control.choose(name, words, verb=verb, verdict=verdict)
    if not found.exact and not yes:
        confirm(f"{verb.capitalize()} {found.in_words()}?")
    return found


def _subject(chosen: Choice) -> str:
    return chosen.names[0] if len(chosen.names) == 1 else f"{len(chosen.names)} groups"


def pause(name: Name) -> None:
    """Start nothing new; what runs goes on and is followed."""
    CommandContext().control.pause(name)
    say(f"campaign {name}: paused")


def resume(name: Name) -> None:
    """Go on after `pause` or `cancel`."""
    CommandContext().control.resume(name)
    say(f"campaign {name}: active")


def cancel(
    name: Name,
    groups: Annotated[
        list[str] | None,
        typer.Argument(
            help="STEP/KEY, STEP, or patterns of them; without any, the whole campaign.",
            metavar="[GROUP]...",
            show_default=False,
            autocompletion=completion.groups,
        ),
    ] = None,
    yes: Yes = False,
) -> None:
    """Stop groups' submissions, or the whole campaign; what was done is kept and harvested.

    A step or a pattern means its groups that are not over. How many they are is shown and a yes asked for,
    except for one group that is named, and for the whole campaign.
    Drivers stop within seconds and take their Slurm jobs along; jobs without a driver are cancelled here.
    """
    control = CommandContext().control
    what = f"campaign {name}"
    names: tuple[str, ...] = ()
    if groups:
        chosen = _chosen(control, name, groups, verb="cancel", verdict=None, yes=yes)
        what, names = _subject(chosen), chosen.names
    done = control.cancel(name, groups=names)
    number = done.submissions
    say(f"{what}: cancelled; {number} running submission{'' if number == 1 else 's'} asked to stop")
    if done.trouble:
        note(f"Slurm jobs: {done.trouble}")
        raise typer.Exit(EXIT_TRY_AGAIN)
    if done.jobs:
        say(f"Slurm jobs cancelled: {', '.join(done.jobs)}")


def forget(
    name: Name,
    yes: Yes = False,
) -> None:
    """Delete a campaign from the tracking database; the butler and all files stay as they are."""
    if not yes:
        confirm(f"Delete all tracking of campaign {name!r}?")
    CommandContext().control.forget(name)
    say(f"campaign {name}: forgotten")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (retry, accept, redo, pause, resume, cancel, forget):
        app.command()(command)
