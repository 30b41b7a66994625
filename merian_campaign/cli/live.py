"""Following a campaign: ticks with the board redrawn on a terminal, or one line an action elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext

from rich.console import Group, RenderableType
from rich.live import Live

from merian_campaign.cli.output import console, note
from merian_campaign.context import Context
from merian_campaign.domain.errors import BusyError
from merian_campaign.domain.text import one_line
from merian_campaign.reports.cells import joined, line
from merian_campaign.reports.status import Status, steps_table

_SHOWN_ACTIONS = 6
_LONGEST = 2000


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

    def tell(words: str) -> None:
        _tell(recent, words, live=live is not None)

    with live if live is not None else nullcontext():
        while True:
            idle, notes = _tick(context, name, tell=tell)
            for words in notes:
                # Once, not at every tick for as long as it lasts.
                if words not in said:
                    tell(words)
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


def _tell(recent: list[str], words: str, *, live: bool) -> None:
    words = one_line(words, limit=_LONGEST)
    stamped = f"{time.strftime('%H:%M:%S')} {words}"
    if live:
        if not recent or recent[-1][9:] != words:
            recent.append(stamped)
        del recent[:-_SHOWN_ACTIONS]
    else:
        note(stamped)


def _view(status: Status, recent: list[str], *, seconds: float) -> RenderableType:
    minutes, rest = divmod(int(seconds), 60)
    head = joined(("campaign ", "dim"), (status.campaign, "bold"), (f"  {minutes}:{rest:02d}", "dim"))
    lines = [line(words, "dim", fit=True) for words in recent]
    return Group(head, steps_table(status.rows), *lines)
