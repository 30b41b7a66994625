"""The demo from an empty folder to its last board, as a person would run it step by step."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from merian_campaign.cli.live import follow
from merian_campaign.cli.output import console, note, say, show
from merian_campaign.cli.own_program import program
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BadInputError, UnavailableError
from merian_campaign.domain.safe_text.shell import quoted
from merian_campaign.domain.states import GroupState
from merian_campaign.reports.cells import line
from merian_campaign.reports.failures import failures_view
from merian_campaign.reports.status import Status, status_view

NAME = "demo"
NIGHTS = 2
"""Nights that the archive has from the start."""
_FAULTS = ("FAULT_MEMORY", "FAULT_ONCE", "FAULT_SIGNAL", "FAULT_ALGORITHM")
_MARK = ".merian-campaign-demo"

_SQL = (
    "SELECT step, tract, task, state, attempts, verdict, requested_mb, log_path FROM quantum_status "
    "WHERE campaign = 'demo' AND (state <> 'succeeded' OR attempts > 1)"
)


def campaign_file() -> Path:
    """Return the demo's campaign file, which comes with the package."""
    from merian_campaign.files.shipped import CAMPAIGNS, shipped  # noqa: PLC0415

    return shipped(CAMPAIGNS, "demo.yaml")


def _require_middleware() -> None:
    """Refuse before anything is made where quanta could not run."""
    from merian_campaign.domain.stack.requirements import Requirement  # noqa: PLC0415
    from merian_campaign.middleware.import_check import look  # noqa: PLC0415

    if not look(Requirement(name="lsst-ctrl-bps-parsl", versions="")).where:
        raise UnavailableError(
            "the demo needs the LSST middleware, which is not there: pip install "
            "'merian-campaign[middleware,embedded]', or set a stack up"
        )


def run_demo(
    *, directory: Path, keep: bool, faults: bool, wms: str | None, site: str | None, nights: int = NIGHTS
) -> int:
    """Run the demo's campaign from an empty folder on, show how it ended.

    Parameters
    ----------
    directory : `pathlib.Path`
        Where it lives, absolute. An earlier demo there is removed unless ``keep``.
    keep : `bool`
        Go on with what is there.
    faults : `bool`
        Whether faults are injected.
    wms, site : `str` or `None`
        Instead of what the campaign file says.
    nights : `int`, optional
        2, or 3: when two are reduced the raws of another one come, and ticks alone go on with it.

    Returns
    -------
    code : `int`
        0 when everything that can finish has finished.
    """
    _require_middleware()
    file = campaign_file()
    environ = {**os.environ, "DEMO_DIR": str(directory)}
    if not faults:
        environ.update(dict.fromkeys(_FAULTS, "none"))
    if nights > NIGHTS:
        # What is never made whole would hold its tract's new generation back.
        environ.update(NIGHTS="discover", LAST_EXPOSURE="971401", FAULT_ALGORITHM="none")
    context = CommandContext(environ=environ)
    if not keep:
        _clear(context, directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _MARK).touch()
    applied = context.apply(str(file), move=True, wms=wms, site=site)
    note(f"campaign {NAME}: {len(applied.plan.wanted)} groups; butler repository {directory / 'repo'}")
    again = ["demo", "--keep", "--dir", str(directory), *([] if faults else ["--no-faults"])]
    again += [*_chosen(wms=wms, site=site), *(["--nights", str(nights)] if nights > NIGHTS else [])]
    follow(context, NAME, interval=1.0, again=again)
    if nights > NIGHTS:
        _third_night(directory)
        follow(context, NAME, interval=1.0, again=again)
    status = context.status(NAME)
    _show_end(context, status, directory)
    expected = {GroupState.DONE.value, GroupState.NEEDS_REVIEW.value}
    stuck = [row for row in status.rows if row.state not in expected]
    failed = [row for row in status.rows if row.state == GroupState.NEEDS_REVIEW.value]
    return 1 if stuck or len(failed) != (1 if faults and nights == NIGHTS else 0) else 0


def _third_night(directory: Path) -> None:
    """Let the raws of another night come into the archive."""
    archive = directory / "archive"
    subprocess.run(
        [sys.executable, "-P", "-m", "merian_campaign.demo.archive", str(archive), "--third-night"],
        check=True,
    )
    note(f"a third night has come into {archive / 'raw'}: from here on ticks alone go on")


def _chosen(**options: str | None) -> list[str]:
    """Return options that were given as words."""
    return [word for name, value in options.items() if value for word in (f"--{name}", value)]


def _clear(context: CommandContext, directory: Path) -> None:
    """Remove an earlier demo: its tracking, then its folder, which must be one that a demo made."""
    if context.store.campaign(NAME) is not None:
        context.control.cancel(NAME)
        follow(context, NAME, interval=1.0, again=("run", NAME))
        context.control.forget(NAME)
    if directory.exists():
        if any(directory.iterdir()) and not (directory / _MARK).exists():
            raise BadInputError(
                f"{directory}: not empty and not made by the demo; choose another folder (DEMO_DIR, --dir)"
            )
        shutil.rmtree(directory)


def _show_end(context: CommandContext, status: Status, directory: Path) -> None:
    """Print the board, the failures with their verdicts, and where to look further."""
    show(status_view(status, width=console().width))
    rows = context.reader.failures(NAME, recovered=True)
    if rows:
        show(line("Quanta that did not succeed at once, and how they ended:", "bold"))
        show(failures_view(rows))
    _write_report(context, directory)
    show(line("Look further", "bold"))
    for words in closing_lines(directory):
        say(words)


def _write_report(context: CommandContext, directory: Path) -> None:
    """Write the page of the demo and name its file; without the packages that draw it, say so."""
    from merian_campaign.cli.commands_report import read, write  # noqa: PLC0415 - of an extra

    try:
        rows = read(context, NAME, at=None, since=None, drawn=True)
        (page,) = write(rows, output=directory / "report")
    except ModuleNotFoundError as error:
        note(f"no report: {error.name} is not there; pip install 'merian-campaign[report]'")
        return
    show(line("The report, to be opened in a browser:", "bold"))
    say(str(page))


def closing_lines(directory: Path) -> list[str]:
    """Return commands that show what the demo left, each a line to be pasted into a shell.

    Parameters
    ----------
    directory : `pathlib.Path`
        Where the demo lives.
    """
    own, butler = program("merian-campaign"), program("butler")
    files = quoted(str(directory / "submissions" / NAME))
    repository = quoted(str(directory / "repo"))
    lines = [
        (f"{own} status {NAME}", "also failures, plan, log, blocks, graph"),
        (f"{own} show {NAME} step3/tract9814", "one group: submissions, attempts, events"),
        (f"ls {files}/step1/*", "submit YAMLs and logs"),
        (f"{butler} query-collections {repository}", "the butler repository"),
    ]
    psql = _psql()
    if psql:
        lines.append((f'{psql} "$({own} db url --libpq)" -c "{_SQL}"', "the tracking database"))
    where = "" if directory == Path.cwd() / "build" / "demo" else f"DEMO_DIR={quoted(str(directory))} "
    lines.append((f"{where}{own} init --from demo mine.yaml", "a campaign of your own on this repository"))
    return [f"{command}   # {what}" for command, what in lines]


def _psql() -> str:
    """Return how psql is called: that of the machine, else that of the embedded server; empty for none."""
    from merian_campaign.store.server.embedded import bundled  # noqa: PLC0415

    if shutil.which("psql"):
        return "psql"
    path = bundled("psql")
    return "" if path is None else quoted(str(path))
