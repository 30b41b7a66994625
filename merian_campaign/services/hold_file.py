"""The list of quanta that an afterburner must not run again."""

from __future__ import annotations

import json
from collections.abc import Iterable

from merian_campaign.domain.execution.quanta import INTEGER_DIMENSIONS, HeldQuantum


def hold_file(held: Iterable[HeldQuantum]) -> str:
    """Return the hold list as our WMS service reads it: task labels with data IDs."""
    entries = [{"task": quantum.task, "data_id": _data_id(quantum.data_id)} for quantum in held]
    return json.dumps(entries, indent=1) + "\n"


def _data_id(canonical: str) -> dict[str, int | str]:
    pairs = (part.partition("=") for part in canonical.split(",") if part)
    return {name: int(value) if name in INTEGER_DIMENSIONS else value for name, _, value in pairs}
