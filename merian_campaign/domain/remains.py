"""What lies in the directory of a submission, and what that says of how it came to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from merian_campaign.domain.execution.runs import RunResult
from merian_campaign.domain.record.basis import Basis
from merian_campaign.domain.record.snapshot import Remedy, SubmissionView
from merian_campaign.domain.safe_text import json_values
from merian_campaign.domain.safe_text.json_values import WrongValueError
from merian_campaign.domain.safe_text.jsonl import moment_of
from merian_campaign.domain.selection import Selection

__all__ = ["Remains", "WhenMade", "made_from_json", "made_of"]


@dataclass(frozen=True, kw_only=True)
class WhenMade:
    """How a submission came to be, as its directory says.

    Parameters
    ----------
    id : `int`
        Its id in the database that made it.
    at : `datetime.datetime`
        When, UTC.
    generation : `int`
        Of the group's outputs.
    remedy : `Remedy`
        What it does differently.
    reason : `str`
        Why it was made.
    basis : `Basis` or `None`
        What it selected and read.
    selection : `Selection`
        What its group selects.
    """

    id: int
    at: datetime
    generation: int
    remedy: Remedy
    reason: str
    basis: Basis | None
    selection: Selection


def made_of(submission: SubmissionView, *, selection: Selection, basis: Basis | None) -> dict[str, Any]:
    """Return what a submission's directory says of how it came to be."""
    remedy = submission.remedy
    return {
        "id": submission.id,
        "at": submission.created_at.astimezone(UTC).isoformat(),
        "generation": submission.generation,
        "reason": submission.reason,
        "memory_mb": dict(remedy.memory_mb),
        "walltime": dict(remedy.walltime),
        "workers": remedy.workers,
        "blocks": remedy.blocks,
        "basis": None if basis is None else basis.to_json(),
        "dimension": selection.dimension,
        "values": list(selection.values),
    }


def made_from_json(value: object) -> WhenMade:
    """Read it back; the inverse of `made_of`.

    Raises
    ------
    WrongValueError
        Raised if it is not what that writes.
    """
    if not isinstance(value, Mapping):
        raise WrongValueError("made: expected an object")
    at = moment_of(json_values.text(value, "at"))
    generation, number = json_values.whole(value, "generation"), json_values.whole(value, "id")
    if at is None or generation is None or generation < 1 or number is None:
        raise WrongValueError("made: expected an id, a moment and a generation")
    values = value.get("values")
    if not isinstance(values, list) or not all(type(one) is int for one in values):
        raise WrongValueError("made: values: expected a list of integers")
    basis = value.get("basis")
    return WhenMade(
        id=number,
        at=at,
        generation=generation,
        reason=json_values.text(value, "reason"),
        remedy=Remedy(
            memory_mb=_requests(value, "memory_mb"),
            walltime=_requests(value, "walltime"),
            workers=json_values.whole(value, "workers"),
            blocks=json_values.whole(value, "blocks"),
        ),
        basis=Basis.from_json(basis) if isinstance(basis, Mapping) else None,
        selection=Selection(dimension=json_values.text(value, "dimension"), values=tuple(values)),
    )


def _requests(value: Mapping[str, Any], name: str) -> tuple[tuple[str, int], ...]:
    found = value.get(name)
    if not isinstance(found, Mapping) or not all(type(one) is int for one in found.values()):
        raise WrongValueError(f"made: {name}: expected numbers by task")
    return tuple(sorted((str(task), number) for task, number in found.items()))


@dataclass(frozen=True, kw_only=True)
class Remains:
    """What lies in the directory of a submission.

    Parameters
    ----------
    step, group : `str`
        Whose it is, by where it lies.
    number : `int`
        Of the submission.
    directory : `str`
        Where.
    campaign : `str`
        Uuid of the campaign in the database that made it; empty where that is not said.
    made : `WhenMade` or `None`
        How it came to be; `None` where nobody wrote that down, or it cannot be read.
    at : `datetime.datetime`
        When the directory's oldest file of ours was written, UTC.
    started : `int` or `None`
        Epoch of the driver that began the work; `None` when none did.
    result : `RunResult` or `None`
        How its driver ended; `None` while it has not.
    epoch : `int`
        Of the driver that ended it; 0 when none did.
    ended_at : `datetime.datetime` or `None`
        When.
    versions : `~collections.abc.Mapping` or `None`
        Of the LSST stack that its driver found.
    harvested : `bool`
        Whether its quanta are written down.
    job_epoch : `int` or `None`
        Epoch of the last driver that was to be a Slurm job; `None` when none was.
    trouble : `str`
        What of it cannot be read, in words.
    """

    step: str
    group: str
    number: int
    directory: str
    at: datetime
    campaign: str = ""
    made: WhenMade | None = None
    started: int | None = None
    result: RunResult | None = None
    epoch: int = 0
    ended_at: datetime | None = None
    versions: Mapping[str, Any] | None = None
    harvested: bool = False
    job_epoch: int | None = None
    trouble: str = ""
