"""Commands that take a campaign's numbers away: report, completeness, usage."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from merian_campaign.cli.moments import moment, past_moment
from merian_campaign.cli.options import AsJson, Name, StepOption, TractOption
from merian_campaign.cli.output import console, note, say, show, show_report
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BadInputError, CampaignError
from merian_campaign.domain.safe_text.text import one_line

if TYPE_CHECKING:
    from merian_campaign.domain.report.numbers import Report
    from merian_campaign.domain.report.rows import ReportRows
    from merian_campaign.domain.resources.memory_model import MemoryForecast

_PAGE: Final = "index.html"
_HEAD: Final = 1 << 20
"""Bytes of an earlier page in which its time is looked for."""

_MARK: Final = '<meta name="merian-campaign-report" content="'
_LOGS: Final = 12
_LOG_LINES: Final = 25


def report(
    name: Name,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the page, made if need be.", metavar="DIR"),
    ] = None,
    tables: Annotated[
        Path | None, typer.Option("--tables", help="Folder for tables as CSV and Parquet.", metavar="DIR")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Folder for pictures as PNG, SVG and PDF.", metavar="DIR")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", help="As it was then: 6h, 2d, or 2026-11-20T08:00 (UTC).", metavar="DATE"),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", help="Changes from then on; default: the page that is there.", metavar="DATE"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a page for those who want to see how a campaign stands, and its numbers as files.

    The page is one file that asks nobody for anything: it can be opened, sent, or put on a web server.

    For example: `merian-campaign report mine -o page --tables tables`
    """
    if output is None and tables is None and figures is None and not as_json:
        raise BadInputError(
            "nothing to write: say where with -o DIR, --tables DIR or --figures DIR, or --json"
        )
    _see_to_folders({"-o": output, "--tables": tables, "--figures": figures})
    context = CommandContext()
    now = context.clock()
    then = None if at is None else past_moment(at, now=now, began=context.reader.began(name))
    begin = _begin(since, now=now, end=then or now) if since is not None else _last_page(output)
    if begin is not None and begin >= (then or now):
        begin = None
    if tables is not None:
        from merian_campaign.reports.page.tables import need

        # Before anything is read or written.
        need()
    rows = read(context, name, at=then, since=begin, drawn=output is not None or figures is not None)
    written = write(rows, output=output, tables=tables, figures=figures)
    if as_json:
        from merian_campaign.reports.page.tables import report_json

        show_report(report_json(_report_of(rows)))
        return
    for path in written:
        say(str(path))


def read(
    context: CommandContext, name: str, *, at: datetime | None, since: datetime | None, drawn: bool
) -> ReportRows:
    """Return the rows of a report; of one that is drawn, with the sky, and what draws it ready meanwhile."""
    if not drawn:
        rows = context.reader.report(name, at=at or context.clock(), past=at is not None, since=since)
        return _priced(context, rows)
    from concurrent.futures import ThreadPoolExecutor

    from merian_campaign.reports.page.html import need, prepare

    # Before anybody is asked anything.
    need()
    with ThreadPoolExecutor(max_workers=1) as beside:
        ready = beside.submit(prepare)
        rows = context.report_rows(name, at=at, since=since, tell=note)
        ready.result()
    return _priced(context, rows)


def _priced(context: CommandContext, rows: ReportRows) -> ReportRows:
    """Return rows of now with what it costs to make anew what is done for older data."""
    stale = [f"{group.step}/{group.group}" for group in rows.groups if group.stale]
    if rows.past or not stale:
        return rows
    return replace(rows, prices=context.prices(rows.campaign, stale))


def write(
    rows: ReportRows, *, output: Path | None, tables: Path | None = None, figures: Path | None = None
) -> list[Path]:
    """Write what is asked for; return the files that a person will open."""
    from merian_campaign.host.atomic_files import write_atomically, write_bytes_atomically

    made = _report_of(rows)
    written = []
    if output is not None:
        from merian_campaign.reports.page.html import PageText, page

        no_sky = "Where the tracts lie is not known yet: the butler has not told it."
        from merian_campaign.cli.version import version

        text = PageText(version=version(), logs=_logs(made), no_sky=no_sky)
        write_atomically(output / _PAGE, page(made, text))
        written.append(output / _PAGE)
    if tables is not None:
        from merian_campaign.reports.page.tables import KINDS, as_csv, as_parquet

        for table in KINDS:
            write_atomically(tables / f"{table}.csv", as_csv(made, table))
            write_bytes_atomically(tables / f"{table}.parquet", as_parquet(made, table))
        written.append(tables)
    if figures is not None:
        from merian_campaign.reports.page.figures import figures as drawn

        for file, content in drawn(made):
            write_bytes_atomically(figures / file, content)
        written.append(figures)
    return written


def _report_of(rows: ReportRows) -> Report:
    from merian_campaign.domain.report.numbers import report_of

    return report_of(rows)


