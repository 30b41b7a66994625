"""What the lines of a harvest say: quanta with their attempts, and where their logs lie.

What there is nothing to say of is left out of them: most quanta have one attempt, which went well.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from merian_campaign.domain.execution import journal as journal_format
from merian_campaign.domain.execution.provenance import SUCCESSFUL
from merian_campaign.domain.execution.quanta import COLUMN_DIMENSIONS, canonical_data_id
from merian_campaign.domain.safe_text.text import clean
from merian_campaign.files.log_reader import log_tail
from merian_campaign.host.regular_files import DamagedFileError, open_regular, read_lines
from merian_campaign.middleware import torn_files
from merian_campaign.middleware.provenance_quanta import ProvenanceQuantum

__all__ = ["identity", "lines", "log_files", "noted_in", "raised", "usage_fields"]

_LOG: Final = ".stderr"
_OF_ONE: Final = re.compile(r"([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})_")
_NODE_IDS: Final = re.compile(rb"--qgraph-node-id[ =](\S+)")
_HEAD: Final = 65536
_TYPE_CHARACTERS: Final = 250


def identity(
    task: str,
    quantum_id: object,
    *,
    required: Mapping[str, Any],
    values: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the fields that say which quantum a line is about, from its data ID: all that is known of it."""
    return {
        "uuid": str(quantum_id),
        "task": task,
        "data_id": canonical_data_id(required),
        "dimensions": {name: values[name] for name in COLUMN_DIMENSIONS if values.get(name) is not None},
    }


def raised(quanta: Iterable[ProvenanceQuantum]) -> set[str]:
    """Return the types of the exceptions that quanta raised."""
    return {
        _type(attempt.exception) for quantum in quanta for attempt in quantum.attempts if attempt.exception
    }


def lines(
    quanta: Iterable[ProvenanceQuantum],
    *,
    logs: Mapping[str, str],
    bases: Mapping[str, list[str]],
    torn: Mapping[str, str],
) -> Iterator[Mapping[str, Any]]:
    """Yield a line for each quantum.

    Parameters
    ----------
    quanta : iterable of `ProvenanceQuantum`
        Of the graph.
    logs, torn : `~collections.abc.Mapping`
        Where their logs lie, and what is to be said of torn files, by UUID.
    bases : `~collections.abc.Mapping`
        Names of bases of exceptions by that of their type.
    """
    for quantum in quanta:
        line = identity(quantum.task, quantum.uuid, required=quantum.required, values=quantum.values)
        last = quantum.attempts[-1] if quantum.attempts else None
        status = "BLOCKED" if last is None else last.status.name
        caveats = None if last is None else last.caveats
        line["status"] = status
        line["caveats"] = caveats.concise() if caveats else ""
        line["attempts"] = _attempts(quantum.attempts, bases, torn=torn.get(line["uuid"]))
        line["inputs"] = quantum.inputs
        path = logs.get(line["uuid"])
        if path is not None:
            line["log"] = path
            if status not in SUCCESSFUL:
                line["log_tail"] = log_tail(path)
        yield line


def _attempts(
    attempts: Sequence[Any], bases: Mapping[str, list[str]], *, torn: str | None
) -> list[dict[str, Any]]:
    found = [_attempt(attempt, bases) for attempt in attempts]
    if torn and found and found[-1]["status"] not in SUCCESSFUL and "exception_type" not in found[-1]:
        found[-1] |= {"exception_type": torn_files.TYPE, "exception_message": clean(torn)}
    return found


def _attempt(attempt: Any, bases: Mapping[str, list[str]]) -> dict[str, Any]:  # noqa: ANN401 - lsst type
    """Return an attempt as plain values; what a task wrote into its exception is made inert here."""
    found = {"status": attempt.status.name}
    if attempt.exception:
        kind = _type(attempt.exception)
        found |= {"exception_type": kind, "exception_message": clean(attempt.exception.message)}
        if kind in bases:
            found["exception_bases"] = bases[kind]
    return found | usage_fields(attempt.resource_usage) if attempt.resource_usage else found


def usage_fields(usage: Any) -> dict[str, Any]:  # noqa: ANN401 - lsst type
    """Return what an attempt used, as fields of it."""
    return {
        "peak_mb": round(usage.memory / 2**20) if math.isfinite(usage.memory) else None,
        "started": usage.start.isoformat(),
        "seconds": _finite(usage.total_time),
        "cpu_seconds": _finite(usage.run_time_cpu),
    }


def _type(exception: Any) -> str:  # noqa: ANN401 - lsst type
    return clean(exception.type_name, limit=_TYPE_CHARACTERS)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def noted_in(path: str) -> set[str]:
    """Return the types of exceptions of which a journal says what they are by class."""
    try:
        found = read_lines(path) if path else []
    except DamagedFileError:
        return set()
    # Hardly any line has some.
    noting = "".join(f"{line}\n" for line in found if journal_format.EXCEPTION_BASES in line)
    return set(journal_format.exception_bases(journal_format.parse_lines(noting)))


def log_files(folder: str) -> dict[str, str]:
    """Return the log of each quantum by UUID.

    A job of one quantum is called after it, and its log after the job. Of others the command at the head of
    the log names the quanta.
    """
    found: dict[str, str] = {}
    folders = [folder]
    while folders:
        for entry in _entries(folders.pop()):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif entry.name.endswith(_LOG) and _is_file(entry):
                alone = _OF_ONE.match(entry.name)
                names = [alone[1]] if alone else _named_in(entry.path)
                found.update(dict.fromkeys(names, entry.path))
    return found


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """Return what is in a folder; nothing of one that is not there or cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Say whether this can be a log: a pipe, or a link to nothing or to itself, is none."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _named_in(path: str) -> Collection[str]:
    """Return the quanta that the command at the head of a log names."""
    try:
        with os.fdopen(open_regular(path, limit=1 << 62), "rb") as stream:
            head = stream.read(_HEAD)
    except (FileNotFoundError, DamagedFileError):
        return ()  # no log of ours
    match = _NODE_IDS.search(head)
    if match is None:
        return [Path(path).name.split("_")[0]]
    return match[1].decode(errors="replace").strip("'\"").split(",")
