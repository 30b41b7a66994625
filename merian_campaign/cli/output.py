"""The one door to the terminal: results on standard output, everything else on standard error.

Whatever goes through it is inert: no control characters but newlines and tabs, no markup, no change of
direction. The linter refuses ``sys.stdout``, ``sys.stderr``, `typer.echo` and consoles of rich elsewhere
(``banned-api`` in ``pyproject.toml``).
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import typer

from merian_campaign.domain.safe_text.text import clean, one_line, redact

if TYPE_CHECKING:
    from rich.console import RenderableType

    from merian_campaign.cli.screen import Screen

_LONGEST_COMPLAINT: Final = 100_000
_WIDTHS: Final = (40, 1000)

JSON_VERSION: Final = 1
"""Of what ``--json`` prints; raised when a key goes or means something else, not when one comes."""


def console(*, stderr: bool = False) -> Screen:
    """Return a console; without a terminal its width has no bound unless ``COLUMNS`` says how wide."""
    from merian_campaign.cli.screen import Screen  # noqa: PLC0415 - commands with --json do without rich
    from merian_campaign.reports.cells import UNBOUNDED  # noqa: PLC0415

    stream = sys.stderr if stderr else sys.stdout
    wanted = _width(os.environ.get("COLUMNS", ""))
    return Screen(file=stream, width=wanted or (None if stream.isatty() else UNBOUNDED))


def _width(wanted: str) -> int | None:
    digits = wanted.lstrip("0")
    if not (wanted.isascii() and digits.isdecimal() and len(digits) <= len(str(_WIDTHS[1]))):
        return None
    return min(max(int(digits), _WIDTHS[0]), _WIDTHS[1])


def show(view: RenderableType) -> None:
    """Print a table or text for people; without a terminal a row is one line, without blanks at its end."""
    screen = console()
    if screen.is_terminal:
        screen.print(view)
        return
    with screen.capture() as captured:
        screen.print(view)
    for line in captured.get().splitlines():
        sys.stdout.write(line.rstrip() + "\n")


def show_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print JSON for machines: ASCII, and valid whatever the texts and numbers in it are."""
    sys.stdout.write(json.dumps(_plain(value), indent=2, default=str, allow_nan=False) + "\n")


def show_report(values: Mapping[str, Any], *, campaign: str | None = None) -> None:
    """Print what ``--json`` prints: an object with a version, the campaign, and rows under their name.

    Parameters
    ----------
    values : `~collections.abc.Mapping`
        What the command found. Rows are a list under a key that names them.
    campaign : `str` or `None`, optional
        The campaign it is about; `None`: about none, or ``values`` names it.
    """
    show_json({"schema": JSON_VERSION, "campaign": campaign, **values})


def say(text: str) -> None:
    """Print a result, of one line or several."""
    sys.stdout.write(_inert(text) + "\n")


def say_fields(*fields: object) -> None:
    """Print one line of results with tabs between them; no field can hold another tab or newline."""
    sys.stdout.write("\t".join(_field(str(field)) for field in fields) + "\n")


def note(text: str) -> None:
    """Print one line beside the result."""
    sys.stderr.write(_inert(redact(text)) + "\n")
    sys.stderr.flush()


def complain(text: str) -> None:
    """Print why a command ends, after all that it had to say."""
    sys.stdout.flush()
    note(clean(f"merian-campaign: {text}", limit=_LONGEST_COMPLAINT))


def write_bytes(content: bytes) -> None:
    """Write a picture to standard output as it is; its maker has made it inert."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def on_terminal() -> bool:
    """Say whether results go to a terminal."""
    return sys.stdout.isatty()


def answers() -> bool:
    """Say whether there is somebody to ask."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm(question: str) -> None:
    """Ask for a yes; anything else ends the command.

    Raises
    ------
    typer.Abort
        Raised for anything but a yes.
    """
    try:
        typer.confirm(one_line(question, limit=_LONGEST_COMPLAINT), abort=True, err=True)
    except typer.Abort:
        if not answers():
            note("\nnobody said yes; where there is nobody to ask, say --yes")
        raise


class _InertFormatter(logging.Formatter):
    """Formats what libraries log."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as inert text."""
        return _inert(super().format(record))


def prepare() -> None:
    """Let both streams take every character in any encoding; make inert what libraries print."""
    # Closed by who started this (`>&-`): what is said goes nowhere.
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_InertFormatter())
    warnings.formatwarning = _warning


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def _warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    del line  # the source is of no interest to users
    return _inert(f"{filename}:{lineno}: {category.__name__}: {message}\n")


def flush() -> None:
    """Write what is buffered, before another program writes to the same place."""
    sys.stdout.flush()
    sys.stderr.flush()


def reader_gone() -> None:
    """Say nothing more: the reader of a pipe went away, and nothing that is still buffered can be written."""
    sys.stderr.close()


def _inert(text: str) -> str:
    # Results are whole: what comes from outside is bounded where it comes in.
    return clean(text, limit=max(1, len(text)))


def _field(text: str) -> str:
    return _inert(text).replace("\t", r"\t").replace("\n", r"\n")


def _plain(value: object) -> object:
    """Return a JSON value without what JSON has no word for: lone surrogates, infinities, ``nan``."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {_plain(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
    return value
