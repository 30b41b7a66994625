"""A console of rich that reads no markup and writes nothing from outside that acts on a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from merian_campaign.domain.safe_text.text import clean
from merian_campaign.reports.cells import paragraph

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Screen"]


class Screen(Console):
    """A console whose every text is inert, whoever made it.

    Parameters
    ----------
    file : file-like
        Where it writes.
    width : `int` or `None`
        Columns; `None`: the terminal's.
    """

    def __init__(self, *, file: IO[str], width: int | None) -> None:
        # rich takes any digits of any script for a size; what was asked for is in `width`.
        environ = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
        super().__init__(file=file, width=width, markup=False, emoji=False, highlight=False, _environ=environ)

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - those of rich
        """Return a plain string as text, cleaned before it is measured."""
        return super().render_str(paragraph(text).plain, **{**options, "markup": False, "emoji": False})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Return what is written, cleaned: this is behind all that rich can do with a text."""
        for segment in super().render(renderable, options):
            if segment.control:
                # Moves of the cursor in live views; made by rich alone, never from text.
                yield segment
                continue
            style = segment.style
            if style is not None and style.link is not None:
                style = style.update_link(None)
            yield Segment(clean(segment.text, limit=max(1, len(segment.text))), style)
