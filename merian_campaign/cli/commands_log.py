"""The command that shows the log of a quantum: log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

import typer

from merian_campaign.cli.options import Name, StepOption, TractOption
from merian_campaign.cli.output import note, say
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.safe_text.shell import shown
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.files.log_reader import read_log

if TYPE_CHECKING:
    from merian_campaign.domain.record.attempt_rows import AttemptRow, FailureRow
    from merian_campaign.store.reading.reader import Reader

_LONGEST_LOG: Final = 16 << 20
"""Bytes of a log that are shown: its end."""

_LISTED: Final = 20
"""Quanta that are listed when several are meant."""

_LARGEST_ID: Final = 2**63 - 1


def log(
    name: Name,
    quantum: Annotated[
        list[str] | None,
        typer.Argument(
            help="Id from `failures --quanta`, or a task and any part of a data ID: "
            "measure visit=42 detector=3; without it: the only failed one.",
            metavar="[QUANTUM]...",
            show_default=False,
        ),
    ] = None,
    step: StepOption = None,
    tract: TractOption = None,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", help="1 is the first; default: the last.", min=1, show_default=False),
    ] = None,
    path: Annotated[bool, typer.Option("--path", help="Print only where the log lies.")] = False,
) -> None:
    """Print the log of a quantum's last attempt, or of another one.

    Where several quanta are meant, they are listed, each with the command that shows its log.

    For example: `merian-campaign log mine measure visit=42 detector=3`
    """
    reader = CommandContext().reader
    found = _found(reader, name, quantum or [], step=step, tract=tract)
    if len(found) != 1:
        raise BadInputError(_several(name, found) if found else _none(name, quantum or []))
    chosen = _attempt(reader, found[0], attempt=attempt)
    file = chosen.log_path or ""
    if path:
        say(file)
        return
    try:
        text, left_out = read_log(file, size=_LONGEST_LOG)
    except FileNotFoundError:
        gone = f"quantum {found[0].quantum_id}: its log is not there any more: {one_line(file, limit=4000)}"
        if not chosen.log_tail:
            raise BadInputError(gone) from None
        note(f"{gone}; its last lines, as they were put on record:")
        say(chosen.log_tail)
        return
    note(one_line(file, limit=4000))
    if left_out:
        note(f"its first {left_out} bytes are left out; --path says where it lies")
    say(text)


@dataclass(kw_only=True)
class _Wanted:
    """A quantum in words: its task, and values of its data ID."""

    task: str | None = None
    values: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, words: Sequence[str]) -> _Wanted:
        """Read words: a task, and ``name=value`` with commas or apart, quoted or not."""
        wanted = cls()
        for word in (part for given in words for part in re.sub(r"\s*=\s*", "=", given).split()):
            if "=" not in word:
                if wanted.task is not None:
                    raise BadInputError(f"found two tasks, {wanted.task!r} and {word!r}; name one")
                wanted.task = word
                continue
            for part in word.split(","):
                key, equals, value = (piece.strip() for piece in part.partition("="))
                if not (key and equals and value):
                    raise BadInputError(f"data ID: found {word!r}; write visit=42,detector=3")
                if wanted.values.setdefault(key, value) != value:
                    raise BadInputError(f"data ID: {key} is both {wanted.values[key]!r} and {value!r}")
        return wanted


def _found(
    reader: Reader, name: str, words: Sequence[str], *, step: str | None, tract: int | None
) -> tuple[FailureRow, ...]:
    """Return the quanta that are meant, one more than are listed at most."""
    limit = _LISTED + 1
    if not words:
        return reader.failed_quanta(name, step=step, tract=tract, limit=limit)
    if len(words) == 1 and words[0].isascii() and words[0].isdecimal():
        number = int(words[0]) if len(words[0]) <= len(str(_LARGEST_ID)) else 0
        row = reader.quantum(name, number=number) if number <= _LARGEST_ID else None
        return () if row is None else (row,)
    wanted = _Wanted.of([*words, *([f"tract={tract}"] if tract is not None else [])])
    return reader.quanta(name, step=step, task=wanted.task, values=wanted.values, limit=limit)


def _none(name: str, words: Sequence[str]) -> str:
    failures = f"take an id from `{shown(('merian-campaign', 'failures', name))}`"
    if not words:
        return f"campaign {name!r} has no failed quantum; {failures}"
    return f"campaign {name!r} has no quantum {' '.join(words)}; {failures}"


def _several(name: str, found: Sequence[FailureRow]) -> str:
    """Return the quanta that may be meant, each with the command that shows its log."""
    number = f"more than {_LISTED}" if len(found) > _LISTED else str(len(found))
    lines = [f"campaign {name!r} has {number} quanta that may be meant; say more, or take one:"]
    for row in found[:_LISTED]:
        what = one_line(f"{row.step}/{row.group} {row.task} {row.data_id} {row.state}", limit=400)
        lines.append(f"{shown(('merian-campaign', 'log', name, str(row.quantum_id)))}   # {what}")
    return "\n".join(lines)


def _attempt(reader: Reader, row: FailureRow, *, attempt: int | None) -> FailureRow | AttemptRow:
    """Return the attempt whose log is meant."""
    chosen: FailureRow | AttemptRow = row
    if attempt is not None:
        attempts = reader.quantum_attempts(quantum_id=row.quantum_id)
        if attempt > len(attempts):
            many = f"{len(attempts)} attempt{'' if len(attempts) == 1 else 's'}"
            raise BadInputError(f"quantum {row.quantum_id} has {many}; found --attempt {attempt}")
        chosen = attempts[attempt - 1]
    if not chosen.log_path:
        raise BadInputError(_no_log(row, chosen.evidence))
    return chosen


def _no_log(row: FailureRow, evidence: str) -> str:
    return f"quantum {row.quantum_id} left no log ({one_line(evidence) or 'it did not run'})"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(log)
