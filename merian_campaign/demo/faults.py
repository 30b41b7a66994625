"""Faults that a campaign can switch on in any task of the demo.

They are real: memory is allocated, signals are sent, errors are raised by the task itself.  Which quantum is
hit is configured; nothing here knows about retries.

This lives apart from the task modules because pipetask resolves configuration values against the names in a
task's module, where the value ``signal`` would become the module of that name.
"""

# mypy: disallow-subclassing-any=False

import hashlib
import os
import re
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from lsst.pipe.base import AlgorithmError

__all__ = ["FAULT_KINDS", "Fault", "InjectedAlgorithmError", "TransientError", "parse_data_id"]

FAULT_KINDS: Final = {
    "none": "Work normally.",
    "memory": "Allocate and touch `faultMegabytes` for a moment; go on if that was allowed.",
    "once": "Raise an ordinary error the first time; work from the second time on.",
    "algorithm": "Raise an algorithm error every time.",
    "signal": "Kill the process with SIGKILL the first time; work from the second time on.",
}
_PAIR: Final = re.compile(r"(?P<dimension>\w+)\s*[=:]\s*(?P<value>\S.*)")
# Long enough for a guard that samples to see it.
_HOLD_SECONDS: Final = 2.0
_NEEDS_LEDGER: Final = frozenset({"once", "signal"})


class TransientError(RuntimeError):
    """The error of a fault that goes away by itself."""


class InjectedAlgorithmError(AlgorithmError):
    """The error of a fault that no retry cures.

    Parameters
    ----------
    label : `str`
        Task label.
    sources : `int`
        Number of sources the algorithm says it was left with.
    """

    def __init__(self, label: str, sources: int = 0) -> None:
        super().__init__(f"Only {sources} usable sources for {label}: the fit cannot converge.")
        self._sources = sources

    @property
    def metadata(self) -> dict[str, int]:
        """What a report may want to know about the failure (`dict`)."""
        return {"usable_sources": self._sources}


def parse_data_id(text: str) -> dict[str, str]:
    """Read a data ID written as ``visit:970612,detector:2``, or with equals signs.

    The colon is for pipetask's ``-c label:field=value``, which takes no second equals sign.

    Parameters
    ----------
    text : `str`
        Data ID; may be empty.

    Returns
    -------
    data_id : `dict` [`str`, `str`]
        Values as text.

    Raises
    ------
    ValueError
        If a part is not a pair of dimension and value, or a dimension appears twice.
    """
    data_id: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        pair = _PAIR.fullmatch(part)
        if pair is None or pair["dimension"] in data_id:
            raise ValueError(
                f"Cannot read {part!r} in data ID {text!r}; expected pairs like visit:970612,detector:2, "
                "each dimension once."
            )
        data_id[pair["dimension"]] = pair["value"]
    return data_id


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One configured fault.

    Parameters
    ----------
    kind : `str`
        One of `FAULT_KINDS`.
    data_id : `str`
        Which quanta to hit: every pair must match, and empty text matches nothing.
    megabytes : `int`
        How much to allocate, for kind ``memory``.
    ledger : `str`
        Directory where faults that strike once leave their marks.
    """

    kind: str
    data_id: str
    megabytes: int
    ledger: str

    def check(self) -> None:
        """Raise `ValueError` if the fault cannot work as configured."""
        parse_data_id(self.data_id)
        if self.kind in _NEEDS_LEDGER and not self.ledger:
            raise ValueError(f"A fault of kind {self.kind!r} needs faultLedger, to remember that it struck.")
        if self.kind == "memory" and self.megabytes <= 0:
            raise ValueError("A fault of kind 'memory' needs faultMegabytes.")

    def matches(self, data_id: Mapping[str, object]) -> bool:
        """Tell whether the fault hits a quantum.

        Parameters
        ----------
        data_id : `~collections.abc.Mapping`
            Data ID of the quantum, with implied dimensions.

        Returns
        -------
        hit : `bool`
            Whether every configured pair is in it.
        """
        wanted = parse_data_id(self.data_id)
        return bool(wanted) and all(str(data_id.get(key)) == value for key, value in wanted.items())

    def strike(self, *, label: str, data_id: Mapping[str, object]) -> None:
        """Do what the fault does, if it hits this quantum.

        Parameters
        ----------
        label : `str`
            Task label.
        data_id : `~collections.abc.Mapping`
            Data ID of the quantum, with implied dimensions.
        """
        if self.kind == "none" or not self.matches(data_id):
            return
        if self.kind == "memory":
            _use_memory(self.megabytes)
        elif self.kind == "algorithm":
            raise InjectedAlgorithmError(label)
        elif self._first_time(label, data_id):
            if self.kind == "signal":
                os.kill(os.getpid(), signal.SIGKILL)
            raise TransientError(f"{label}: the file system did not answer in time (it will next time).")

    def _first_time(self, label: str, data_id: Mapping[str, object]) -> bool:
        """Leave a mark in the ledger and tell whether there was none yet."""
        identity = ",".join(f"{key}={data_id[key]}" for key in sorted(data_id))
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        ledger = Path(self.ledger)
        ledger.mkdir(parents=True, exist_ok=True)
        try:
            with (ledger / f"{label}-{self.kind}-{digest}").open("x", encoding="utf-8") as mark:
                mark.write(f"{identity}\n")
        except FileExistsError:
            return False
        return True


def _use_memory(megabytes: int) -> None:
    """Allocate memory, write to every page of it and hold it, as a task with big images would."""
    pages = np.empty(megabytes * 1024 * 1024, dtype=np.uint8)
    pages.fill(1)
    time.sleep(_HOLD_SECONDS)
    if int(pages[-1]) != 1:
        raise AssertionError("The memory did not keep its content.")
