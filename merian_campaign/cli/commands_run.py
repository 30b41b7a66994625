"""Commands that move a campaign while a person watches: plan, run."""

from __future__ import annotations

from typing import Annotated

import typer

from merian_campaign.cli.options import AsApplied, AsJson, Name
from merian_campaign.cli.output import console, note, on_terminal, say, show, show_report
from merian_campaign.context import CommandContext
from merian_campaign.domain.safe_text.text import one_line

EXIT_NEEDS_REVIEW = 3
"""`run` ended because only a person can move the campaign on."""

_LONGEST = 2000
_EACH = 3
"""Groups of a step that are named on a terminal, of many with which the same is done."""


def plan(name: Name, as_json: AsJson = False, as_applied: AsApplied = False) -> None:
    """Say what the next tick would do, and why; nothing is done.

    On a terminal that holds no more, only the first groups of a step are named with which the same is done.
    """
    del as_applied
    from merian_campaign.reports.plan import plan_json, plan_lines

    context = CommandContext()
    found = context.tick.plan(name)
    if as_json:
        show_report(plan_json(found))
        return
    edited = context.edited(name)
    if edited:
        note(edited)
    lines = plan_lines(found)
    if not on_terminal():
        for words in lines:
            say(one_line(words, limit=_LONGEST))
        return
    from merian_campaign.reports.cells import line

    if len(lines) >= console().height:
        lines = plan_lines(found, each=_EACH)
    for words in lines:
        show(line(words))


def run(
    name: Name,
    interval: Annotated[
        float, typer.Option(help="Seconds between ticks, or until a driver ends.", min=0.2)
    ] = 2.0,
    as_applied: AsApplied = False,
) -> None:
    """Tick until nothing can move, showing progress; Ctrl-C leaves what runs and says how to stop it.

    What the machine runs out of (disk, processes, the database) is waited for, in growing pauses.
    Exit status: 0 when every group is done, 3 when some need a person.
    """
    from merian_campaign.cli.live import follow

    del as_applied
    context = CommandContext()
    edited = context.edited(name)
    if edited:
        note(edited)
    state = follow(context, name, interval=interval, again=("run", name))
    stale = sum(row.stale for row in context.status(name).rows)
    note(f"campaign {name}: {state.replace('_', ' ')}{f', {stale} groups for older data' if stale else ''}")
    if state != "done":
        raise typer.Exit(EXIT_NEEDS_REVIEW)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (plan, run):
        app.command()(command)
