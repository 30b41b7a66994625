"""A board to leave open: it looks again and again, and does nothing else."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from rich.live import Live

from merian_campaign.cli.board import Board
from merian_campaign.cli.live import Patience
from merian_campaign.cli.output import console
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BadInputError, UnavailableError
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.record.records import RecordedEvent
from merian_campaign.domain.report.numbers import report_of
from merian_campaign.domain.report.outlook import span_words
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.reports.status import Status
from merian_campaign.reports.steps_table import total

_REDRAWN: Final = 2
_EVENTS: Final = 20
_FORECAST_EVERY: Final = 60.0
"""Seconds from one forecast to the next, at least."""

_FORECAST_SHARE: Final = 50
"""As many times as long as a forecast takes, none is made."""

WINDOW: Final = 1800.0
"""Seconds over which the rate is taken."""


@dataclass(kw_only=True)
class Pace:
    """How fast quanta succeed, as seen while somebody watches."""

    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def begin(self, at: float, *, succeeded: int, lately: int) -> None:
        """Note what is on record of the time before anybody watched.

        Parameters
        ----------
        at : `float`
            Now, seconds.
        succeeded, lately : `int`
            Quanta that have succeeded by now, and those of them in the last `WINDOW`.
        """
        self.seen.append((at - WINDOW, succeeded - lately))

    def add(self, at: float, succeeded: int) -> None:
        """Note how many have succeeded at a time, in seconds."""
        self.seen.append((at, succeeded))
        while len(self.seen) > 1 and at - self.seen[0][0] > WINDOW:
            self.seen.popleft()

    @property
    def per_hour(self) -> float | None:
        """Quanta an hour; `None` while too little was seen."""
        (first, before), (last, now) = self.seen[0], self.seen[-1]
        return max(0.0, (now - before) / (last - first) * 3600) if last > first else None


def pulse(counts: Counts, *, blocks: int, per_hour: float | None, ends: str = "") -> str:
    """Return the line below the head: what runs, how fast, and when all of it is expected to end."""
    words = [f"{counts.running} quanta run", f"{blocks} blocks" if blocks != 1 else "1 block"]
    if per_hour is not None:
        words.append(f"{per_hour:.0f} quanta an hour")
    if ends:
        words.append(f"ends {ends}")
    return ", ".join(words)


@dataclass(kw_only=True)
class Forecast:
    """When the campaign is expected to end, as the page says it; looked up now and then, for it reads more.

    Parameters
    ----------
    clock : callable
        Seconds, of any clock.
    """

    clock: Callable[[], float]
    words: str = ""
    _again_at: float = field(default=float("-inf"), init=False)

    def look(self, context: CommandContext, name: str) -> str:
        """Return it in words; empty if nobody can say."""
        begin = self.clock()
        if begin >= self._again_at:
            now = context.clock()
            head = report_of(context.reader.report(name, at=now)).headline
            self.words = span_words(now, head.eta_low, head.eta_high)
            end = self.clock()
            self._again_at = end + max(_FORECAST_EVERY, _FORECAST_SHARE * (end - begin))
        return self.words


def watch_campaign(context: CommandContext, name: str, *, interval: float) -> None:
    """Show the board until Ctrl-C.

    Raises
    ------
    BadInputError
        Raised if there is no terminal to draw on.
    """
    screen = console()
    if not screen.is_terminal or screen.is_dumb_terminal:
        raise BadInputError(
            "--watch draws on a terminal, and there is none; without it, status is printed once"
        )
    board = Board(status=context.status(name), began=time.monotonic(), clock=time.monotonic)
    pace, forecast, patience = Pace(), Forecast(clock=time.monotonic), Patience(interval=interval)
    lately = context.reader.succeeded_since(name, since=context.clock() - timedelta(seconds=WINDOW))
    pace.begin(time.monotonic(), succeeded=total(board.status.rows).succeeded, lately=lately)
    try:
        with Live(board, console=screen, screen=True, refresh_per_second=_REDRAWN):
            while True:
                try:
                    look(context, board, pace=pace, forecast=forecast)
                except (UnavailableError, OSError) as trouble:
                    board.pulse = f"waiting: {one_line(patience.with_(trouble))}"
                    # With a connection of its own: the one there was may be of a server that is gone.
                    context = replace(context)
                else:
                    patience.regained()
                time.sleep(patience.seconds if patience.lost else interval)
    except KeyboardInterrupt:
        screen.print(board.whole(width=screen.width))


def look(context: CommandContext, board: Board, *, pace: Pace, forecast: Forecast) -> None:
    """Read the campaign once more and put it on the board."""
    name = board.status.campaign
    status: Status = context.status(name)
    counts = total(status.rows)
    pace.add(time.monotonic(), counts.succeeded)
    alive = [job for job in context.reader.jobs(name) if job.role == "block" and job.fate == "alive"]
    board.recent[:] = [_event(event) for event in reversed(context.reader.events(name, limit=_EVENTS))]
    board.pulse = pulse(
        counts,
        blocks=sum(job.started is not None for job in alive),
        per_hour=pace.per_hour,
        ends=forecast.look(context, name),
    )
    board.status = status


def _event(event: RecordedEvent) -> str:
    where = f"{event.step}/{event.group} " if event.step else ""
    move = f"{event.to_state.replace('_', ' ')} " if event.to_state else ""
    return one_line(f"{event.at:%H:%M:%S} {where}{event.kind} {move}{event.reason}")
