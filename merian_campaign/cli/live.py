"""Following a campaign: ticks under a live board on a terminal, or one line an action elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

from rich.live import Live

from merian_campaign.cli.board import Board
from merian_campaign.cli.output import console, note
from merian_campaign.cli.own_program import program
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BusyError, UnavailableError
from merian_campaign.domain.failures.fault_attribution import is_of_the_machine, words_of
from merian_campaign.domain.safe_text.shell import shown
from merian_campaign.domain.safe_text.text import one_line

_KEPT_ACTIONS = 20
_REDRAWN = 2
"""Times a second that the board is drawn, so that it follows the size of the terminal."""

_GLANCE_SECONDS = 0.1
"""Between two looks whether a driver has ended."""

_LONGEST_WAIT = 300.0
_LONGEST = 2000


def follow(context: CommandContext, name: str, *, interval: float, again: Sequence[str]) -> str:
    """Tick until nothing can move; return the campaign's derived state.

    Parameters
    ----------
    context : `CommandContext`
        The command's context.
    name : `str`
        Campaign.
    interval : `float`
        Seconds between ticks; the next one comes earlier when a driver ends.
    again : `~collections.abc.Sequence` [`str`]
        Words after the program's name that go on with it later.

    Raises
    ------
    KeyboardInterrupt
        Raised for Ctrl-C, after it was said what goes on and how to stop it.
    """
    try:
        return _followed(context, name, interval=interval)
    except KeyboardInterrupt:
        for words in interrupted(name, again=again):
            note(words)
        raise


def interrupted(name: str, *, again: Sequence[str]) -> tuple[str, ...]:
    """Return what to say after Ctrl-C; its commands are lines of their own, to be pasted."""
    own = program("merian-campaign")
    return (
        f"campaign {name}: what was started goes on by itself; what is next waits for a tick",
        "To go on, if no tick comes from cron:",
        f"{own} {shown(tuple(again))}",
        "To stop what runs:",
        f"{own} {shown(('cancel', name))}",
    )


def _followed(context: CommandContext, name: str, *, interval: float) -> str:
    screen = console(stderr=True)
    board = Board(status=context.status(name), began=time.monotonic(), clock=time.monotonic)
    said: tuple[str, ...] = ()
    on_screen = screen.is_terminal and not screen.is_dumb_terminal
    live = Live(board, console=screen, screen=True, refresh_per_second=_REDRAWN) if on_screen else None

    def tell(words: str) -> None:
        _tell(board.recent, words, live=live is not None)

    with live if live is not None else nullcontext():
        patience = Patience(interval=interval)
        drivers = AwaitedDrivers()
        while True:
            try:
                idle, notes = _tick(context, name, tell=tell, drivers=drivers)
                board.status = context.status(name)
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
            if idle:
                break
            drivers.wait(interval)
    if live is not None:
        # The board's screen is gone with it.
        screen.print(board.whole(width=screen.width))
    return board.status.state


class AwaitedDrivers:
    """What drivers under way leave when they end: a tick takes it in at once, and starts what is next."""

    def __init__(self) -> None:
        self._awaited: tuple[str, ...] = ()
        self._told: set[str] = set()

    def expect(self, outcomes: Sequence[str]) -> None:
        """Wait for these files from now on."""
        self._awaited = tuple(path for path in outcomes if path not in self._told)

    def wait(self, seconds: float) -> None:
        """Wait so long, or until one of them is there; each ends one wait only."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            found = [path for path in self._awaited if os.path.lexists(path)]
            if found:
                self._told.update(found)
                return
            time.sleep(min(left, _GLANCE_SECONDS))


def _tick(
    context: CommandContext, name: str, *, tell: Callable[[str], None], drivers: AwaitedDrivers
) -> tuple[bool, tuple[str, ...]]:
    """Do one tick; return whether nothing can move any more, and what was seen besides."""
    try:
        report = context.tick.run(name)
    except BusyError as busy:
        tell(f"waiting: {busy}")
        return False, ()
    drivers.expect(report.outcomes)
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
        del recent[:-_KEPT_ACTIONS]
    else:
        note(stamped)
