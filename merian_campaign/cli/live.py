"""Following a campaign: ticks with the board redrawn on a terminal, or one line an action elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from merian_campaign.cli.output import console
from merian_campaign.context import Context
from merian_campaign.domain.errors import BusyError
from merian_campaign.reports.status import Status, steps_table

_SHOWN_ACTIONS = 6


def read_status(context: Context, name: str) -> Status:
    """Return a campaign's status from the fast reader."""
    return Status(
        campaign=name, campaign_state=context.reader.campaign_state(name), rows=context.reader.board(name)
    )


def follow(context: Context, name: str, *, interval: float) -> str:
    """Tick until nothing can move; return the campaign's derived state.

    Parameters
    ----------
    context : `Context`
        The command's context.
    name : `str`
        Campaign.
    interval : `float`
        Seconds between ticks.
    """
    screen = console(stderr=True)
    began = time.monotonic()
    recent: list[str] = []
    said: tuple[str, ...] = ()
    live = Live(console=screen, auto_refresh=False, transient=False) if screen.is_terminal else None
    with live if live is not None else nullcontext():
        while True:
            idle, notes = _tick(
                context, name, tell=lambda line: _tell(screen, recent, line, live=live is not None)
            )
            for line in notes:
                # Once, not at every tick for as long as it lasts.
                if line not in said:
                    _tell(screen, recent, line, live=live is not None)
            said = notes
            status = read_status(context, name)
            if live is not None:
                live.update(_view(status, recent, seconds=time.monotonic() - began), refresh=True)
            if idle:
                return status.state
            time.sleep(interval)


def _tick(context: Context, name: str, *, tell: Callable[[str], None]) -> tuple[bool, tuple[str, ...]]:
    """Do one tick; return whether nothing can move any more, and what was seen besides."""
    try:
        report = context.tick.run(name)
    except BusyError as busy:
        tell(f"waiting: {busy}")
        return False, ()
    for action in report.actions:
        tell(action)
    return report.idle, report.notes


def _tell(screen: Console, recent: list[str], line: str, *, live: bool) -> None:
    stamped = f"{time.strftime('%H:%M:%S')} {line}"
    if live:
        if not recent or recent[-1][9:] != line:
            recent.append(stamped)
        del recent[:-_SHOWN_ACTIONS]
    else:
        screen.print(stamped, soft_wrap=True, markup=False)


def _view(status: Status, recent: list[str], *, seconds: float) -> RenderableType:
    minutes, rest = divmod(int(seconds), 60)
    head = Text.assemble(("campaign ", "dim"), (status.campaign, "bold"), (f"  {minutes}:{rest:02d}", "dim"))
    lines = [Text(line, style="dim", overflow="ellipsis", no_wrap=True) for line in recent]
    return Group(head, steps_table(status.rows), *lines)
