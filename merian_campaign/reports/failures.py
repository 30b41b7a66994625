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

from merian_campaign.domain.record.attempt_rows import AttemptEvidence, AttemptRow, FailureRow
from merian_campaign.domain.record.records import RecordedEvent
from merian_campaign.domain.safe_text.text import clean, one_line
from merian_campaign.reports.cells import Either, joined, line, paragraph

_INDENT = 9
_SAID = 160
_BLOCKERS = 5
_LOGGED = 3
"""Lines of the log of a single quantum; `log` and `show` have more."""

_LOGS = 3
"""Attempts of a group whose logs are shown."""

_EVERYBODYS = frozenset({"Exception", "ABC"})
"""Classes that say nothing of an exception."""


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
            parts.extend(_behind([row for row in here if row.state == "blocked"]))
            names = ", ".join(f"{task} x{number}" if number > 1 else task for task, number in blocked.items())
            parts.append(Padding(line(f"{blocked.total()} blocked behind: {names}", "yellow"), (0, 0, 0, 2)))
    return Group(*parts)


def _behind(blocked: Sequence[FailureRow]) -> list[RenderableType]:
    """Return a line for each quantum that others stand behind, with how many."""
    number = Counter(row.blocked_by for row in blocked if row.blocked_by is not None)
    return [
        joined((f"  {blocker:>6} blocks {count} {'quantum' if count == 1 else 'quanta'}", "yellow"))
        for blocker, count in number.most_common(_BLOCKERS)
    ]


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
    facts = evidence_words(row)
    log = clean(row.log_tail or "").splitlines()[-_LOGGED:]
    said = [
        line(reason),
        *([line(facts, "dim")] if facts else []),
        *(line(one, "dim", fit=True) for one in log),
    ]
    below = Padding(Group(*said), (0, 0, 0, _INDENT), expand=False)
    return Either(joined(*head), below, flat=joined(*head, f": {reason}", f"; {facts}" if facts else ""))


def evidence_words(row: AttemptEvidence) -> str:
    """Return the facts of a verdict on one line: how sure, its exception by class, where, a rule's remedy."""
    if row.verdict is None:
        return ""
    names = [base.rpartition(".")[2] for base in (row.exception_bases or "").split()[1:]]
    bases = [name for name in names if name not in _EVERYBODYS]
    facts = (
        f"how sure: {row.certainty}" if row.certainty else "",
        f"by class {', '.join(bases)}" if bases else "",
        f"signal {row.signal}" if row.signal is not None else "",
        f"{row.peak_mb} MB of {row.requested_mb} MB" if row.peak_mb and row.requested_mb else "",
        f"Slurm job {row.slurm_job}" if row.slurm_job else "",
        f"on {row.host}" if row.host else "",
        f"rule {row.rule}: {row.remedy.replace('_', ' ')}" if row.remedy else "",
    )
    return one_line("; ".join(fact for fact in facts if fact))


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
        facts = evidence_words(row)
        told = [line(why(row)), *([line(facts, "dim")] if facts else [])]
        flat = "; ".join(words for words in (why(row), facts) if words)
        table.add_row(
            line(f"{row.task} {short_data_id(row.data_id)}"),
            str(row.submission),
            str(row.try_number),
            line(row.state),
            str(row.requested_mb or ""),
            str(row.peak_mb or ""),
            Either(Group(*told), flat=line(flat)),
        )
    return table


def attempt_logs(rows: Sequence[AttemptRow]) -> list[RenderableType]:
    """Return what the logs of the last failed attempts end with, one of each task and exception."""
    said = {(row.task, row.exception_type): row for row in rows if row.log_tail}
    parts: list[RenderableType] = []
    for row in list(said.values())[-_LOGS:]:
        head = f"{row.task} {short_data_id(row.data_id)}, submission {row.submission}, try {row.try_number}:"
        parts += [line(head, "bold"), Padding(paragraph(row.log_tail or "", "dim"), (0, 0, 1, 2))]
    return parts


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