def _begin(since: str, *, now: datetime, end: datetime) -> datetime:
    """Return from when on changes are told.

    Raises
    ------
    BadInputError
        Raised if that is no time, or not before what the report is of.
    """
    found = moment(since, now=now, option="--since")
    if found >= end:
        raise BadInputError(
            f"--since: found {one_line(since)!r}, which is not before the report's own time, "
            f"{end:%Y-%m-%dT%H:%M} UTC; name an earlier one"
        )
    return found


def _see_to_folders(wanted: Mapping[str, Path | None]) -> None:
    """See that files can be written where they are to be, before anything is read.

    Raises
    ------
    BadInputError
        Raised if a file is in the place of a folder.
    PermissionError
        Raised if a folder may not be written.
    """
    for option, folder in wanted.items():
        if folder is None:
            continue
        there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
        if not there.is_dir():
            raise BadInputError(f"{option}: {there} is a file, and no folder; choose another folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))


def _last_page(folder: Path | None) -> datetime | None:
    """Return of when the page is that lies there.

    Raises
    ------
    BadInputError
        Raised if something else has its name.
    """
    from merian_campaign.host.regular_files import DamagedFileError, open_regular

    if folder is None:
        return None
    path = folder / _PAGE
    try:
        with open(open_regular(path, limit=1 << 62), "rb") as stream:  # noqa: PTH123 - of a descriptor
            head = stream.read(_HEAD).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except (DamagedFileError, NotADirectoryError) as error:
        raise BadInputError(f"{error}; choose another folder") from None
    _, mark, rest = head.partition(_MARK)
    try:
        return datetime.fromisoformat(rest.partition('"')[0]) if mark else _not_ours(path)
    except ValueError:
        return _not_ours(path)


def _not_ours(path: Path) -> datetime:
    raise BadInputError(f"{path}: there already, and no report of merian-campaign; choose another folder")


def _logs(made: Report) -> dict[int, str]:
    """Return the last lines of the logs of the first causes, of those that can be read."""
    from merian_campaign.files.log_reader import last_lines

    read = {
        line.example: "\n".join(last_lines(line.log_path, lines=_LOG_LINES)) or line.log_tail
        for line in made.causes[:_LOGS]
    }
    return {example: text for example, text in read.items() if text}


def completeness(
    name: Name,
    step: StepOption = None,
    tract: TractOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what is complete.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show which tracts may be released and why, and by step and band what is done, missing, or accepted.

    What has no graph yet is estimated from the step's other tracts, and marked with ~.
    """
    from merian_campaign.reports.completeness import completeness_json, completeness_view

    made = _numbers(name, step=step)
    lines = [line for line in made.completeness if step in {None, line.step} and tract in {None, line.tract}]
    if tract is not None and not lines:
        raise BadInputError(
            f"campaign {name!r} has no quanta of tract {tract}" + (f" in {step}" if step else "")
        )
    tracts = [line for line in made.tracts if tract in {None, line.tract}]
    if as_json:
        show_report(completeness_json(name, lines, tracts))
    elif lines:
        all_of_it = everything or tract is not None
        show(completeness_view(lines, tracts, everything=all_of_it, width=console().width))
    else:
        note(f"{'no quantum' if step is None else f'no quantum of {step}'} of a tract is predicted yet")


def usage(name: Name, step: StepOption = None, as_json: AsJson = False) -> None:
    """Show memory and run time by task, asked for and used, and what the time of submissions went into."""
    from merian_campaign.reports.memory_lines import memory_json, memory_view
    from merian_campaign.reports.usage import usage_json, usage_view, wall_view

    made = _numbers(name, step=step)
    rows = [row for row in made.usage if step in {None, row.step}]
    actions = {one.step for one in made.steps if one.kind == "action"}
    walls = [
        row.of_action() if row.step in actions else row
        for row in CommandContext().reader.wall_times(name)
        if step in {None, row.step}
    ]
    found = _asked_next(name) if rows else {}
    following = {one: tasks for one, tasks in found.items() if step in {None, one}}
    if as_json:
        show_report(usage_json(name, rows, walls) | {"memory": memory_json(following)})
        return
    if rows:
        show(usage_view(rows))
    else:
        note(f"no quantum{'' if step is None else f' of {step}'} has run yet")
    if walls:
        show(wall_view(walls))
    if following:
        show(memory_view(following))


def _asked_next(name: str) -> Mapping[str, tuple[MemoryForecast, ...]]:
    """Return the requests to come; what was measured is shown too where the files that say them are gone."""
    try:
        return CommandContext().memory_forecasts(name)
    except CampaignError as error:
        note(f"what is asked for next cannot be told: {error}")
        return {}


def _numbers(name: str, *, step: str | None) -> Report:
    context = CommandContext()
    made = _report_of(context.reader.report(name, at=context.clock()))
    known = [line.step for line in made.steps]
    if step is not None and step not in known:
        raise BadInputError(f"campaign {name!r} has no step {step!r}; it has {', '.join(known)}")
    return made


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands: tuple[Callable[..., Any], ...] = (report, completeness, usage)
    for command in commands:
        app.command()(command)
