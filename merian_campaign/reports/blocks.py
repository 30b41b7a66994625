"""The Slurm jobs of a campaign: how each ended, and where its time went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from merian_campaign.domain.record.records import JobRow
from merian_campaign.domain.resources.block_usage import BlockUsage, usage
from merian_campaign.reports.cells import line

_CAPTION = "A run gives its blocks back by cancelling them: they end as cancelled by its own user."


def blocks_json(campaign: str, rows: Sequence[JobRow], *, now: datetime) -> dict[str, Any]:
    """Return the Slurm jobs for machines; times in seconds, ``null`` where they are not known."""
    found = [usage(row, now=now) for row in rows]
    return {
        "campaign": campaign,
        "jobs": [
            asdict(row) | {"queued_seconds": used.queued, "run_seconds": used.ran, "idle_seconds": used.idle}
            for row, used in zip(rows, found, strict=True)
        ],
        "blocks": _sums([used for row, used in zip(rows, found, strict=True) if row.role == "block"]),
    }


def _sums(found: Sequence[BlockUsage]) -> dict[str, float]:
    return {
        "number": len(found),
        "queued_seconds": sum(used.queued or 0.0 for used in found),
        "run_seconds": sum(used.ran or 0.0 for used in found),
        "idle_seconds": sum(used.idle or 0.0 for used in found),
    }


def blocks_view(rows: Sequence[JobRow], *, now: datetime) -> RenderableType:
    """Return one line a Slurm job, and the sums over the blocks."""
    found = [usage(row, now=now) for row in rows]
    sums = _sums([used for row, used in zip(rows, found, strict=True) if row.role == "block"])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    table.add_column("submission", footer=f"{sums['number']:.0f} blocks", no_wrap=True)
    table.add_column("job", justify="right", no_wrap=True)
    table.add_column("state", overflow="fold")
    table.add_column("nodes", overflow="fold")
    for name, key in (("queued", "queued_seconds"), ("ran", "run_seconds"), ("idle", "idle_seconds")):
        table.add_column(name, justify="right", footer=clock(sums[key]), no_wrap=True)
    for row, used in zip(rows, found, strict=True):
        table.add_row(
            line(f"{row.step}/{row.group} {row.submission}"),
            line(row.job_id if row.role == "block" else f"{row.role} {row.job_id}"),
            line(_state(row)),
            line(row.nodes),
            clock(used.queued),
            clock(used.ran),
            clock(used.idle),
        )
    return Group(table, line(_CAPTION, "dim"))


def _state(row: JobRow) -> str:
    text = row.slurm_state.lower().replace("_", " ") or "unknown"
    if row.cancelled_by:
        text += f" by {row.cancelled_by}"
    if row.fate in {"failed", "alive", "unsure"} and row.reason:
        text += f" ({row.reason})"
    return text


def clock(seconds: float | None) -> str:
    """Return seconds as ``H:MM:SS``; empty when they are not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
