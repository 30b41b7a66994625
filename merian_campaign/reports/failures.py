"""Failed quanta with their verdicts, and the attempts behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table

from merian_campaign.domain.records import AttemptRow, FailureRow, RecordedEvent
from merian_campaign.domain.text import one_line
from merian_campaign.reports.cells import Either, joined, line

_INDENT = 9
_SAID = 160


def failures_json(campaign: str, rows: Sequence[FailureRow]) -> dict[str, Any]:
    """Return failures for machines."""
    return {"campaign": campaign, "failures": [asdict(row) for row in rows]}


def short_data_id(data_id: str) -> str:
    """Leave out of a data ID what is the same for every quantum of a survey."""
    parts = [part for part in data_id.split(",") if not part.startswith(("instrument=", "skymap="))]
    return " ".join(parts) or data_id


def failures_view(rows: Sequence[FailureRow]) -> RenderableType:
    """Return the failed quanta, each with its reason below it, and what is blocked behind them by task.

    Made for a terminal of 80 columns: one line says which quantum, the next ones why.
    """
    parts: list[RenderableType] = []
    for group in dict.fromkeys((row.step, row.group) for row in rows):
        here = [row for row in rows if (row.step, row.group) == group]
        parts.append(line(f"{group[0]}/{group[1]}", "bold"))
        parts.extend(_failure(row) for row in here if row.state != "blocked")
        blocked = Counter(row.task for row in here if row.state == "blocked")
        if blocked:
            names = ", ".join(f"{task} x{number}" if number > 1 else task for task, number in blocked.items())
            parts.append(Padding(line(f"{blocked.total()} blocked behind: {names}", "yellow"), (0, 0, 0, 2)))
    return Group(*parts)


def _failure(row: FailureRow) -> RenderableType:
    style = {"failed": "bold red", "succeeded": "green"}.get(row.state, "")
    tries = f"{row.attempts} {'try' if row.attempts == 1 else 'tries'}"
    head: list[tuple[str, str] | str] = [
        (f"  {row.quantum_id:>6} ", "dim"),
        (row.task, "bold"),
        f" {short_data_id(row.data_id)}  ",
        (row.state, style),
        (f", {tries}" if row.attempts else "", "dim"),
    ]
    reason = why(row)
    if not reason:
        return joined(*head)
    below = Padding(line(reason), (0, 0, 0, _INDENT), expand=False)
    return Either(joined(*head), below, flat=joined(*head, f": {reason}"))


def why(row: FailureRow | AttemptRow) -> str:
    """Say in one sentence why an attempt failed; empty when it did not."""
    if row.verdict is None:
        return ""
    text = (
        f"{row.verdict.replace('_', ' ')}: {row.evidence}" if row.evidence else row.verdict.replace("_", " ")
    )
    said = one_line(_first_line(row.exception_message or ""), limit=_SAID)
    if said:
        text += f" «{said}»"
    if row.verdict == "out_of_memory" and row.requested_mb and "asked for" not in text:
        text += f" (asked for {row.requested_mb} MB)"
    return text


def _first_line(message: str) -> str:
    return next((found for found in message.splitlines() if found.strip()), "")


def attempts_table(rows: Sequence[AttemptRow]) -> Table:
    """Return every stored attempt, in order."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("task, data ID", overflow="fold")
    table.add_column("subm.", justify="right")
    table.add_column("try", justify="right")
    table.add_column("state")
    table.add_column("MB asked", justify="right")
    table.add_column("MB peak", justify="right")
    table.add_column("why", overflow="fold", ratio=1)
    for row in rows:
        table.add_row(
            line(f"{row.task} {short_data_id(row.data_id)}"),
            str(row.submission),
            str(row.try_number),
            line(row.state),
            str(row.requested_mb or ""),
            str(row.peak_mb or ""),
            line(why(row)),
        )
    return table


def events_table(rows: Sequence[RecordedEvent]) -> Table:
    """Return events, oldest first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("when (UTC)", "what", "who"):
        table.add_column(name, no_wrap=True)
    table.add_column("from, to, why", overflow="fold", ratio=1)
    for row in reversed(rows):
        move = f"{row.from_state or ''} → {row.to_state}" if row.to_state else ""
        when = f"{row.at:%m-%d %H:%M:%S}"
        table.add_row(when, line(row.kind), line(row.actor), line(f"{move} {row.reason}"))
    return table
