"""The tracts that cover a campaign's data, for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from merian_campaign.domain.campaign.coverage import Coverage
from merian_campaign.reports.cells import line, share


def tracts_json(coverage: Coverage, *, used: Mapping[int, Sequence[int]]) -> dict[str, Any]:
    """Return the tracts for machines; coverage as fractions, and the visits that their products used."""
    return {
        "visits": coverage.selected,
        "with_visit_summary": coverage.summarized,
        "tracts": [
            {
                "tract": row.tract,
                "visits": row.visits,
                "visits_used": len(used[row.tract]) if row.tract in used else None,
                "visit_ids_used": list(used.get(row.tract, ())),
                "detectors": row.detectors,
                "coverage": {band: round(fraction, 4) for band, fraction in row.bands.items()},
            }
            for row in coverage.tracts
        ],
    }


def tracts_table(coverage: Coverage, *, used: Mapping[int, Sequence[int]]) -> Table:
    """Return the tracts for people; ``used`` are the visits that their products in force were made from."""
    bands = sorted({band for row in coverage.tracts for band in row.bands})
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("tract", "visits", *(["used"] if used else []), "detectors", *bands):
        table.add_column(line(name), justify="right")
    for row in coverage.tracts:
        covered = (share(row.bands.get(band, 0.0)) for band in bands)
        made = [str(len(used[row.tract])) if row.tract in used else "-"] if used else []
        table.add_row(str(row.tract), str(row.visits), *made, str(row.detectors), *covered)
    return table
