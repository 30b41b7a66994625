"""The tracts that cover a campaign's data, for people and for machines."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from merian_campaign.domain.coverage import Coverage
from merian_campaign.reports.cells import line


def tracts_json(coverage: Coverage) -> dict[str, Any]:
    """Return the tracts for machines; coverage as fractions."""
    return {
        "visits": coverage.selected,
        "with_visit_summary": coverage.summarized,
        "tracts": [
            {
                "tract": row.tract,
                "visits": row.visits,
                "detectors": row.detectors,
                "coverage": {band: round(fraction, 4) for band, fraction in row.bands.items()},
            }
            for row in coverage.tracts
        ],
    }


def tracts_table(coverage: Coverage) -> Table:
    """Return the tracts for people."""
    bands = sorted({band for row in coverage.tracts for band in row.bands})
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("tract", "visits", "detectors", *bands):
        table.add_column(line(name), justify="right")
    for row in coverage.tracts:
        covered = (f"{100 * row.bands.get(band, 0.0):.0f}%" for band in bands)
        table.add_row(str(row.tract), str(row.visits), str(row.detectors), *covered)
    return table
