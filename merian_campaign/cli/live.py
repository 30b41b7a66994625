"""Following a campaign: ticks with the board redrawn on a terminal, or one line an action elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.live import Live

from merian_campaign.cli.output import console, note
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BusyError, UnavailableError
from merian_campaign.domain.fault_attribution import is_of_the_machine, words_of
from merian_campaign.domain.text import one_line
from merian_campaign.reports.cells import joined, line
from merian_campaign.reports.status import Status, steps_table

_SHOWN_ACTIONS = 6
_LONGEST_WAIT = 300.0
_LONGEST = 2000


def read_status(context: CommandContext, name: str) -> Status:
    """Return a campaign's status from the fast reader."""
    return Status(
        campaign=name, campaign_state=context.reader.campaign_state(name), rows=context.reader.board(name)
    )


def follow(context: CommandContext, name: str, *, interval: float) -> str:
    """Tick until nothing can move; return the campaign's derived state.

    Parameters
    ----------
    context : `CommandContext`
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
        patience = Patience(interval=interval)
        while True:
            try:
                idle, notes = _tick(context, name, tell=tell)
                status = read_status(context, name)
            except (UnavailableError, OSError, MemoryError) as trouble:
                idle, notes = False, (f"waiting: {patience.with_(trouble)}",)
                # With connections of its own: those there were may be of a server that is gone.
                context = replace(context)
            else:
                patience.regained()
            for words in notes:
                # Once, not at every tick for as long as it lasts.
                if words not in said:
                    tell(words)
            said = notes
            if patience.lost:
                time.sleep(patience.seconds)
                continue
            if live is not None:
                live.update(_view(status, recent, seconds=time.monotonic() - began), refresh=True)
            if idle:
                return status.state
            time.sleep(interval)


def _tick(context: CommandContext, name: str, *, tell: Callable[[str], None]) -> tuple[bool, tuple[str, ...]]:
    """Do one tick; return whether nothing can move any more, and what was seen besides."""
    try:
        report = context.tick.run(name)
    except BusyError as busy:
        tell(f"waiting: {busy}")
        return False, ()
    for action in report.actions:
        tell(action)
    if report.trouble is not None:
        for words in report.notes:
            tell(words)
        raise report.trouble
    return report.idle, report.notes


class Patience:
    """How long to wait for what is not there: longer each time, once it was there at all.

    Parameters
    ----------
    interval : `float`
        Seconds to wait first.
    """

    def __init__(self, *, interval: float) -> None:
        self._interval = interval
        self._began = False
        self.lost = False
        self.seconds = interval

    def with_(self, trouble: Exception) -> str:
        """Return in words what is waited for.

        Raises
        ------
        Exception
            Raises it if it is not of the machine, or if nothing has ever gone well: then a person is there.
        """
        if not self._began or not is_of_the_machine(trouble):
            raise trouble
        self.seconds = min(_LONGEST_WAIT, 2 * self.seconds) if self.lost else self._interval
        self.lost = True
        return words_of(trouble)

    def regained(self) -> None:
        """Note that all went well."""
        self._began, self.lost = True, False


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
