"""How one run of a driver's work ended, as values that cross between the rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from merian_campaign.domain.safe_text import json_values
from merian_campaign.domain.safe_text.json_values import WrongValueError
from merian_campaign.domain.safe_text.text import clean
from merian_campaign.domain.states import SubmissionOutcome

PAYLOAD_FAILED = 10
"""Exit status of our WMS service when quanta failed, were blocked or held, and the run itself went well."""

INFRASTRUCTURE_FAILED = 11
"""Exit status of our WMS service when initialization, ingest, workers or Slurm failed."""

EMPTY_GRAPH = 12
"""Exit status of our warm form of ``bps submit`` when there is nothing to run."""

PREFLIGHT_FAILED = 13
"""Exit status of our warm form of ``bps submit`` when the preflight found an error."""

NOTHING_TO_RUN = "QuantumGraph was empty"
"""What ``pipetask qgraph`` says then; its own exit status does not."""

PREFLIGHT = "preflight: "
"""How the reason begins for which such a submission ended."""


class RunEnd(StrEnum):
    """How the work of a submission ended."""

    RAN = "ran"
    """It ran to its end; what became of the quanta is for the provenance graph to say."""
    EMPTY = "empty"
    """The quantum graph was empty: nothing to do."""
    FAILED = "failed"
    """It could not build the graph, initialise the run, ingest, or do its action."""
    LOST = "lost"
    """An earlier driver died in the middle; what it had done was collected."""
    CANCELLED = "cancelled"
    """It was stopped on request."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended.

    Parameters
    ----------
    end : `RunEnd`
        How.
    reason : `str`
        Why, in words.
    exit_code : `int` or `None`
        Of the program that did it.
    needs_person : `bool`
        Whether it failed of something that only a person can mend: another try gives the same. Of an action
        that ran: whether it did what it could, and not all.
    """

    end: RunEnd
    reason: str
    exit_code: int | None = None
    needs_person: bool = False

    def uncollected(self, error: str) -> RunResult:
        """Return how it ended when what it had made could not be collected.

        What the run itself failed of comes first: it may be the reason of that too.
        """
        before = f"{self.reason}; then " if self.end is RunEnd.FAILED and self.reason else ""
        return RunResult(end=RunEnd.FAILED, reason=f"{before}{error}", exit_code=self.exit_code)


@dataclass(frozen=True, kw_only=True)
class Salvaged:
    """What came of taking the quanta of a submission anew from what is left of it.

    Parameters
    ----------
    source : `str`
        What they were taken from; empty when nothing is left.
    quanta : `int`
        How many.
    trouble : `str`
        Why it could not be looked, in words.
    """

    source: str = ""
    quanta: int = 0
    trouble: str = ""

    def in_words(self) -> str:
        """Say what came of it."""
        if self.trouble:
            return f"what is left cannot be looked at: {self.trouble}"
        return (
            f"{self.quanta} quanta were taken from {self.source}" if self.source else "nothing is left of it"
        )


def to_json(result: RunResult, *, epoch: int, campaign: str = "") -> dict[str, Any]:
    """Return the content of a driver's outcome file; ``campaign`` is the UUID of the one it drove for."""
    return {
        "version": 1,
        "epoch": epoch,
        "campaign": campaign,
        "end": result.end.value,
        "reason": clean(result.reason),
        "exit_code": result.exit_code,
        "needs_person": result.needs_person,
    }


def from_json(value: Mapping[str, Any]) -> RunResult:
    """Read a driver's outcome file; the inverse of `to_json`.

    Raises
    ------
    WrongValueError
        Raised if it is not what drivers write.
    """
    end = json_values.text(value, "end")
    if end not in RunEnd:
        raise WrongValueError(f"end: expected one of {', '.join(RunEnd)}, found {end!r}")
    needs_person = value.get("needs_person", False)
    if not isinstance(needs_person, bool):
        raise WrongValueError(f"needs_person: expected true or false, found {type(needs_person).__name__}")
    return RunResult(
        end=RunEnd(end),
        reason=clean(json_values.text(value, "reason")),
        exit_code=json_values.whole(value, "exit_code"),
        needs_person=needs_person,
    )


def believed(result: RunResult, *, quanta: int) -> RunResult:
    """Return a run as it is taken, given how many quanta all else tells of: a driver's word is no proof."""
    if result.end is RunEnd.RAN and not quanta:
        reason = "its driver says that it ran, and neither its files nor the butler know of any quantum"
        return replace(result, end=RunEnd.FAILED, reason=reason)
    if result.end is RunEnd.EMPTY and quanta:
        reason = f"its driver says that its graph is empty, and its files know of {quanta} quanta"
        return replace(result, end=RunEnd.LOST, reason=reason)
    return result


def outcome_of(result: RunResult, *, all_succeeded: bool) -> SubmissionOutcome:
    """Return a submission's outcome from its run and from whether every quantum succeeded."""
    if result.end is RunEnd.RAN:
        whole = all_succeeded and not result.needs_person
        return SubmissionOutcome.SUCCEEDED if whole else SubmissionOutcome.PARTIAL
    return SubmissionOutcome(result.end.value)
