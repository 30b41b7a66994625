"""The command that moves campaigns: tick."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from merian_campaign.cli import completion
from merian_campaign.cli.options import AsApplied
from merian_campaign.cli.output import complain, note, say
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BadInputError, CampaignError
from merian_campaign.domain.failures.fault_attribution import words_of
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.tick.tick_status import (
    BUSY,
    CANNOT_START,
    FAILED,
    NOTHING,
    PERSON,
    RAN_OUT,
    failed_status,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from merian_campaign.services.rounds import Ticked

_LONGEST = 2000


def tick(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names of applied campaigns.",
            metavar="[NAME]...",
            show_default=False,
            autocompletion=completion.campaigns,
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All campaigns, but those that were cancelled.")
    ] = False,
    watch: Annotated[
        float | None,
        typer.Option("--watch", help="Again and again, after so many seconds.", min=1, show_default=False),
    ] = None,
    look: Annotated[
        bool,
        typer.Option(
            "--look", help="Ask the butler anew which tracts the visits overlap: raws came by hand."
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", help="Print one line a campaign, and only what no one was told yet: for cron."
        ),
    ] = False,
    wait: Annotated[
        float, typer.Option("--wait", help="Seconds to wait for another tick to end.", min=0)
    ] = 0.0,
    as_applied: AsApplied = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only see whether everything is there, and say which database.")
    ] = False,
) -> None:
    """Do one pass: harvest what ended, decide, start what may start. For cron; see also `cron install`.

    Exit status: 0 nothing for a person to do; 1 a person is needed, said once; 2 the tick failed: what was
    waits, and the next one goes on; 69 or 74 so, for what this machine lacks; 75 another tick is at work. All
    that it did is in logs/ticks.log.
    """
    del as_applied
    if bool(names) == every:
        raise BadInputError("tick: name campaigns, or say --all")
    context = CommandContext()
    if check:
        _check(context, names or ())
        return
    while True:
        status = _round(context, names or (), look=look, quiet=quiet, wait=wait)
        if watch is None:
            break
        # All is read anew: whom to tell, and connections may be of a server that is gone.
        context.close()
        context = replace(context)
        time.sleep(watch)
    if status:
        raise typer.Exit(status)


def _round(context: CommandContext, names: Sequence[str], *, look: bool, quiet: bool, wait: float) -> int:
    """Tick once; return the exit status."""
    try:
        found = context.rounds.run(
            _known(context, names) if names else context.rounds.names(), look_anew=look, patience=wait
        )
    except BadInputError:
        raise
    except (CampaignError, OSError) as error:
        if _is_news(context, error) or not quiet:
            complain(words_of(error))
        return failed_status(error)
    for line in () if quiet else (context.edited(entry.campaign) for entry in found):
        if line:
            note(line)
    trouble = _log(context, found)
    for entry in found:
        _show(entry, quiet=quiet)
    if trouble:
        note(trouble)
    status = _status(found)
    wrong = context.teller.wrong
    if not wrong:
        return status
    news = context.teller.first(wrong)
    if news or not quiet:
        complain(f"{wrong}; nobody is told anything before it is right")
    return PERSON if news and status in {NOTHING, BUSY} else status


def _known(context: CommandContext, names: Sequence[str]) -> Sequence[str]:
    """Return names of campaigns, all of which exist."""
    from merian_campaign.services.find import find_campaign

    return [find_campaign(context.store, name).name for name in dict.fromkeys(names)]


def _check(context: CommandContext, names: Sequence[str]) -> None:
    """Print which database a tick finds here, and which campaigns."""
    from merian_campaign.store.server.connection import redacted
    from merian_campaign.store.server.server import database_url

    found = _known(context, names) if names else context.rounds.names()
    if context.teller.wrong:
        raise BadInputError(context.teller.wrong)
    say(f"database {redacted(database_url())}; campaigns: {', '.join(found) or 'none'}")


def _is_news(context: CommandContext, error: Exception) -> bool:
    """Tell of what kept all ticks from beginning; say whether no one was told yet."""
    from merian_campaign.domain.tick.notices import trouble_notice

    return context.teller.trouble(trouble_notice("--all", words_of(error), now=context.clock()))


def _status(found: Sequence[Ticked]) -> int:
    """Return the status that counts most: a tick that failed, a person who is needed, a lock, none."""
    statuses = {failed_status(entry.error) if entry.status == FAILED else entry.status for entry in found}
    order = (FAILED, RAN_OUT, CANNOT_START, PERSON, BUSY)
    return next((status for status in order if status in statuses), NOTHING)


def _show(entry: Ticked, *, quiet: bool) -> None:
    if quiet:
        if entry.news:
            say(one_line(entry.summary, limit=_LONGEST))
        return
    for action in entry.actions:
        say(one_line(action, limit=_LONGEST))
    for line in entry.notes:
        note(line)
    if entry.status != BUSY:
        note(entry.summary)
    if entry.error is not None:
        complain(words_of(entry.error))


def log_file(context: CommandContext) -> Path:
    """Return the log of all ticks."""
    from merian_campaign.host.home import home_directory

    return home_directory(context.environ) / "logs" / "ticks.log"


def _log(context: CommandContext, found: Sequence[Ticked]) -> str:
    """Append to the log what ticks did; return in words why that was not possible, if so."""
    from merian_campaign.domain.safe_text.text import redact
    from merian_campaign.host.rotated_log import append_lines

    head = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {context.runtime.pid}"
    lines = [
        f"{head} {redact(one_line(text, limit=_LONGEST))}"
        for entry in found
        for text in (*(f"{entry.campaign}: {line}" for line in (*entry.actions, *entry.notes)), entry.summary)
    ]
    try:
        append_lines(log_file(context), lines)
    except OSError as error:
        return f"the log cannot be written: {words_of(error)}"
    return ""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tick)
