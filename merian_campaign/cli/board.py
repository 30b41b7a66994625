"""The live board of a campaign: what runs and what wants a person, whatever the size of the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import ConsoleDimensions, ConsoleOptions, Group, RenderableType, RenderResult

from merian_campaign.reports.cells import joined, line
from merian_campaign.reports.state_marks import MARKS, STYLES
from merian_campaign.reports.status import Status
from merian_campaign.reports.steps_table import step_lines, steps_table, urgent

_AROUND: Final = 6
"""Lines of the board besides steps, groups and actions: its head, those of the table, the legend."""

_ACTIONS: Final = 6
_FEWEST_ACTIONS: Final = 2
_FEWEST_STEPS: Final = 1
_NEXT_STEPS: Final = 2
"""Lines for steps that are neither under way nor want a person, before groups get any."""

_FEWEST_GROUPS: Final = 5
_GROUPS: Final = ("needs_review", "running")
"""States of groups that are shown one by one where there is room."""


@dataclass(kw_only=True)
class Board:
    """What is drawn again and again; it fits the size that the terminal has then.

    Parameters
    ----------
    status : `Status`
        How the campaign stands.
    began, clock : `float`, callable
        Seconds, of any clock, when it began and now.
    recent : `list` [`str`], optional
        Lines on what was done last, the newest at the end.
    pulse : `str`, optional
        A line on how fast it goes, below its head; empty for none.
    """

    status: Status
    began: float
    clock: Callable[[], float]
    recent: list[str] = field(default_factory=list)
    pulse: str = ""
    _drawn: tuple[object, Status, RenderableType] | None = field(default=None, init=False)
    """What was drawn last and what for; the status too, so that its identity is that of no other."""

    def __rich_console__(self, console: Any, options: ConsoleOptions) -> RenderResult:  # noqa: ANN401
        """Yield as many lines as there are, the most important ones."""
        # Of one moment: ticks change them meanwhile.
        status, recent = self.status, tuple(self.recent)
        yield self._head(status)
        if self.pulse:
            yield line(self.pulse, fit=True)
            options = options.update(height=options.size.height - 1)
            options.size = ConsoleDimensions(options.size.width, options.size.height - 1)
        made_for = (id(status), recent, options.size)
        if self._drawn is None or self._drawn[0] != made_for:
            self._drawn = (made_for, status, _body(status, recent, console=console, options=options))
        yield self._drawn[2]

    def whole(self, *, width: int) -> RenderableType:
        """Return all steps and the last actions, to stay on the terminal."""
        table = steps_table(step_lines(self.status.rows), rows=self.status.rows, width=width)
        said = [line(words, "dim", fit=True) for words in self.recent[-_ACTIONS:]]
        return Group(self._head(self.status), table, *said)

    def _head(self, status: Status) -> RenderableType:
        minutes, rest = divmod(int(self.clock() - self.began), 60)
        parts: Sequence[tuple[str, str]] = (
            ("campaign ", "dim"),
            (status.campaign, "bold"),
            (f"  {minutes}:{rest:02d}", "dim"),
            ("  Ctrl-C leaves it running", "dim"),
        )
        return joined(*parts)


def _body(
    status: Status,
    recent: Sequence[str],
    *,
    console: Any,  # noqa: ANN401 - a console of rich, as it calls this
    options: ConsoleOptions,
) -> RenderableType:
    """Return all below the head, in the lines that there are."""
    room = options.size.height - _AROUND
    steps = len({row.step for row in status.rows})
    actions = max(_FEWEST_ACTIONS, min(_ACTIONS, room - steps))
    if room < _FEWEST_STEPS + actions:
        actions = max(0, room - _FEWEST_STEPS)
    space = max(_FEWEST_STEPS, room - actions)
    groups = min(_FEWEST_GROUPS, sum(1 for row in status.rows if row.state in _GROUPS))
    at_most = space
    if steps > space - groups:
        at_most = max(min(space, urgent(status.rows) + _NEXT_STEPS), space - groups)
    for number in range(at_most, 0, -1):
        lines = step_lines(status.rows, at_most=number)
        table = steps_table(lines, rows=status.rows, width=options.max_width, edges=False)
        taken = len(console.render_lines(table, options.update(height=None)))
        # States that are folded take lines, too.
        if taken <= space + _AROUND - 1:
            break
    left = options.size.height - 1 - taken - actions
    newest = recent[-actions:] if actions else ()
    return Group(table, *_groups(status, at_most=left), *(line(words, "dim", fit=True) for words in newest))


def _groups(status: Status, *, at_most: int) -> list[RenderableType]:
    """Return one line a group that wants a person or runs, as many as there is room for."""
    found = [row for state in _GROUPS for row in status.rows if row.state == state]
    if len(found) > at_most:
        # The last line says how many there are besides.
        found, left = found[: max(0, at_most - 1)], len(found) - max(0, at_most - 1)
    else:
        left = 0
    lines: list[RenderableType] = []
    for row in found:
        counts = row.counts
        numbers = f"  {counts.succeeded}/{counts.expected}" if counts.expected else ""
        said = f"{MARKS[row.state]} {row.step}/{row.group}{numbers}  {row.reason}"
        lines.append(line(said, STYLES[row.state], fit=True))
    if left and at_most > 0:
        lines.append(line(f"and {left} more groups that run or need review", "dim", fit=True))
    return lines
