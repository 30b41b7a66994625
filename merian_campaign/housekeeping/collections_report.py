"""The collections of a campaign, and what cleaning would remove, as tables and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from merian_campaign.housekeeping.cleaning import CleaningPlan, Removal, RunKind
from merian_campaign.housekeeping.inventory import CollectionRow
from merian_campaign.reports.cells import joined, line

_KINDS = {"RUN": "run", "CHAINED": "chain", "CALIBRATION": "calib", "TAGGED": "tagged", "": ""}
_WIDE = 100
_UNITS = ("kB", "MB", "GB", "TB", "PB")
_THOUSAND = 1000


def size_words(size: int | None) -> str:
    """Return bytes for people, in powers of 1000; empty when nobody looked."""
    if size is None:
        return ""
    value, unit = float(size), "B"
    for larger in _UNITS:
        if value < _THOUSAND:
            break
        value, unit = value / _THOUSAND, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def collections_json(campaign: str, rows: Sequence[CollectionRow]) -> dict[str, Any]:
    """Return the collections for machines; sizes in bytes, ``null`` where nobody looked."""
    return {
        "campaign": campaign,
        "collections": [
            {
                "name": row.facts.name,
                "type": row.facts.kind or None,
                "made_by": row.origin.made_by,
                "outcome": row.origin.outcome or None,
                "at": None if row.origin.at is None else row.origin.at.isoformat(),
                "note": row.origin.note,
                "children": list(row.facts.children),
                "datasets": row.facts.datasets,
                "bytes": row.facts.size,
            }
            for row in rows
        ],
    }


def collections_view(rows: Sequence[CollectionRow], *, width: int) -> RenderableType:
    """Return one line a collection, and what the campaign's own RUNs hold together."""
    sizes = any(row.facts.size is not None for row in rows)
    own = [row.facts for row in rows if row.origin.outcome]
    wide = width >= _WIDE
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    table.add_column("collection", footer=f"{len(rows)} collections", overflow="fold")
    table.add_column("type", no_wrap=True)
    table.add_column("what made it", overflow="fold")
    table.add_column("ended" if wide else "how", overflow="fold")
    table.add_column(
        "datasets", justify="right", footer=f"{sum(facts.datasets or 0 for facts in own):,}", no_wrap=True
    )
    if sizes:
        total = sum(facts.size or 0 for facts in own)
        table.add_column("size", justify="right", footer=size_words(total), no_wrap=True)
    above: list[str] = []
    for row in rows:
        name = row.facts.name
        while above and not name.startswith(f"{above[-1]}/"):
            above.pop()
        cells = [
            joined("  " * len(above), name.removeprefix(f"{above[-1]}/" if above else "")),
            line(_KINDS.get(row.facts.kind, row.facts.kind)),
            line(_made_by(row, inside=bool(above))),
            line(_ended(row, wide=wide)),
            line(_number(row)),
        ]
        table.add_row(*cells, *([size_words(row.facts.size)] if sizes else []))
        if row.facts.kind == "CHAINED":
            above.append(name)
    notes = [line(f"{row.facts.name}: {row.origin.note}") for row in rows if _is_long(row.origin.note)]
    return Group(table, *notes)


def _made_by(row: CollectionRow, *, inside: bool) -> str:
    """Return what made a collection, shorter where the line above says whose it is."""
    if inside and row.origin.outcome:
        return f"submission {row.origin.made_by.rpartition(' ')[2]}"
    return "group" if inside and row.facts.kind == "CHAINED" else row.origin.made_by


def _is_long(note: str) -> bool:
    """Say whether a note is a reason in words, which gets a line of its own below the table."""
    return ":" in note


def _ended(row: CollectionRow, *, wide: bool) -> str:
    words = [row.origin.outcome] if row.origin.outcome else []
    if wide and row.origin.at is not None:
        words.append(f"{row.origin.at:%Y-%m-%d %H:%M}")
    if row.origin.note and not _is_long(row.origin.note):
        words.append(f"({row.origin.note})")
    return " ".join(words)


def _number(row: CollectionRow) -> str:
    if row.facts.kind == "CHAINED":
        children = len(row.facts.children)
        return f"{children} child" if children == 1 else f"{children} children"
    return "" if row.facts.datasets is None else f"{row.facts.datasets:,}"


def cleaning_json(campaign: str, plan: CleaningPlan, *, removed: bool) -> dict[str, Any]:
    """Return what may go, and whether it went, for machines; sizes in bytes."""
    return {
        "campaign": campaign,
        "removed": removed,
        "bytes": plan.size,
        "removals": [
            {
                "run": removal.facts.run,
                "kind": removal.kind.value,
                "reason": removal.reason,
                "step": removal.step,
                "group": removal.group,
                "submission": removal.number,
                "datasets": 0 if removal.kind is RunKind.STRAY_FILES else removal.facts.datasets,
                "bytes": removal.size,
                "chains": list(removal.facts.parents),
            }
            for removal in plan.removals
        ],
        "kept": [asdict(entry) for entry in plan.kept],
    }


def cleaning_view(plan: CleaningPlan) -> RenderableType:
    """Return what may go, each with its size and its reason, and what stays though it looks like it."""
    parts: list[RenderableType] = []
    if plan.removals:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
        total = len(plan.removals)
        table.add_column("may go", footer=f"{total} collection{'' if total == 1 else 's'}", overflow="fold")
        table.add_column("what", footer=_sum(plan), no_wrap=True, justify="right")
        table.add_column("size", footer=size_words(plan.size), no_wrap=True, justify="right")
        table.add_column("why", overflow="fold")
        for removal in plan.removals:
            reason = f"{removal.kind}: {removal.reason}"
            table.add_row(line(removal.facts.run), _what(removal), size_words(removal.size), line(reason))
        parts.append(table)
    parts += [line(f"stays: {entry.run}: {entry.reason}", "dim") for entry in plan.kept]
    return Group(*parts)


def _what(removal: Removal) -> str:
    if removal.kind is RunKind.STRAY_FILES or not removal.facts.registered:
        return f"{removal.facts.strays:,} file{'' if removal.facts.strays == 1 else 's'}"
    return f"{removal.facts.datasets:,} datasets"


def _sum(plan: CleaningPlan) -> str:
    datasets = sum(entry.facts.datasets for entry in plan.removals if entry.kind is not RunKind.STRAY_FILES)
    return f"{datasets:,} datasets"
