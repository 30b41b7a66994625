"""What the outputs of a group were made from: exposures, and generations of what was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from merian_campaign.domain.safe_text import json_values
from merian_campaign.domain.safe_text.json_values import WrongValueError


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What a group selects at one moment, and which generations of other groups it reads.

    Recorded with each submission; a group is done for the one that it was made from, and no longer once
    another is in force.

    Parameters
    ----------
    exposures : `frozenset` [`int`]
        Ids of the exposures that it takes; for a tract those whose visits overlap it.
    upstream : `~collections.abc.Mapping` [`str`, `int`]
        By ``STEP/KEY``, the generation of each group that it reads; those of generation 1 are left out.
    raws : `int`
        Number of raw datasets of these exposures, of which one exposure has many; 0 when nobody counted.
    files : `str`
        Digest of the files that an action brings in; empty for everything else.
    terms : `str`
        Digest of the terms of its data query of which exposures tell nothing, or of an action's arguments;
        empty when nobody kept it.
    parts : `frozenset` [`str`] or `None`
        By ``STEP/KEY``, groups by tract that it reads: that a tract was added is seen in no exposure. `None`
        when nobody kept it.
    """

    exposures: frozenset[int] = frozenset()
    upstream: Mapping[str, int] = field(default_factory=dict)
    raws: int = 0
    files: str = ""
    terms: str = ""
    parts: frozenset[str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return {
            "exposures": sorted(self.exposures),
            "upstream": dict(sorted(self.upstream.items())),
            "raws": self.raws,
            "files": self.files,
            "terms": self.terms,
            "parts": None if self.parts is None else sorted(self.parts),
        }

    def asks_otherwise(self, other: Basis) -> bool:
        """Say whether the data queries differ in what exposures do not tell."""
        return bool(self.terms) and bool(other.terms) and self.terms != other.terms

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Basis:
        """Read it back; the inverse of `to_json`.

        Raises
        ------
        WrongValueError
            Raised if it is not what `to_json` writes.
        """
        exposures, upstream, parts = value.get("exposures"), value.get("upstream"), value.get("parts")
        if not isinstance(exposures, list) or not all(type(one) is int for one in exposures):
            raise WrongValueError("exposures: expected a list of integers")
        if not isinstance(upstream, dict) or not all(type(one) is int for one in upstream.values()):
            raise WrongValueError("upstream: expected a mapping of names to generations")
        if parts is not None and (not isinstance(parts, list) or not all(type(one) is str for one in parts)):
            raise WrongValueError("parts: expected a list of names")
        return cls(
            exposures=frozenset(exposures),
            upstream=upstream,
            raws=json_values.whole(value, "raws") or 0,
            files=json_values.text(value, "files"),
            terms=json_values.text(value, "terms", default=""),  # not kept before
            parts=None if parts is None else frozenset(parts),  # neither
        )
