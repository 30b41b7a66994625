"""``merian-campaign``: the commands, put together."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import Any

import typer

from merian_campaign.cli import (
    commands_archive,
    commands_control,
    commands_cron,
    commands_files,
    commands_graph,
    commands_inspect,
    commands_log,
    commands_pause,
    commands_prepare,
    commands_registry,
    commands_report,
    commands_rules,
    commands_run,
    commands_stack,
    commands_system,
    commands_tick,
    commands_top,
    commands_tracts,
    output,
)
from merian_campaign.cli.plain_help import PlainTyper
from merian_campaign.domain.errors import CampaignError
from merian_campaign.domain.failures.fault_attribution import words_of
from merian_campaign.domain.safe_text.text import one_line, redact
from merian_campaign.host.home import give_account
from merian_campaign.housekeeping import commands_collections
from merian_campaign.preflight import commands_preflight
from merian_campaign.transfer import commands_transfer

_HELP = """Run survey reductions with the LSST Science Pipelines as campaigns.

A campaign file says what to reduce, and `init` writes a first one; `apply` records it, `run` (or `tick` \
from cron) does it and retries what failed, `status` and `failures` say how it stands.
"""

EXIT_UNAVAILABLE = 69
"""The middleware cannot be imported, or there is no memory (``sysexits.h``)."""

_OF_REPORTS = {
    "jinja2": "Jinja2",
    "markupsafe": "Jinja2",
    "vl_convert": "vl-convert-python",
    "pyarrow": "pyarrow",
}
_MIDDLEWARE = (
    "the LSST middleware, which is not there; run it inside the stack of the campaign, which "
    "`merian-campaign stack FILE|NAME` shows, or, without one: pip install 'merian-campaign[middleware]'"
)
_REPORT = "{}, which is not there: pip install 'merian-campaign[report]'"
_MISSING = {
    "lsst": _MIDDLEWARE,
    "parsl": _MIDDLEWARE,
    **{name: _REPORT.format(full) for name, full in _OF_REPORTS.items()},
    "psycopg2": "psycopg2, which is not there; install it as this environment installs things (conda install "
    "psycopg2), or: pip install 'merian-campaign[binary]'",
}
"""Packages that are no requirements, and what to do without them."""

EXIT_INPUT_OUTPUT = 74
"""A file or folder cannot be read or written (``sysexits.h``)."""

EXIT_INTERRUPTED = 130
"""Ctrl-C."""

_LOG = logging.getLogger("merian_campaign")

app = PlainTyper(
    name="merian-campaign",
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
commands_top.register(app)
commands_files.register(app)
commands_prepare.register(app)
commands_preflight.register(app)
commands_registry.register(app)
commands_graph.register(app)
commands_tracts.register(app)
commands_run.register(app)
commands_tick.register(app)
commands_cron.register(app)
commands_inspect.register(app)
commands_log.register(app)
commands_rules.register(app)
commands_report.register(app)
commands_control.register(app)
commands_pause.register(app)
commands_archive.register(app)
commands_collections.register(app)
commands_transfer.register(app)
commands_stack.register(app)
commands_system.register(app)


_PANELS = {
    "Write a campaign file": (
        "init", "validate", "preflight", "select", "tracts", "graph", "render", "commands", "refcat-table",
        "schema",
    ),
    "Run it": ("apply", "plan", "run", "tick", "cron"),
    "See how it stands": (
        "list", "status", "failures", "log", "show", "events", "diff", "blocks", "usage",
        "completeness", "report",
    ),
    "Give orders": (
        "retry", "accept", "redo", "reject", "hold", "release", "pause", "resume", "cancel", "undo",
    ),
    "Keep house": ("collections", "clean", "export", "import", "archive", "unarchive", "forget"),
    "Set up": ("demo", "stack", "rules", "db"),
}  # fmt: skip
"""Commands as the help lists them, by what a person is about to do."""

app.arrange(_PANELS)

_Usage: type[Exception] = typer.BadParameter.__mro__[2]
"""``ClickException``, of whatever copy of click this typer uses."""


def main() -> None:
    """Run the command line; errors that a person can act on are printed without a traceback."""
    output.prepare()
    give_account(os.environ)
    sys.exit(_run())


def _run() -> int:
    try:
        # Not standalone: what typer itself prints of wrong words would act on the terminal.
        return app(standalone_mode=False) or 0
    except _Usage as error:
        return _wrong_usage(error)
    except typer.Abort:
        output.note("Aborted.")
        return 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # `| head`: not an error.
        output.reader_gone()
        return 0
    except Exception as error:  # noqa: BLE001 - the last place where it can be made inert
        return _failed(error)


def _wrong_usage(error: Any) -> int:  # noqa: ANN401 - see _Usage
    """Print how a command is used, and what was wrong with the words given; as click does."""
    context = error.ctx if hasattr(error, "ctx") else None
    message = error.format_message()
    if context is not None and message:
        output.note(context.get_usage())
        output.note(f"Try '{context.command_path} {context.help_option_names[0]}' for help.\n")
    if message:
        # What reads options words its own complaints so.
        output.note(f"Error: {one_line(message.replace(': Value error, ', ': '))}")
    return int(error.exit_code)


def _failed(error: Exception) -> int:
    """Print why a command ended; of what nobody foresaw, the traceback."""
    match error:
        case CampaignError():
            _LOG.info("ends with exit status %d: %s", error.exit_code, redact(str(error)))
            output.complain(str(error))
            return error.exit_code
        case ModuleNotFoundError() if needed := _MISSING.get((error.name or "").partition(".")[0]):
            output.complain(f"this command needs {needed}")
            return EXIT_UNAVAILABLE
        case OSError():
            output.complain(words_of(error))
            return EXIT_INPUT_OUTPUT
        case MemoryError():
            output.complain(words_of(error))
            return EXIT_UNAVAILABLE
    output.note("".join(traceback.format_exception(error)))
    return 1


if __name__ == "__main__":
    main()
