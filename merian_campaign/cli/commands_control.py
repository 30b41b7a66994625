"""Commands that give orders to groups: retry, accept, redo, reject, hold, release, cancel; and undo."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

import typer

from merian_campaign.cli import completion
from merian_campaign.cli.moments import coming_moment
from merian_campaign.cli.options import (
    GroupNames,
    Name,
    NightOption,
    Reason,
    StepOption,
    TasksOption,
    TractOption,
    VerdictOption,
    Yes,
)
from merian_campaign.cli.output import answers, confirm, note, say
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.safe_text.text import clean, one_line
from merian_campaign.domain.states import CampaignState, Verdict

if TYPE_CHECKING:
    from merian_campaign.domain.campaign.group_selection import Choice, Filter
    from merian_campaign.domain.campaign.retry_request import RetryRequest
    from merian_campaign.services.control import Control

_MEMORY: Final = re.compile(r"([0-9]{1,12})\s*([MGT]?)(?:i?B)?", re.IGNORECASE)
_UNITS: Final = {"": 1, "M": 1, "G": 1024, "T": 1024 * 1024}

EXIT_TRY_AGAIN = 75
"""`cancel` could not reach Slurm; the same command works later."""


def retry(  # noqa: PLR0913, PLR0917 - options of a command, and words that mean groups
    name: Name,
    groups: GroupNames = None,
    step: StepOption = None,
    tract: TractOption = None,
    night: NightOption = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            help="Only groups with a quantum of this task that has not succeeded; memory and walltime are "
            "for it alone, and with them a group that is named is taken in any case. Repeatable.",
            show_default=False,
        ),
    ] = None,
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
    yes: Yes = False,
) -> None:
    """Let groups be submitted again, their caps on attempts forgotten; all that are meant, or none.

    A step or a pattern means its groups that need review or were cancelled. How many they are is shown and a
    yes asked for, except for one group that is named. One that waits for its next try is tried at once.

    For example: `merian-campaign retry mine --verdict out_of_memory --memory 16G`
    """
    control = CommandContext().control
    request = _request(memory, walltime, task or [])
    named = bool(groups) and request is not None and all(map(_is_name, groups or ()))
    only = _filter(step, tract, night, None if named else task, verdict)
    chosen = _chosen(control, name, groups, verb="retry", only=only, yes=yes)
    found = control.retry(
        name,
        groups=chosen.names,
        reason=clean(reason),
        allow_stack_change=allow_stack_change,
        request=request,
    )
    what = "it" if len(found) == 1 else "them"
    say(f"{_subject(chosen)}: ready; the next tick submits {what}")
    _say_if_paused(control, name)


def _request(memory: str | None, walltime: str | None, tasks: list[str]) -> RetryRequest | None:
    """Return what a retry asks for; `None` for nothing."""
    if memory is None and walltime is None:
        return None
    from merian_campaign.domain.campaign.retry_request import RetryRequest

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
    groups: GroupNames = None,
    step: StepOption = None,
    tract: TractOption = None,
    night: NightOption = None,
    task: TasksOption = None,
    verdict: VerdictOption = None,
    reason: Reason = "accepted by hand",
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            help="Until then, 6h or 14d from now, or 2026-12-24T08:00 (UTC); after that it needs review "
            "again.",
            metavar="DATE",
            show_default=False,
        ),
    ] = None,
    yes: Yes = False,
) -> None:
    """Take groups as they are, so that what comes after them is released; all that are meant, or none.

    A step or a pattern means its groups that need review. How many they are is shown and a yes asked for,
    except for one group that is named.

    For example: `merian-campaign accept mine step3/tract9813 -m 'one bad patch'`
    """
    context = CommandContext()
    control = context.control
    moment = None if until is None else coming_moment(until, now=context.clock(), option="--until")
    chosen = _chosen(
        control, name, groups, verb="accept", only=_filter(step, tract, night, task, verdict), yes=yes
    )
    found = control.accept(name, groups=chosen.names, reason=clean(reason), until=moment)
    say(f"{_subject(chosen)}: done (accepted with {sum(group.counts.open for group in found)} quanta open)")


def redo(
    name: Name,
    groups: GroupNames = None,
    step: StepOption = None,
    tract: TractOption = None,
    night: NightOption = None,
    task: TasksOption = None,
    verdict: VerdictOption = None,
    reason: Reason = "redone by hand",
    yes: Yes = False,
) -> None:
    """Make groups anew from what there is now: a new generation, in RUN collections of its own.

    A step or a pattern means its groups that are done, need review or were cancelled. How many they are is
    shown and a yes asked for, except for one group that is named. Readers of the step's chain see the outputs
    that are there until the new ones are complete. An action is only run again.

    For example: `merian-campaign redo mine step3 --tract 9813`
    """
    control = CommandContext().control
    chosen = _chosen(
        control, name, groups, verb="redo", only=_filter(step, tract, night, task, verdict), yes=yes
    )
    (first, *_) = found = control.redo(name, groups=chosen.names, reason=clean(reason))
    what = f"generation {first.generation + 1} begins" if len(found) == 1 else "their next generations begin"
    say(f"{_subject(chosen)}: waiting; {what} with the next submission")
    _say_if_paused(control, name)


def reject(
    name: Name,
    groups: GroupNames = None,
    step: StepOption = None,
    tract: TractOption = None,
    night: NightOption = None,
    task: TasksOption = None,
    verdict: VerdictOption = None,
    reason: Reason = "rejected by hand",
    yes: Yes = False,
) -> None:
    """Take back that groups are done: they need review, and what comes after them and has not begun waits."""
    context = CommandContext()
    chosen = _chosen(
        context.control, name, groups, verb="reject", only=_filter(step, tract, night, task, verdict), yes=yes
    )
    context.orders.reject(name, groups=chosen.names, reason=clean(reason))
    say(f"{_subject(chosen)}: needs review")


def hold(
    name: Name,
    groups: GroupNames = None,
    step: StepOption = None,
    tract: TractOption = None,
    night: NightOption = None,
    task: TasksOption = None,
    verdict: VerdictOption = None,
    reason: Reason = "held by hand",
    yes: Yes = False,
) -> None:
    """Keep groups from starting anything; what runs of them goes on, and all else of the campaign.

    For example: `merian-campaign hold mine 'step3/*' -m 'calibrations come tomorrow'`
    """
    context = CommandContext()
    chosen = _chosen(
        context.control, name, groups, verb="hold", only=_filter(step, tract, night, task, verdict), yes=yes
    )
    context.orders.hold(name, groups=chosen.names, reason=clean(reason))
    say(f"{_subject(chosen)}: held")


def release(
    name: Name,
    groups: GroupNames = None,
    step: StepOption = None,
    tract: TractOption = None,
    night: NightOption = None,
    task: TasksOption = None,
    verdict: VerdictOption = None,
    reason: Reason = "released by hand",
    yes: Yes = False,
) -> None:
    """Let groups start again that were held."""
    context = CommandContext()
    chosen = _chosen(
        context.control,
        name,
        groups,
        verb="release",
        only=_filter(step, tract, night, task, verdict),
        yes=yes,
    )
    context.orders.release(name, groups=chosen.names, reason=clean(reason))
    say(f"{_subject(chosen)}: released")
    _say_if_paused(context.control, name)


def undo(name: Name, reason: Reason = "undone by hand", yes: Yes = False) -> None:
    """Take back the last order, as far as nothing has come of it yet: of all its groups, or of none.

    What it was is shown and a yes asked for, except for one of your own to one group or to the campaign.
    Attempts that a retry has forgotten stay so.
    """
    context = CommandContext()
    last = context.orders.last(name)
    groups = last.groups
    what = f"campaign {name}" if not groups else ", ".join(groups[:8])
    more = f" and {len(groups) - 8} more" if len(groups) > 8 else ""  # noqa: PLR2004
    if (len(groups) > 1 or last.actor != context.runtime.actor) and not yes:
        number = f"{len(groups)} groups: " if len(groups) > 1 else ""
        confirm(f"Undo {last.verb} of {last.actor}, for {number}{what}{more}?")
    context.orders.undo(name, reason=clean(reason), order=last)
    say(f"{what}{more}: {last.verb} of {last.actor} is undone")


def _filter(
    step: str | None, tract: int | None, night: int | None, tasks: list[str] | None, verdict: Verdict | None
) -> Filter:
    from merian_campaign.domain.campaign.group_selection import Filter

    return Filter(step=step, tract=tract, night=night, tasks=tuple(tasks or ()), verdict=verdict)


def _is_name(word: str) -> bool:
    from merian_campaign.domain.campaign.group_selection import PATTERN

    return "/" in word and not PATTERN & set(word)


def _chosen(
    control: Control, name: str, words: list[str] | None, *, verb: str, only: Filter, yes: bool
) -> Choice:
    """Return the groups that are meant, after a yes where it is not one that was named."""
    found = control.choose(name, words or (), verb=verb, only=only)
    if not found.exact and not yes:
        confirm(f"{verb.capitalize()} {found.in_words()}?")
    return found


def _subject(chosen: Choice) -> str:
    return chosen.names[0] if len(chosen.names) == 1 else f"{len(chosen.names)} groups"


def _say_if_paused(control: Control, name: str) -> None:
    """Say that an order to go on has to wait."""
    from merian_campaign.services.find import find_campaign

    state = find_campaign(control.store, name).state
    if state is not CampaignState.ACTIVE:
        note(f"campaign {name} is {state.value}: nothing starts before `merian-campaign resume {name}`")


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
    step: StepOption = None,
    tract: TractOption = None,
    night: NightOption = None,
    task: TasksOption = None,
    verdict: VerdictOption = None,
    reason: Reason = "",
    yes: Yes = False,
) -> None:
    """Stop groups' submissions, or the whole campaign; what was done is kept and harvested.

    A step or a pattern means its groups that are not over. How many they are is shown and a yes asked for,
    except for one group that is named; for the whole campaign on a terminal only.
    Drivers stop within seconds and take their Slurm jobs along; jobs without a driver are cancelled here.
    """
    control = CommandContext().control
    what = f"campaign {name}"
    names: tuple[str, ...] = ()
    only = _filter(step, tract, night, task, verdict)
    if groups or not only.empty:
        chosen = _chosen(control, name, groups, verb="cancel", only=only, yes=yes)
        what, names = _subject(chosen), chosen.names
    elif not yes and answers():
        open_, running = control.open_groups(name)
        confirm(f"Cancel campaign {name}, {open_} groups that are not done, {running} of them under way?")
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


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (retry, accept, redo, reject, hold, release, cancel, undo):
        app.command()(command)
