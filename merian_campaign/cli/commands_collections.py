"""Commands that keep house: collections, clean."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from merian_campaign.cli.options import AsJson, Name
from merian_campaign.cli.output import confirm, console, note, say, show, show_report
from merian_campaign.context import CommandContext

_SECONDS = 60.0


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Give what shows one line of progress on a terminal, replaced by the next; elsewhere one a minute."""
    from merian_campaign.reports.cells import line

    screen = console(stderr=True)
    if not screen.is_terminal:
        said = time.monotonic()

        def now_and_then(words: str) -> None:
            nonlocal said
            if time.monotonic() - said >= _SECONDS:
                said = time.monotonic()
                note(words)

        yield now_and_then
        return
    with screen.status("") as status:
        yield lambda words: status.update(line(words, fit=True))


def collections(
    name: Name,
    sizes: Annotated[
        bool,
        typer.Option("--sizes", help="Also how large each RUN is, and stray files: looks at every file."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List a campaign's collections: what each is, what made it, and how much it holds.

    Sizes are those of the files in a RUN's folder below the repository.
    """
    from merian_campaign.reports.collections import collections_json, collections_view

    with progress() as tell:
        rows = CommandContext().housekeeping(tell=tell).listing(name, sizes=sizes)
    if as_json:
        show_report(collections_json(name, rows))
    elif rows:
        show(collections_view(rows, width=console().width))
    else:
        note(f"campaign {name}: the repository has none of its collections yet")


def clean(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what may go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove superseded RUN collections and debris of dead submissions, after showing the list and a yes.

    Of a RUN that goes, the chains are redefined first. Killed and repeated, it finishes.

    Never touched are raws, calibrations, inputs, other campaigns, what runs, and what any chain shows.
    """
    from merian_campaign.domain.errors import BadInputError
    from merian_campaign.reports.collections import cleaning_json, cleaning_view

    with progress() as tell:
        plan = CommandContext().housekeeping(tell=tell).plan(name)
    if not as_json:
        show(cleaning_view(plan))
    if not plan.removals or dry_run:
        if as_json:
            show_report(cleaning_json(name, plan, removed=False))
        elif not plan.removals:
            note(f"campaign {name}: there is nothing to clean")
        return
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise BadInputError(
                "nothing was removed: there is no terminal to ask on; say --yes, or --dry-run to only look"
            )
        confirm("Remove all of these?")
    with progress() as tell:
        done = CommandContext().housekeeping(tell=tell).clean(name, shown=plan)
    if as_json:
        show_report(cleaning_json(name, done, removed=True))
    else:
        say(f"campaign {name}: {len(done.removals)} removed")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(collections)
    app.command()(clean)
