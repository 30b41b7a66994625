"""The demo from an empty folder to its last board, as a person would run it step by step."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rich.markup import escape

from merian_campaign.cli.live import follow, read_status
from merian_campaign.cli.output import console, note, show
from merian_campaign.context import Context
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.states import GroupState
from merian_campaign.domain.text import redact
from merian_campaign.reports.failures import failures_view
from merian_campaign.reports.status import Status, status_view

NAME = "demo"
_FAULTS = ("FAULT_MEMORY", "FAULT_ONCE", "FAULT_SIGNAL", "FAULT_ALGORITHM")
_MARK = ".merian-campaign-demo"

_SQL = (
    "SELECT step, tract, task, state, attempts, verdict, requested_mb, log_path\n"
    "  FROM quantum_status WHERE campaign = 'demo' AND (state <> 'succeeded' OR attempts > 1);"
)


def campaign_file() -> Path:
    """Return the demo's campaign file.

    Raises
    ------
    BadInputError
        Raised outside a checkout: the file lies beside the package, not in it.
    """
    path = Path(__file__).resolve().parents[2] / "campaign" / "demo.yaml"
    if not path.is_file():
        raise BadInputError(
            f"{path}: the demo runs from a checkout of merian-campaign; clone it and `make demo`"
        )
    return path


def run_demo(*, directory: Path, keep: bool, faults: bool, wms: str | None, site: str | None) -> int:
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

    Returns
    -------
    code : `int`
        0 when everything that can finish has finished.
    """
    file = campaign_file()
    environ = {**os.environ, "DEMO_DIR": str(directory)}
    if not faults:
        environ.update(dict.fromkeys(_FAULTS, "none"))
    context = Context(environ=environ)
    if not keep:
        _clear(context, directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _MARK).touch()
    applied = context.apply(str(file), move=True, wms=wms, site=site)
    note(f"campaign {NAME}: {len(applied.plan.wanted)} groups; butler repository {directory / 'repo'}")
    follow(context, NAME, interval=1.0)
    status = read_status(context, NAME)
    _show_end(context, status, directory)
    expected = {GroupState.DONE.value, GroupState.NEEDS_REVIEW.value}
    stuck = [row for row in status.rows if row.state not in expected]
    failed = [row for row in status.rows if row.state == GroupState.NEEDS_REVIEW.value]
    return 1 if stuck or (failed and not faults) or (faults and len(failed) != 1) else 0


def _clear(context: Context, directory: Path) -> None:
    """Remove an earlier demo: its tracking, then its folder, which must be one that a demo made."""
    if context.store.campaign(NAME) is not None:
        context.control.cancel(NAME)
        follow(context, NAME, interval=1.0)
        context.control.forget(NAME)
    if directory.exists():
        if any(directory.iterdir()) and not (directory / _MARK).exists():
            raise BadInputError(
                f"{directory}: not empty and not made by the demo; choose another folder (DEMO_DIR, --dir)"
            )
        shutil.rmtree(directory)


def _show_end(context: Context, status: Status, directory: Path) -> None:
    """Print the board, the failures with their verdicts, and where to look further."""
    from merian_campaign.store.server import database_url  # noqa: PLC0415

    screen = console()
    show(status_view(status, width=screen.width))
    rows = context.reader.failures(NAME, recovered=True)
    if rows:
        screen.print("Quanta that did not succeed at once, and how they ended:", style="bold")
        show(failures_view(rows))
    screen.print("Look further", style="bold")
    screen.print(f'psql "{redact(database_url(context.environ))}"', markup=False, soft_wrap=True)
    screen.print(escape(_SQL), soft_wrap=True)
    screen.print(f"submit YAMLs, logs   {directory / 'submissions' / NAME}", markup=False, soft_wrap=True)
    screen.print(f"butler repository    {directory / 'repo'}", markup=False, soft_wrap=True)
    screen.print(f"commands             merian-campaign status|failures|plan|log {NAME}", markup=False)
    screen.print(f"                     merian-campaign show {NAME} step3/tract9814", markup=False)
