"""What was done for a campaign: blocks, submissions, revisions of its file, collections."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from merian_campaign.domain.record.records import JobRole, JobRow
from merian_campaign.domain.report.lines import BlockSumLine, RevisionLine, SubmissionLine
from merian_campaign.domain.report.rows import ReportRows, RevisionRow
from merian_campaign.domain.resources.block_usage import usage
from merian_campaign.domain.safe_text.text import clean, one_line
from merian_campaign.domain.slurm.slurm_states import JobEnd

_HOUR: Final = 3600.0
_LOST: Final = frozenset({JobEnd.NODE_LOST.value, JobEnd.PREEMPTED.value})
_LONGEST_DIFF: Final = 20_000
_LONGEST_REASON: Final = 300


def block_hours(jobs: Iterable[JobRow], *, now: datetime) -> float:
    """Return for how many hours blocks ran."""
    return sum(usage(job, now=now).ran or 0.0 for job in jobs if job.role == JobRole.BLOCK) / _HOUR


def blocks(rows: ReportRows, *, place: Mapping[str, int]) -> tuple[BlockSumLine, ...]:
    """Return what became of the blocks' time, by step."""
    by_step: dict[str, list[JobRow]] = defaultdict(list)
    for job in rows.jobs:
        if job.role == JobRole.BLOCK:
            by_step[job.step].append(job)
    ordered = sorted(by_step.items(), key=lambda entry: place.get(entry[0], len(place)))
    return tuple(_sums(step, jobs, now=rows.at) for step, jobs in ordered)


def _sums(step: str, jobs: Sequence[JobRow], *, now: datetime) -> BlockSumLine:
    used = [(job, usage(job, now=now)) for job in jobs]
    ran = sum(one.ran or 0.0 for _, one in used)
    idle = sum(one.idle or 0.0 for _, one in used)
    # Of blocks that still run, or whose journal is lost, nobody knows how busy they are.
    unknown = sum(one.ran or 0.0 for _, one in used if one.idle is None)
    lost = [one for job, one in used if job.fate in _LOST]
    return BlockSumLine(
        step=step,
        blocks=len(jobs),
        queued_hours=sum(one.queued or 0.0 for _, one in used) / _HOUR,
        ran_hours=ran / _HOUR,
        busy_hours=(ran - idle - unknown) / _HOUR,
        idle_hours=idle / _HOUR,
        unknown_hours=unknown / _HOUR,
        lost=len(lost),
        lost_hours=sum(one.ran or 0.0 for one in lost) / _HOUR,
    )


def submissions(rows: ReportRows) -> tuple[SubmissionLine, ...]:
    """Return all submissions, with their remedies in words."""
    return tuple(
        SubmissionLine(
            step=row.step,
            group=row.group,
            tract=row.tract,
            number=row.number,
            state=row.state,
            outcome=row.outcome or "",
            reason=one_line(row.reason, limit=_LONGEST_REASON),
            remedy=_remedy(row.remedy),
            run_collection=one_line(row.run_collection),
            created_at=row.created_at,
            claimed_at=row.claimed_at,
            finished_at=row.finished_at,
        )
        for row in rows.submissions
    )


def _remedy(document: Mapping[str, Any]) -> str:
    """Return in words what a submission does differently, from what is stored of it."""
    memory = document.get("memory_mb")
    pairs = memory.items() if isinstance(memory, Mapping) else memory if isinstance(memory, list) else ()
    words = [f"{task} {megabytes} MB" for task, megabytes in pairs]
    words += [f"{document[name]} {name}" for name in ("workers", "blocks") if document.get(name)]
    return one_line(", ".join(words))


def revisions(rows: Sequence[RevisionRow]) -> tuple[RevisionLine, ...]:
    """Return the revisions, each with what it changed; of the first, nothing."""
    before = [None, *rows[:-1]] if rows else []
    return tuple(
        RevisionLine(
            number=row.number,
            actor=one_line(row.actor),
            applied_at=row.applied_at,
            sha256=row.sha256,
            diff="" if earlier is None else _diff(earlier, row),
        )
        for earlier, row in zip(before, rows, strict=True)
    )


def _diff(earlier: RevisionRow, later: RevisionRow) -> str:
    lines = difflib.unified_diff(
        earlier.text.splitlines(),
        later.text.splitlines(),
        fromfile=f"revision {earlier.number}",
        tofile=f"revision {later.number}",
        n=2,
        lineterm="",
    )
    return clean("\n".join(lines), limit=_LONGEST_DIFF)


def collections(spec: Mapping[str, Any]) -> Mapping[str, object]:
    """Return what the campaign reads and writes, in words of its file."""
    given = spec.get("collections")
    found = given if isinstance(given, Mapping) else {}
    inputs = found.get("inputs")
    tags = (*inputs,) if isinstance(inputs, list) else ()
    return {
        "repository": one_line(str(spec.get("butler", ""))),
        "instrument": one_line(str(spec.get("instrument", ""))),
        "skymap": one_line(str(spec.get("skymap") or "")),
        "output": one_line(str(found.get("output", ""))),
        "inputs": [one_line(str(name)) for name in tags],
    }
