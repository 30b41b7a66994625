"""One group in full: submissions, attempts, events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from merian_campaign.domain.failures.remedy import describe_remedy
from merian_campaign.domain.readiness.generations import Generation
from merian_campaign.domain.record.attempt_rows import AttemptRow
from merian_campaign.domain.record.records import RecordedEvent
from merian_campaign.domain.record.snapshot import GroupView, SubmissionView
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.reports.cells import Either, line, paragraph
from merian_campaign.reports.failures import attempt_logs, attempts_table, events_table
from merian_campaign.reports.generation_detail import generation_json, generation_words

_LONGEST = 2000


def group_json(
    group: GroupView,
    attempts: Sequence[AttemptRow],
    events: Sequence[RecordedEvent],
    generations: Sequence[Generation],
    nights: Mapping[int, int],
) -> dict[str, Any]:
    """Return a group for machines."""
    return {
        "step": group.step,
        "group": group.key,
        "state": group.state.value,
        "reason": group.reason,
        "generation": group.generation,
        "published": group.published,
        "generations": [generation_json(entry, nights) for entry in generations],
        "submissions": [_submission(entry) for entry in group.submissions],
        "attempts": [asdict(row) for row in attempts],
        "events": [asdict(row) for row in events],
    }


def _submission(entry: SubmissionView) -> dict[str, Any]:
    paths = SubmissionPaths(directory=entry.directory)
    return {
        "number": entry.number,
        "generation": entry.generation,
        "state": entry.state.value,
        "outcome": None if entry.outcome is None else entry.outcome.value,
        "reason": entry.reason,
        "run_collection": entry.run_collection,
        "remedy": describe_remedy(entry.remedy),
        "needs_person": entry.needs_person,
        "stack": entry.versions_short,
        "directory": entry.directory,
        "yaml": paths.yaml,
        "driver_log": paths.driver_log,
        "versions": paths.versions,
    }


def group_view(
    group: GroupView,
    attempts: Sequence[AttemptRow],
    events: Sequence[RecordedEvent],
    generations: Sequence[Generation],
    nights: Mapping[int, int],
) -> RenderableType:
    """Return a group for people."""
    parts: list[RenderableType] = [
        line(f"{group.step}/{group.key}: {group.state.value.replace('_', ' ')} ({group.reason})", "bold"),
        line(f"{group.counts.succeeded} of {group.counts.expected} quanta succeeded"),
        *(line(generation_words(entry, group, nights)) for entry in generations),
    ]
    if generations and group.generation > generations[-1].number:
        parts.append(line(f"generation {group.generation} (begun): not submitted yet"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("no.", "state", "RUN collection"):
        table.add_column(name, overflow="fold")
    table.add_column("why, remedy, files", overflow="fold", ratio=1)
    for entry in group.submissions:
        remedy = describe_remedy(entry.remedy)
        stack = f"stack: {entry.versions_short}" if entry.versions_short else ""
        details = [
            one_line(text, limit=_LONGEST) for text in (entry.reason, remedy, stack, entry.directory) if text
        ]
        state = entry.state.value if entry.outcome is None else entry.outcome.value
        told = Either(paragraph("\n".join(details)), flat=line("; ".join(details)))
        table.add_row(str(entry.number), line(state), line(entry.run_collection), told)
    parts.append(table)
    if attempts:
        parts.append(attempts_table(attempts))
        parts.extend(attempt_logs(attempts))
    if events:
        parts.append(events_table(events))
    return Group(*parts)
