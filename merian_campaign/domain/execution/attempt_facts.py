"""What is stored of how an execution went, and of a data ID. By itself, for queries are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_type_hints

__all__ = ["ATTEMPT_FACTS", "COLUMN_DIMENSIONS", "AttemptFacts"]

COLUMN_DIMENSIONS = (
    "instrument",
    "visit",
    "exposure",
    "detector",
    "tract",
    "patch",
    "band",
    "physical_filter",
)
"""Dimensions that have a column of their own in the tracking database."""


@dataclass(frozen=True, kw_only=True)
class AttemptFacts:
    """How an execution went and ended. Stored of every attempt, and of a quantum for its last one.

    Columns, queries and rows of the tracking database are made from these fields.

    Parameters
    ----------
    verdict : `str` or `None`
        Why it failed (`Verdict`); `None` unless it failed.
    evidence : `str`
        What the verdict rests on, in words; empty when there is none.
    exception_type, exception_message : `str` or `None`
        From the quantum's own log.
    exit_code, signal : `int` or `None`
        Of the process that ran it.
    peak_mb, requested_mb : `int` or `None`
        Memory in MiB.
    started, ended : `datetime.datetime` or `None`
        UTC.
    host, log_path : `str` or `None`
        Where it ran, and the log to read.
    rule : `str` or `None`
        The failure rule that the verdict is by; `None` when it is by none.
    remedy : `str` or `None`
        What that rule has done about it; `None` for what the verdict has.
    """

    verdict: str | None = None
    evidence: str = ""
    exception_type: str | None = None
    exception_message: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    peak_mb: int | None = None
    requested_mb: int | None = None
    started: datetime | None = None
    ended: datetime | None = None
    host: str | None = None
    log_path: str | None = None
    rule: str | None = None
    remedy: str | None = None


ATTEMPT_FACTS: Mapping[str, Any] = get_type_hints(AttemptFacts)
"""Their names and types, in order."""
