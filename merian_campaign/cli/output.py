"""Printing: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def console(*, stderr: bool = False) -> Console:
    """Return a console; without a terminal it is as wide as ``COLUMNS`` says, or 120."""
    from rich.console import Console  # noqa: PLC0415 - commands with --json do without

    stream = sys.stderr if stderr else sys.stdout
    wanted = os.environ.get("COLUMNS", "")
    width = None if stream.isatty() else int(wanted) if wanted.isdecimal() and int(wanted) else 120
    return Console(file=stream, width=width, highlight=False)


def show(view: RenderableType) -> None:
    """Print a table or text for people."""
    console().print(view)


def show_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print JSON for machines."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def say(text: str) -> None:
    """Print one line of result."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print one line beside the result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
