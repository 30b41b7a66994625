"""Options before any command: versions, and what is logged."""

from __future__ import annotations

import logging
import shlex
import sys
from typing import Annotated

import typer

from merian_campaign.cli import log_options
from merian_campaign.cli.output import say

_LOG = logging.getLogger("merian_campaign")


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - as typer calls it
    """Print the version of this package, and of what reductions run on, as far as it is there."""
    if not wanted:
        return
    from merian_campaign.cli.version import lines

    for line in lines():
        say(line)
    raise typer.Exit


def options(
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option("--version", help="Print versions.", callback=_show_version, is_eager=True),
    ] = False,
    log_level: Annotated[
        list[str] | None,
        typer.Option(
            "--log-level",
            help=f"What is logged of {' and '.join(log_options.ROOTS)}; LOGGER=LEVEL: of that one, "
            ".=LEVEL: of all. ERROR, WARNING, INFO, VERBOSE, DEBUG ... Repeatable.",
            metavar="LEVEL",
            show_default=False,
        ),
    ] = None,
    log_file: Annotated[
        list[str] | None,
        typer.Option(
            "--log-file",
            help="Append log messages to this file, as JSON if it ends in .json. Repeatable.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    long_log: Annotated[bool, typer.Option("--long-log", help="Log times and places too.")] = False,
    log_tty: Annotated[bool, typer.Option(help="Log to standard error.")] = True,
) -> None:
    """Print versions, set logging up; the help is the application's own."""
    log_options.begin(levels=log_level or (), files=log_file or (), long=long_log, tty=log_tty)
    _LOG.info("begins: %s", shlex.join(["merian-campaign", *sys.argv[1:]]))


def register(app: typer.Typer) -> None:
    """Add the options."""
    app.callback()(options)
