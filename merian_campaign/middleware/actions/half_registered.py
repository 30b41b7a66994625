"""Dataset types whose tables are missing: what a full disk leaves of a registration, for good.

A butler on SQLite writes the row of a new dataset type though its tables could not be made, and from then on
neither reads nor registers that type. Taken out, it is registered whole by the next command that needs it.
"""

from __future__ import annotations

import re

from merian_campaign.middleware.actions.runner import CommandError

__all__ = ["is_told_by", "unregister"]

_MISSING = re.compile(
    r"no such table: \"?dataset_(?:tags|calibs)_\d+"
    r"|Table '?dataset_(?:tags|calibs)_\d+'? is missing from database schema"
)


def is_told_by(error: Exception) -> bool:
    """Say whether an error tells of a dataset type without its tables."""
    text = error.output if isinstance(error, CommandError) else ""
    return _MISSING.search(f"{error}\n{text}") is not None


def unregister(repository: str) -> tuple[str, ...]:
    """Take the dataset types out of a registry whose tables are missing; none of them has a dataset.

    Returns
    -------
    names : `tuple` [`str`, ...]
        Of those that were taken out.
    """
    from lsst.daf.butler import Butler  # noqa: PLC0415 - costs seconds

    removed = []
    with Butler.from_config(repository, writeable=True) as butler:
        for dataset_type in sorted(butler.registry.queryDatasetTypes(), key=lambda each: str(each.name)):
            try:
                butler.query_datasets(
                    dataset_type,
                    collections="*",
                    find_first=False,
                    limit=1,
                    explain=False,
                    with_dimension_records=False,
                )
            except Exception as error:
                if not is_told_by(error):
                    raise
                butler.registry.removeDatasetType(dataset_type.name)
                removed.append(str(dataset_type.name))
    return tuple(removed)
