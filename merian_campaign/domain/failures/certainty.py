"""How sure the verdict on a failed attempt is, by the kind of evidence that it rests on."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from merian_campaign.domain.execution.quanta import Attempt, Judgement
from merian_campaign.domain.states import Verdict

__all__ = ["Certainty", "certainty"]


class Certainty(StrEnum):
    """How sure a verdict is."""

    MEASURED = "measured"
    """The guard, the kernel or Slurm's accounting saw it happen."""
    DECLARED = "declared"
    """The class of the exception, or an exit status that the middleware defines, says so."""
    INFERRED = "inferred"
    """Read from a name or a message, or from what is missing."""
    NONE = "none"
    """Nothing points to a cause."""


_DEFINED: Final = frozenset({"AlgorithmError", "RepeatableQuantumError", "InvalidQuantumError"})
"""Classes of ``lsst.pipe.base`` that say what a failure is."""

_EXIT_STATUSES: Final = frozenset({20, 21})
"""Of processes that ended with a `RepeatableQuantumError` or an `InvalidQuantumError`."""


def certainty(attempt: Attempt, found: Judgement, *, guard: str | None, block: Judgement | None) -> Certainty:
    """Return how sure a verdict is.

    Parameters
    ----------
    attempt : `Attempt`
        That failed.
    found : `Judgement`
        The verdict on it.
    guard : `str` or `None`
        What the guard that ran it says of its end, if it says anything.
    block : `Judgement` or `None`
        What the fate of its Slurm job means for it.
    """
    if found.verdict is Verdict.UNKNOWN:
        return Certainty.NONE
    # A rule may have added its remedy to what the block's end says.
    of_block = block is not None and found.verdict is block.verdict
    if attempt.exception_type is None and (of_block or guard is not None):
        return Certainty.MEASURED
    if guard == found.verdict:
        return Certainty.MEASURED
    declared = any(
        base == "MemoryError" or (base.startswith("lsst.pipe.base.") and base.rpartition(".")[2] in _DEFINED)
        for base in attempt.exception_bases
    )
    if declared or (attempt.exception_type is None and attempt.exit_code in _EXIT_STATUSES):
        return Certainty.DECLARED
    return Certainty.INFERRED
