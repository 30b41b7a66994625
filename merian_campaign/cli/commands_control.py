"""Commands that give orders: retry, accept, redo, reject, hold, release, pause, resume, cancel, undo ..."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from merian_campaign.cli import completion
from merian_campaign.cli.options import GroupNames, Name, Reason, VerdictOption, Yes
from merian_campaign.cli.output import confirm, note, say
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.states import Verdict
from merian_campaign.domain.text import clean, one_line

if TYPE_CHECKING:
    from merian_campaign.domain.group_selection import Choice
    from merian_campaign.domain.retry_request import RetryRequest
    from merian_campaign.services.control import Control

_MEMORY: Final = re.compile(r"([0-9]{1,12})\s*([MGT]?)(?:i?B)?", re.IGNORECASE)
_UNITS: Final = {"": 1, "M": 1, "G": 1024, "T": 1024 * 1024}

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
    memory: Annotated[
        str | None,
        typer.Option("--memory", help="For each quantum from now on: 16G, or MiB.", show_default=False),
    ] = None,
    walltime: Annotated[
        str | None,
        typer.Option("--walltime", help="For each quantum from now on: HH:MM:SS.", show_default=False),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", help="Of these tasks; of those that have not succeeded, without it."),
    ] = None,
    yes: Yes = False,
) -> None:
    """Let groups be submitted again, their caps on attempts forgotten; all that are meant, or none.

    A step or a pattern means its groups that need review or were cancelled. How many they are is shown and a
    yes asked for, except for one group that is named. One that waits for its next try is tried at once.
    """
    control = CommandContext().control
    request = _request(memory, walltime, task or [])
    chosen = _chosen(control, name, groups, verb="retry", verdict=verdict, yes=yes)
    found = control.retry_all(
        name,
        groups=chosen.names,
        reason=clean(reason),
        allow_stack_change=allow_stack_change,
        request=request,
    )
    what = "it" if len(found) == 1 else "them"
    say(f"{_subject(chosen)}: ready; the next tick submits {what}")


def _request(memory: str | None, walltime: str | None, tasks: list[str]) -> RetryRequest | None:
    """Return what a retry asks for; `None` for nothing."""
    if memory is None and walltime is None:
        if tasks:
            raise BadInputError("--task: say what for, --memory or --walltime")
        return None
    from merian_campaign.domain.retry_request import RetryRequest

    return RetryRequest(
        tasks=tuple(tasks),
        memory_mb=None if memory is None else _mebibytes(memory),
        minutes=None if walltime is None else _minutes(walltime),
    )


def _mebibytes(text: str) -> int:
    from merian_campaign.domain.spec.base import MOST_MEMORY

    found = _MEMORY.fullmatch(text.strip())
    number = int(found[1]) * _UNITS[found[2].upper()] if found else 0
    if not 0 < number <= MOST_MEMORY:
        raise BadInputError(f"--memory: found {one_line(text)!r}; write MiB, or 16G, 2T")
    return number


def _minutes(text: str) -> int:
    from merian_campaign.domain.spec.base import read_walltime

    try:
        return read_walltime(text)
    except ValueError as error:
        raise BadInputError(f"--walltime: {error}") from None


def accept(
    name: Name,
    groups: GroupNames,
    verdict: VerdictOption = None,
    reason: Reason = "accepted by hand",
    until: Annotated[
        datetime | None,
        typer.Option(
            "--until", help="Until then (UTC); after that it needs review again.", show_default=False
        ),
    ] = None,
    yes: Yes = False,
) -> None:
    """Take groups as they are, so that what comes after them is released; all that are meant, or none.

    A step or a pattern means its groups that need review. How many they are is shown and a yes asked for,
    except for one group that is named.
    """
    control = CommandContext().control
    chosen = _chosen(control, name, groups, verb="accept", verdict=verdict, yes=yes)
    moment = None if until is None else until.replace(tzinfo=UTC)
    found = control.accept_all(name, groups=chosen.names, reason=clean(reason), until=moment)
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


def reject(
    name: Name,
    groups: GroupNames,
    reason: Reason = "rejected by hand",
    yes: Yes = False,
) -> None:
    """Take back that groups are done: they need review, and what comes after them and has not begun waits."""
    context = CommandContext()
    chosen = _chosen(context.control, name, groups, verb="reject", verdict=None, yes=yes)
    context.orders.reject(name, groups=chosen.names, reason=clean(reason))
    say(f"{_subject(chosen)}: needs review")


def hold(
    name: Name,
    groups: GroupNames,
    verdict: VerdictOption = None,
    reason: Reason = "held by hand",
    yes: Yes = False,
) -> None:
    """Keep groups from starting anything; what runs of them goes on, and all else of the campaign."""
    context = CommandContext()
    chosen = _chosen(context.control, name, groups, verb="hold", verdict=verdict, yes=yes)
    context.orders.hold(name, groups=chosen.names, reason=clean(reason))
    say(f"{_subject(chosen)}: held")


def release(name: Name, groups: GroupNames, reason: Reason = "released by hand", yes: Yes = False) -> None:
    """Let groups start again that were held."""
    context = CommandContext()
    chosen = _chosen(context.control, name, groups, verb="release", verdict=None, yes=yes)
    context.orders.release(name, groups=chosen.names, reason=clean(reason))
    say(f"{_subject(chosen)}: released")


def undo(name: Name, reason: Reason = "undone by hand") -> None:
    """Take back the last order, as far as nothing has come of it yet: of all its groups, or of none.

    Attempts that a retry has forgotten stay so.
    """
    found = CommandContext().orders.undo(name, reason=clean(reason))
    what = f"campaign {name}" if not found.groups else ", ".join(found.groups[:8])
    more = f" and {len(found.groups) - 8} more" if len(found.groups) > 8 else ""  # noqa: PLR2004
    say(f"{what}{more}: {found.verb} of {found.actor} is undone")


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


def pause(name: Name, reason: Reason = "") -> None:
    """Start nothing new; what runs goes on and is followed."""
    changed = CommandContext().control.pause(name, reason=clean(reason))
    say(f"campaign {name}: paused" if changed else f"campaign {name}: is paused already; nothing changed")


def resume(name: Name, reason: Reason = "") -> None:
    """Go on after `pause` or `cancel`, or after the campaign has paused itself.

    Groups that were cancelled by themselves stay so: `retry` them.
    """
    revived = CommandContext().control.resume(name, reason=clean(reason))
    if revived is None:
        say(f"campaign {name}: is active already; nothing changed")
        return
    say(f"campaign {name}: active{f'; {revived} cancelled groups go on' if revived else ''}")


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
    reason: Reason = "",
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
    done = control.cancel(name, groups=names, reason=clean(reason))
    number = done.submissions
    if done.changed:
        say(f"{what}: cancelled; {number} running submission{'' if number == 1 else 's'} asked to stop")
    else:
        say(f"{what}: is cancelled already; nothing changed")
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
    verbs = (retry, accept, redo, reject, hold, release, pause, resume, cancel, undo, forget)
    for command in (*verbs, archive, unarchive):
        app.command()(command)
