"""``merian-campaign``: the commands, put together."""

from __future__ import annotations

import logging
import sys

from merian_campaign.cli import (
    commands_control,
    commands_files,
    commands_housekeeping,
    commands_look,
    commands_picture,
    commands_prepare,
    commands_registry,
    commands_run,
    commands_stack,
    commands_system,
    commands_top,
    commands_tracts,
    commands_transfer,
)
from merian_campaign.cli.plain_help import PlainTyper
from merian_campaign.domain.errors import CampaignError

_HELP = """Run survey reductions with the LSST Science Pipelines as campaigns.

A campaign file says what to reduce, and `init` writes a first one; `apply` records it, `run` (or `tick` \
from cron) does it and retries what failed, `status` and `failures` say how it stands.
"""

EXIT_UNAVAILABLE = 69
"""The middleware cannot be imported (``sysexits.h``)."""

_MIDDLEWARE = (
    "the LSST middleware, which is not there; run it inside the stack of the campaign, which "
    "`merian-campaign stack FILE|NAME` shows, or, without one: pip install 'merian-campaign[middleware]'"
)
_MISSING = {
    "lsst": _MIDDLEWARE,
    "parsl": _MIDDLEWARE,
    "psycopg2": "psycopg2, which is not there; install it as this environment installs things (conda install "
    "psycopg2), or: pip install 'merian-campaign[binary]'",
}
"""Packages that are no requirements, and what to do without them."""

EXIT_INPUT_OUTPUT = 74
"""A file or folder cannot be read or written (``sysexits.h``)."""

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
commands_registry.register(app)
commands_picture.register(app)
commands_tracts.register(app)
commands_run.register(app)
commands_look.register(app)
commands_control.register(app)
commands_housekeeping.register(app)
commands_transfer.register(app)
commands_stack.register(app)
commands_system.register(app)


def main() -> None:
    """Run the command line; errors that a person can act on are printed without a traceback."""
    try:
        app()
    except CampaignError as error:
        sys.stdout.flush()
        _LOG.info("ends with exit status %d: %s", error.exit_code, error)
        sys.stderr.write(f"merian-campaign: {error}\n")
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        needed = _MISSING.get((error.name or "").partition(".")[0])
        if needed is None:
            raise
        sys.stderr.write(f"merian-campaign: this command needs {needed}\n")
        sys.exit(EXIT_UNAVAILABLE)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe went away (`| head`): not an error.
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        what = error.strerror or str(error)
        sys.stderr.write(f"merian-campaign: {f'{error.filename}: ' if error.filename else ''}{what}\n")
        sys.exit(EXIT_INPUT_OUTPUT)


if __name__ == "__main__":
    main()
