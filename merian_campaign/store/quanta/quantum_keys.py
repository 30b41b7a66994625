"""SQL for what is stored of quanta in a shorter way than people need it.

The table ``quantum_row`` holds a quantum as short as it can be, the view ``quantum`` as it is. What most
quanta have is NULL in the table: a success at first try of the submission whose facts the row has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from merian_campaign.domain.execution.attempt_facts import ATTEMPT_FACTS
from merian_campaign.store.quanta.quantum_forms import NUMBERED

ATTEMPT_COLUMNS = (*ATTEMPT_FACTS, "exception_bases", "inputs", "cpu_seconds", "cores")
"""Columns of an attempt that a quantum also has, for its last attempt."""

_USUAL: Final[Mapping[str, str]] = {
    "state": "'succeeded'",
    "attempts": "1",
    "charged_attempts": "1",
    "memory_attempts": "0",
    "caveats": "''",
    "evidence": "''",
    "exception_bases": "''",
}
"""What NULL stands for in a column."""


def key(alias: str) -> str:
    """Return SQL for the digest by which a quantum is found in its group, as the index has it.

    Parameters
    ----------
    alias : `str`
        Of a table with the columns ``kind_id`` and `NUMBERED`.
    """
    row = ", ".join(f"{alias}.{name}" for name in ("kind_id", *NUMBERED))
    return f"hash_record_extended(ROW({row}), '0')"


def whole(alias: str, name: str) -> str:
    """Return SQL for what a column of the table says."""
    if name in _USUAL:
        return f"coalesce({alias}.{name}, {_USUAL[name]})"
    if name == "state_submission_id":
        return f"coalesce({alias}.state_submission_id, {alias}.submission_id)"
    if name == "first_try_submission_id":
        usual = f"CASE WHEN {alias}.no_first_try IS NULL THEN {alias}.submission_id END"
        return f"coalesce({alias}.first_try_submission_id, {usual})"
    return f"{alias}.{name}"


def short(name: str, value: str, *, submission_id: str) -> str:
    """Return SQL for what is stored of a value; ``submission_id`` is that of the last attempt."""
    if name in _USUAL:
        return f"nullif({value}, {_USUAL[name]})"
    if name in {"state_submission_id", "first_try_submission_id"}:
        return f"nullif({value}, {submission_id})"
    if name == "no_first_try":
        return f"CASE WHEN ({value}) IS NULL AND ({submission_id}) IS NOT NULL THEN true END"
    return value


def full_path(path: str, directory: str) -> str:
    """Return SQL for a stored path of a log as people need it, under a submission's directory."""
    return f"CASE WHEN starts_with({path}, './') THEN {directory} || substr({path}, 2) ELSE {path} END"
