"""Commands that move a campaign: plan, tick, run."""

from __future__ import annotations

from typing import Annotated

import typer

from merian_campaign.cli.options import AsApplied, AsJson, Name
from merian_campaign.cli.output import note, say, show_report
from merian_campaign.context import CommandContext
from merian_campaign.domain.text import one_line

EXIT_NEEDS_REVIEW = 3
"""`run` ended because only a person can move the campaign on."""

_LONGEST = 2000


def plan(name: Name, as_applied: AsApplied = False, as_json: AsJson = False) -> None:
    """Say what the next tick would do, and why; nothing is done."""
    from merian_campaign.reports.plan import plan_json, plan_lines

    context = CommandContext()
    if not as_applied:
        context.check_unedited(name)
    found = context.tick.plan(name)
    if as_json:
        show_report(plan_json(found))
        return
    for line in plan_lines(found):
        say(one_line(line, limit=_LONGEST))


def tick(
    name: Name,
    as_applied: AsApplied = False,
    look: Annotated[
        bool,
        typer.Option(
            "--look", help="Ask the butler anew which tracts the visits overlap: raws came by hand."
        ),
    ] = False,
) -> None:
    """Do one pass: harvest what ended, decide, start what may start. For cron.

    Exit status: 0, also when groups were set aside for a person; 69 or 74 when nothing could be started from
    here, or the machine ran out of something: what was waits, and the next tick goes on.
    """
    context = CommandContext()
    if not as_applied:
        context.check_unedited(name)
    report = context.tick.run(name, look_anew=look)
    for action in report.actions:
        say(one_line(action, limit=_LONGEST))
    for line in report.notes:
        note(line)
    note(f"campaign {name}: {len(report.actions)} actions, {report.live} submissions under way")
    if report.trouble is not None:
        raise report.trouble


def run(
    name: Name,
    as_applied: AsApplied = False,
    interval: Annotated[float, typer.Option(help="Seconds between ticks.", min=0.2)] = 2.0,
) -> None:
    """Tick until nothing can move, showing progress; Ctrl-C leaves what runs and says how to stop it.

    What the machine runs out of (disk, processes, the database) is waited for, in growing pauses.
    Exit status: 0 when every group is done, 3 when some need a person.
    """
    from merian_campaign.cli.live import follow

    context = CommandContext()
    if not as_applied:
        context.check_unedited(name)
    again = ("run", name, *(["--as-applied"] if as_applied else []))
    state = follow(context, name, interval=interval, again=again)
    note(f"campaign {name}: {state.replace('_', ' ')}")
    if state != "done":
        raise typer.Exit(EXIT_NEEDS_REVIEW)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (plan, tick, run):
        app.command()(command)
