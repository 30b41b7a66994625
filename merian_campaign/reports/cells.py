"""Text for tables and reports: the one way from a text that may come from outside to what rich renders.

`rich` reads markup in plain strings and lets control characters of a `~rich.text.Text` through; here neither
happens. The linter refuses `rich.text.Text` everywhere else (``banned-api`` in ``pyproject.toml``), and the
console of `merian_campaign.cli.output` cleans what it writes once more.
"""

from __future__ import annotations

import io
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.text import Text

from merian_campaign.domain.safe_text.text import clean, one_line

__all__ = ["UNBOUNDED", "Either", "height_of", "joined", "line", "paragraph", "share"]

UNBOUNDED: Final = 1_000_000
"""Width of what is no terminal: a row is one line there, however long, so that it can be searched for."""

_LONGEST_LINE = 2000
_LONGEST_PARAGRAPH = 20_000
_TAB = 4


def line(text: str, style: str = "", *, fit: bool = False) -> Text:
    """Return text as one line of inert words.

    Parameters
    ----------
    text : `str`
        From anywhere. Newlines, tabs and runs of blanks become one blank.
    style : `str`, optional
        Ours, e.g. ``bold red``.
    fit : `bool`, optional
        Whether what does not fit the width is cut with an ellipsis rather than folded.
    """
    return _made(one_line(text, limit=_LONGEST_LINE), style, fit=fit)


def paragraph(text: str, style: str = "") -> Text:
    """Return text of several lines, inert; tabs are expanded."""
    lines = clean(text, limit=_LONGEST_PARAGRAPH).expandtabs(_TAB).split("\n")
    return _made("\n".join(found.rstrip() for found in lines).strip("\n"), style)


def joined(*parts: str | tuple[str, str]) -> Text:
    """Return pieces, each with its style or without, as one line; blanks at their ends stay."""
    whole = Text()
    for part in parts:
        text, style = (part, "") if isinstance(part, str) else part
        # Blanks between pieces are ours and stay; white space inside a piece is made one blank each.
        ahead = text[: len(text) - len(text.lstrip(" "))]
        behind = text[len(text.rstrip(" ")) :] if text.strip(" ") else ""
        whole.append(f"{ahead}{one_line(text, limit=_LONGEST_LINE)}{behind}", style)
    return whole


def height_of(view: RenderableType, *, width: int) -> int:
    """Return how many lines a view takes in a width."""
    # rich takes any digits of any script in the environment for a size.
    screen = Console(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False, _environ={})
    return len(screen.render_lines(view, pad=False))


def _made(text: str, style: str, *, fit: bool = False) -> Text:
    if fit:
        return Text(text, style=style, overflow="ellipsis", no_wrap=True)
    return Text(text, style=style)


class Either:
    """What is written over several lines on a terminal, and as one line where the width has no bound.

    Parameters
    ----------
    *parts : `~rich.console.RenderableType`
        One below the other.
    flat : `~rich.text.Text`
        The same as one line.
    """

    def __init__(self, *parts: RenderableType, flat: Text) -> None:
        self._stacked = Group(*parts)
        self._flat = flat

    def _fitting(self, console: Console) -> RenderableType:
        return self._flat if console.width >= UNBOUNDED else self._stacked

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield what fits the console."""
        yield self._fitting(console)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Return how wide it is."""
        return Measurement.get(console, options, self._fitting(console))


def share(part: float, *, digits: int = 0) -> str:
    """Return a part of a whole in percent; 100% only when nothing is missing."""
    said = f"{part:.{digits}%}"
    return f"{1 - 10 ** -(digits + 2):.{digits}%}" if part < 1 and said == f"{1:.{digits}%}" else said
