"""What a submission left behind, as values: quanta of the predicted graph and of the provenance graph."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from merian_campaign.domain.quanta import DataIdValue


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """A quantum of a predicted graph; ``after`` are the UUIDs of the quanta it needs."""

    uuid: str
    task: str
    data_id: str
    dimensions: Mapping[str, DataIdValue]
    after: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RawAttempt:
    """An attempt as the provenance graph has it; memory in MiB, times UTC, seconds of run time."""

    status: str
    exception_type: str | None
    exception_message: str | None
    peak_mb: int | None
    started: datetime | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class RawQuantum:
    """A quantum as the provenance graph has it."""

    uuid: str
    task: str
    data_id: str
    dimensions: Mapping[str, DataIdValue]
    status: str
    caveats: str
    attempts: tuple[RawAttempt, ...]
    log: str | None


def parse_predicted(lines: Iterable[str]) -> tuple[Predicted, ...]:
    """Read the JSON lines of a predicted graph."""
    return tuple(
        Predicted(
            uuid=entry["uuid"],
            task=entry["task"],
            data_id=entry["data_id"],
            dimensions=entry["dimensions"],
            after=tuple(entry["after"]),
        )
        for entry in map(json.loads, lines)
    )


def parse_harvest(lines: Iterable[str]) -> tuple[RawQuantum, ...]:
    """Read the JSON lines of a provenance graph."""
    return tuple(
        RawQuantum(
            uuid=entry["uuid"],
            task=entry["task"],
            data_id=entry["data_id"],
            dimensions=entry["dimensions"],
            status=entry["status"],
            caveats=entry["caveats"],
            attempts=tuple(map(_raw_attempt, entry["attempts"])),
            log=entry["log"],
        )
        for entry in map(json.loads, lines)
    )


def _raw_attempt(entry: Mapping[str, Any]) -> RawAttempt:
    started = entry["started"]
    return RawAttempt(
        status=entry["status"],
        exception_type=entry["exception_type"],
        exception_message=entry["exception_message"],
        peak_mb=entry["peak_mb"],
        started=None if started is None else datetime.fromisoformat(started),
        seconds=entry["seconds"],
    )
