"""What lies on the file system of new data: raw files that an ingest would take, marks of complete nights."""

from __future__ import annotations

import glob
import hashlib
import os
from pathlib import Path

from merian_campaign.domain.readiness.complete_nights import Arrivals
from merian_campaign.domain.record.overlaps import Overlaps
from merian_campaign.domain.spec import ActionStep, CampaignSpec
from merian_campaign.domain.spec.actions.data import IngestRaws


def look_for_arrivals(spec: CampaignSpec, overlaps: Overlaps | None) -> Arrivals:
    """Return what a campaign's patterns match, as one digest a step, and which nights are marked complete.

    No file is opened: names, sizes and times tell that there are others.
    """
    files: dict[str, str] = {}
    for step in spec.steps:
        if isinstance(step, ActionStep) and step.action == "ingest-raws":
            given = step.typed_arguments()
            files[step.name] = _digest(given.files) if isinstance(given, IngestRaws) else ""
    rule = spec.night_complete
    if rule is None or rule.marker is None or overlaps is None:
        return Arrivals(files=files)
    marker = rule.marker
    nights = {row.day_obs for row in overlaps.exposures}
    return Arrivals(
        files=files,
        # Of a folder that cannot be looked into nothing is known: it must not end a tick.
        marked=frozenset(
            night
            for night in nights
            if os.path.exists(marker.replace("{night}", str(night)))  # noqa: PTH110
        ),
    )


def _digest(patterns: tuple[str, ...]) -> str:
    """Return a digest of the files that match; empty when none does."""
    found: dict[str, tuple[int, int]] = {}
    for path in {path for pattern in patterns for path in glob.iglob(pattern)}:  # noqa: PTH207 - may be absolute
        try:
            seen = Path(path).stat()
        except OSError:
            continue  # gone again, or not for us: the ingest says so
        found[path] = (seen.st_size, seen.st_mtime_ns)
    if not found:
        return ""
    text = "\n".join(f"{path}\0{size}\0{time}" for path, (size, time) in sorted(found.items()))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
